"""ReLU and Dropout: each multiplies by a mask that the other passes use again."""

from typing import NamedTuple

import numpy as np

from gland import ops
from gland.layers.base import Array, Layer


class ReLU(Layer):
    """y = max(x, 0). The derivative at exactly 0 is taken as 0."""

    class Cache(NamedTuple):
        y: Array

    def forward(self, x: Array) -> tuple[Array, Cache]:
        y = ops.relu(x)
        return y, self.Cache(y)

    def input_grad(self, dy: Array, cache: Cache) -> Array:
        return ops.relu_x(dy, cache.y)

    backward = input_grad

    def tangent(self, tx: Array, cache: Cache) -> Array:
        return ops.relu_x(tx, cache.y)


class Dropout(Layer):
    """y = x m / (1 - rate), m = 1 with probability 1 - rate; the identity while `rng` is None, that is at test time.

    Source: Srivastava et al. 2014, in the inverted form, so that nothing is scaled at test time.
    """

    class Cache(NamedTuple):
        mask: Array | None

    def __init__(self, rate: float) -> None:
        if not 0 <= rate < 1:
            raise ValueError(f"dropout rate {rate} is not in [0, 1)")
        self.rate = rate
        self.rng: np.random.Generator | None = None

    def forward(self, x: Array) -> tuple[Array, Cache]:
        if self.rng is None or self.rate == 0:
            return x, self.Cache(None)
        kept = self.rng.random(x.shape) >= self.rate
        mask = ops.like((kept / (1 - self.rate)).astype(x.dtype), x)
        return ops.multiply(x, mask), self.Cache(mask)

    def input_grad(self, dy: Array, cache: Cache) -> Array:
        return dy if cache.mask is None else ops.multiply(dy, cache.mask)

    backward = input_grad

    def tangent(self, tx: Array, cache: Cache) -> Array:
        return self.input_grad(tx, cache)
