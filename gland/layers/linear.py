"""The fully connected layer."""

from typing import Any, NamedTuple

import numpy as np

from gland import ops
from gland.layers.base import Array, Layer, he_normal


class Linear(Layer):
    """y = x w^T + b   x (N, D)   w (O, D)   b (O,)   y (N, O)"""

    class Cache(NamedTuple):
        x: Array

    def __init__(self, d: int, o: int, *, rng: np.random.Generator, dtype: Any = np.float32) -> None:
        self._own(w=he_normal((o, d), d, rng, dtype), b=np.zeros(o, dtype))

    def forward(self, x: Array) -> tuple[Array, Cache]:
        return ops.linear(x, self.w, self.b), self.Cache(x)

    def input_grad(self, dy: Array, cache: Cache) -> Array:
        return ops.linear_x(dy, self.w)

    def backward(self, dy: Array, cache: Cache) -> Array:
        self.dw += ops.linear_w(cache.x, dy)
        self.db += dy.sum(axis=0)
        return self.input_grad(dy, cache)

    def tangent(self, tx: Array, cache: Cache) -> Array:
        return ops.linear(tx, self.w, None)

    def second_order(self, tx: Array, dy: Array, cache: Cache) -> None:
        self.dw += ops.linear_w(tx, dy)
