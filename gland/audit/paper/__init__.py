"""What the paper's own equations imply, each a number that is computed when it is asked for.

facts.py           Eq. 3's sign and size, Eq. 4's minimiser and bound, sum or mean
facts_training.py  what training on them does: starved glands, f that confirms itself, Table 1's counts, momentum
readings.py        each open reading and departure of Eqs. 3 and 4, and what it changes on one image
image.py           the little phantom images and the network trained on them for a moment, for the other three
"""
