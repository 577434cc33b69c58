"""Upsampling without parameters."""

from typing import NamedTuple

from gland import ops
from gland.layers.base import Array, Layer, Window, pair


class UpsampleBilinear(Layer):
    """y = x interpolated linearly along both axes to a fixed size; pixel centres lie at half-integers."""

    class Cache(NamedTuple):
        size: tuple[int, int]

    def __init__(self, size: Window) -> None:
        self.size = pair(size)

    def forward(self, x: Array) -> tuple[Array, Cache]:
        return ops.upsample_bilinear(x, self.size), self.Cache(x.shape[2:])

    def input_grad(self, dy: Array, cache: Cache) -> Array:
        return ops.upsample_bilinear_x(dy, cache.size)

    backward = input_grad

    def tangent(self, tx: Array, cache: Cache) -> Array:
        return ops.upsample_bilinear(tx, self.size)


class UpsampleNearest(UpsampleBilinear):
    """y[i,j] = x[floor(i H / OH), floor(j W / OW)]"""

    def forward(self, x: Array) -> tuple[Array, UpsampleBilinear.Cache]:
        return ops.upsample_nearest(x, self.size), self.Cache(x.shape[2:])

    def input_grad(self, dy: Array, cache: UpsampleBilinear.Cache) -> Array:
        return ops.upsample_nearest_x(dy, cache.size)

    backward = input_grad

    def tangent(self, tx: Array, cache: UpsampleBilinear.Cache) -> Array:
        return ops.upsample_nearest(tx, self.size)
