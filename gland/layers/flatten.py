"""From maps to vectors."""

from typing import NamedTuple

from gland.layers.base import Layer


class Flatten(Layer):
    """y[n] = all elements of x[n] in the logical order c, i, j.   x (N, C, H, W)   y (N, C H W)"""

    class Cache(NamedTuple):
        shape: tuple[int, ...]

    def forward(self, x):
        return x.reshape(len(x), -1), self.Cache(x.shape)

    def input_grad(self, dy, cache):
        return dy.reshape(cache.shape)

    backward = input_grad

    def tangent(self, tx, cache):
        return tx.reshape(len(tx), -1)
