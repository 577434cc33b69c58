"""Pooling: the largest or the mean of each window."""

from typing import NamedTuple

from gland import ops
from gland.layers.base import Array, Layer, Window, pair


class MaxPool2d(Layer):
    """y = the largest element of each window, the first of equals; padding never wins.

    x (N, C, H, W)   y (N, C, OH, OW),  OH = (H + 2p - K) // s + 1, or rounded up in ceil mode, where the last window may
    reach over the edge but must start inside the image or its left padding.
    """

    class Cache(NamedTuple):
        argmax: Array
        size: tuple[int, int]

    def __init__(self, kernel_size: Window, stride: int | None = None, pad: int = 0, ceil_mode: bool = False) -> None:
        self.kernel_size = pair(kernel_size)
        if 2 * pad > min(self.kernel_size):
            raise ValueError(
                f"padding {pad} is more than half the window {self.kernel_size}: some windows would be empty"
            )
        self.stride, self.pad, self.ceil_mode = stride or self.kernel_size[0], pad, ceil_mode

    def forward(self, x: Array) -> tuple[Array, Cache]:
        y, argmax = ops.max_pool(x, self.kernel_size, self.stride, self.pad, self.ceil_mode)
        return y, self.Cache(argmax, x.shape[2:])

    def input_grad(self, dy: Array, cache: Cache) -> Array:
        # forward: only the argmax of a window reached y, so only it receives dy
        return ops.max_pool_x(dy, cache.argmax, self.kernel_size, self.stride, self.pad, cache.size)

    backward = input_grad

    def tangent(self, tx: Array, cache: Cache) -> Array:
        return ops.max_pool_t(tx, cache.argmax, self.kernel_size, self.stride, self.pad)


class AvgPool2d(Layer):
    """y = the mean of each window; padding counts as zeros, so the divisor is always KH KW."""

    class Cache(NamedTuple):
        size: tuple[int, int]

    def __init__(self, kernel_size: Window, stride: int | None = None, pad: int = 0) -> None:
        self.kernel_size = pair(kernel_size)
        self.stride, self.pad = stride or self.kernel_size[0], pad

    def forward(self, x: Array) -> tuple[Array, Cache]:
        return ops.avg_pool(x, self.kernel_size, self.stride, self.pad), self.Cache(x.shape[2:])

    def input_grad(self, dy: Array, cache: Cache) -> Array:
        return ops.avg_pool_x(dy, self.kernel_size, self.stride, self.pad, cache.size)

    backward = input_grad

    def tangent(self, tx: Array, cache: Cache) -> Array:
        return ops.avg_pool(tx, self.kernel_size, self.stride, self.pad)


class GlobalAvgPool(Layer):
    """y[n,c] = the mean of x[n,c] over its positions.   x (N, C, H, W)   y (N, C)"""

    class Cache(NamedTuple):
        size: tuple[int, int]

    def forward(self, x: Array) -> tuple[Array, Cache]:
        return ops.global_avg_pool(x), self.Cache(x.shape[2:])

    def input_grad(self, dy: Array, cache: Cache) -> Array:
        return ops.global_avg_pool_x(dy, cache.size)

    backward = input_grad

    def tangent(self, tx: Array, cache: Cache) -> Array:
        return ops.global_avg_pool(tx)
