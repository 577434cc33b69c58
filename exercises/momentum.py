"""Exercise momentum (15 minutes): a step of gradient descent as Caffe defines it. See docs/backprop/9-joint.md.

v <- momentum v + rate dw,   w <- w - v

Check with:  python -m exercises.check momentum
"""


def step(w, dw, v, rate, momentum):
    """The new w and the new v; the arguments stay as they are."""
    raise NotImplementedError("new w and v: the rate enters the velocity, and w moves by the new velocity")
