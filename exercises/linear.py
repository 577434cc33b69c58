"""Exercise linear (30 minutes): the fully connected layer. See docs/backprop/1-layers.md.

y[n,o] = sum_d x[n,d] w[o,d] + b[o]          x (N, D)   w (O, D)   b (O,)   y (N, O)
second_order may wait for session 4.

Check with:  python -m exercises.check linear
"""

from typing import NamedTuple

import numpy as np


class Linear:
    class Cache(NamedTuple):
        x: np.ndarray

    def __init__(self, w, b):
        self.w, self.b = w, b
        self.dw, self.db = np.zeros_like(w), np.zeros_like(b)

    def forward(self, x):
        return x @ self.w.T + self.b, self.Cache(x)

    def input_grad(self, dy, cache):
        """dx (N, D) from dy (N, O). Touches neither dw nor db."""
        raise NotImplementedError(
            "dx: x[n,d] enters every y[n,o], with the factor w[o,d]; which matrix product adds those up?"
        )

    def backward(self, dy, cache):
        """Adds to dw (O, D) and to db (O,), and returns dx."""
        raise NotImplementedError("dw and db: w[o,d] is used once in every image n, so its gradient is a sum over n")

    def tangent(self, tx, cache):
        """ty (N, O): how y moves when x moves along tx (N, D) and the parameters stay."""
        raise NotImplementedError("ty: y is linear in x; what is left of it when only x moves?")

    def second_order(self, tx, dy, cache):
        """Adds to dw (O, D) the gradient of s = <tx, input_grad(dy)>, tx and dy held still. Returns nothing."""
        raise NotImplementedError("second_order: write s out as a sum over n, o, d; which factors stand beside w[o,d]?")
