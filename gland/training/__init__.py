"""How a network is trained.

options.py      Options: what a run is asked to do; the command line of train.py; the two recipes
loop.py         Training: phases, steps, validation, checkpoints; begin, a run at its start
solver.py       SGD, Adam, Muon, and how their rate falls
checkpoint.py   a run's files: config.json, last.npz, best.npz
validation.py   how good a network is on the validation images, by which a checkpoint is chosen
device_step.py  a step on a GPU: the next batch goes up while this one computes
"""
