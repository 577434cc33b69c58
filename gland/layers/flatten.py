"""From maps to vectors."""

from typing import NamedTuple

from gland.layers.base import Array, Layer


class Flatten(Layer):
    """y[n] = all elements of x[n] in the logical order c, i, j.   x (N, C, H, W)   y (N, C H W)"""

    class Cache(NamedTuple):
        shape: tuple[int, ...]

    def forward(self, x: Array) -> tuple[Array, Cache]:
        return x.reshape(len(x), -1), self.Cache(x.shape)

    def input_grad(self, dy: Array, cache: Cache) -> Array:
        return dy.reshape(cache.shape)

    backward = input_grad

    def tangent(self, tx: Array, cache: Cache) -> Array:
        return tx.reshape(len(tx), -1)
