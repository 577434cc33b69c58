"""Convolution, and convolution with its ReLU."""

from typing import Any, NamedTuple

import numpy as np

from gland import ops
from gland.layers.base import Array, Layer, Window, he_normal, pair


class Conv2d(Layer):
    """y[n,o] = b[o] + sum_c w[o,c] * x[n,c]   (cross-correlation, stride s, zero padding p, dilation d)

    x (N, C, H, W)   w (O, C / groups, KH, KW)   b (O,)   y (N, O, OH, OW),  OH = (H + 2p - d (KH - 1) - 1) // s + 1
    With groups G, output channels come in G groups, each of which sees its own C / G input channels.
    """

    class Cache(NamedTuple):
        x: Array

    def __init__(
        self, c: int, o: int, kernel_size: Window, stride: int = 1, pad: int = 0, dilation: int = 1, groups: int = 1, *,
        rng: np.random.Generator, dtype: Any = np.float32,
    ) -> None:  # fmt: skip
        kernel_size = pair(kernel_size)
        if c % groups or o % groups:
            raise ValueError(f"{groups} groups do not divide {c} input and {o} output channels")
        self.geo = ops.Geometry(stride, pad, dilation, groups)
        self.kernel_size = kernel_size
        shape = (o, c // groups, *kernel_size)
        self._own(w=he_normal(shape, c // groups * kernel_size[0] * kernel_size[1], rng, dtype), b=np.zeros(o, dtype))

    def forward(self, x: Array) -> tuple[Array, Cache]:
        return ops.conv(x, self.w, self.b, self.geo), self.Cache(x)

    def input_grad(self, dy: Array, cache: Cache) -> Array:
        return ops.conv_x(dy, self.w, self.geo, cache.x.shape[2:])

    def backward(self, dy: Array, cache: Cache) -> Array:
        self.weight_grad(dy, cache)
        return self.input_grad(dy, cache)

    def weight_grad(self, dy: Array, cache: Cache) -> None:
        """backward without dx, for a layer that reads the image itself."""
        self.dw += ops.conv_w(cache.x, dy, self.geo, self.kernel_size)
        self.db += ops.channel_sum(dy)

    def tangent(self, tx: Array, cache: Cache) -> Array:
        return ops.conv(tx, self.w, None, self.geo)

    def second_order(self, tx: Array, dy: Array, cache: Cache) -> None:
        self.dw += ops.conv_w(tx, dy, self.geo, self.kernel_size)


class ConvReLU(Conv2d):
    """y = max(Conv2d(x), 0), in one pass over memory. y > 0 is the mask, so y is all that is kept besides x."""

    class Cache(NamedTuple):
        x: Array
        y: Array

    def forward(self, x: Array) -> tuple[Array, Any]:
        y = ops.conv_relu(x, self.w, self.b, self.geo)
        return y, self.Cache(x, y)

    def input_grad(self, dy: Array, cache: Any) -> Array:
        return ops.conv_relu_x(dy, cache.y, self.w, self.geo, cache.x.shape[2:])

    def backward(self, dy: Array, cache: Any) -> Array:
        dx, dw, db = ops.conv_relu_backward(cache.x, cache.y, dy, self.w, self.geo)
        self.dw += dw
        self.db += db
        return dx

    def weight_grad(self, dy: Array, cache: Any) -> None:
        dw, db = ops.conv_relu_w(cache.x, cache.y, dy, self.geo, self.kernel_size)
        self.dw += dw
        self.db += db

    def tangent(self, tx: Array, cache: Any) -> Array:
        return ops.relu_x(super().tangent(tx, cache), cache.y)

    def second_order(self, tx: Array, dy: Array, cache: Any) -> None:
        super().second_order(tx, ops.relu_x(dy, cache.y), cache)
