"""Exercise relu (15 minutes): the rectifier. See docs/backprop/1-layers.md.

y = max(x, 0), element by element; the derivative at exactly 0 is taken as 0.

Check with:  python -m exercises.check relu
"""

from typing import NamedTuple

import numpy as np


class ReLU:
    class Cache(NamedTuple):
        y: np.ndarray  # y > 0 is where x > 0, so x need not be kept

    def forward(self, x):
        y = x * (x.real > 0)  # .real: complex numbers come in when the derivative is checked by a complex step
        return y, self.Cache(y)

    def input_grad(self, dy, cache):
        """dx from dy, of one shape."""
        raise NotImplementedError("dx: which elements of x moved y at all?")

    def backward(self, dy, cache):
        """There are no parameters."""
        return self.input_grad(dy, cache)

    def tangent(self, tx, cache):
        """ty: how y moves when x moves along tx."""
        raise NotImplementedError("ty: where does y move when x moves?")
