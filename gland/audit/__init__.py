"""The paper executed: every equation and layer held against its formula, its derivatives and its own mistakes.

__main__.py       python -m gland.audit [--all] [--html FILE] [--break NAME]
all.py            all sections in order, an exception being a failed check; table.py prints them
evidence.py       Section, Check, KINDS: what is collected of a subject, with tolerances and their reasons
equations.py      Eqs. 1, 2, 4, 5, 6; eq3.py Eq. 3 and its second order; combination.py the prior f
joint.py          the joint gradient over every weight, on the network and batch of example.py
layers.py         every layer by gland.gradcheck, on the cases of layer_cases.py
plain.py          the equations in exact arithmetic, beside gland/ops/plain.py; plain_network.py the whole network
breaking.py       puts mistakes into the running code; mistakes.py reads them from mistakes.txt
device.py         a GPU against the host
paper/            what the paper's own equations imply, measured
page/             all of it as one HTML page
"""
