"""The fully connected layer."""

from typing import NamedTuple

import numpy as np

from gland import ops
from gland.layers.base import Array, Layer, he_normal


class Linear(Layer):
    """y = x w^T + b   x (N, D)   w (O, D)   b (O,)   y (N, O)"""

    class Cache(NamedTuple):
        x: Array

    def __init__(self, d, o, *, rng, dtype=np.float32):
        self._own(w=he_normal((o, d), d, rng, dtype), b=np.zeros(o, dtype))

    def forward(self, x):
        return ops.linear(x, self.w, self.b), self.Cache(x)

    def input_grad(self, dy, cache):
        return ops.linear_x(dy, self.w)

    def backward(self, dy, cache):
        self.dw += ops.linear_w(cache.x, dy)
        self.db += dy.sum(axis=0)
        return self.input_grad(dy, cache)

    def tangent(self, tx, cache):
        return ops.linear(tx, self.w, None)

    def second_order(self, tx, dy, cache):
        self.dw += ops.linear_w(tx, dy)
