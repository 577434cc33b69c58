"""Convolution, and convolution with its ReLU."""

from typing import NamedTuple

import numpy as np

from gland import ops
from gland.layers.base import Array, Layer, he_normal


class Conv2d(Layer):
    """y[n,o] = b[o] + sum_c w[o,c] * x[n,c]   (cross-correlation, stride s, zero padding p, dilation d)

    x (N, C, H, W)   w (O, C / groups, KH, KW)   b (O,)   y (N, O, OH, OW),  OH = (H + 2p - d (KH - 1) - 1) // s + 1
    With groups G, output channels come in G groups, each of which sees its own C / G input channels.
    """

    class Cache(NamedTuple):
        x: Array

    def __init__(self, c, o, kernel, stride=1, pad=0, dilation=1, groups=1, *, rng, dtype=np.float32):
        kernel = (kernel, kernel) if isinstance(kernel, int) else tuple(kernel)
        if c % groups or o % groups:
            raise ValueError(f"{groups} groups do not divide {c} input and {o} output channels")
        self.geo = ops.Geometry(stride, pad, dilation, groups)
        self.kernel = kernel
        shape = (o, c // groups, *kernel)
        self._own(w=he_normal(shape, c // groups * kernel[0] * kernel[1], rng, dtype), b=np.zeros(o, dtype))

    def forward(self, x):
        return ops.conv(x, self.w, self.b, self.geo), self.Cache(x)

    def input_grad(self, dy, cache):
        return ops.conv_x(dy, self.w, self.geo, cache.x.shape[2:])

    def backward(self, dy, cache):
        self.weight_grad(dy, cache)
        return self.input_grad(dy, cache)

    def weight_grad(self, dy, cache):
        """backward without dx, for a layer that reads the image itself."""
        self.dw += ops.conv_w(cache.x, dy, self.geo, self.kernel)
        self.db += ops.channel_sum(dy)

    def tangent(self, tx, cache):
        return ops.conv(tx, self.w, None, self.geo)

    def second_order(self, tx, dy, cache):
        self.dw += ops.conv_w(tx, dy, self.geo, self.kernel)


class ConvReLU(Conv2d):
    """y = max(Conv2d(x), 0), in one pass over memory. y > 0 is the mask, so y is all that is kept besides x."""

    class Cache(NamedTuple):
        x: Array
        y: Array

    def forward(self, x):
        y = ops.conv_relu(x, self.w, self.b, self.geo)
        return y, self.Cache(x, y)

    def input_grad(self, dy, cache):
        return ops.conv_relu_x(dy, cache.y, self.w, self.geo, cache.x.shape[2:])

    def backward(self, dy, cache):
        dx, dw, db = ops.conv_relu_backward(cache.x, cache.y, dy, self.w, self.geo)
        self.dw += dw
        self.db += db
        return dx

    def weight_grad(self, dy, cache):
        dw, db = ops.conv_relu_w(cache.x, cache.y, dy, self.geo, self.kernel)
        self.dw += dw
        self.db += db

    def tangent(self, tx, cache):
        return ops.relu_x(super().tangent(tx, cache), cache.y)

    def second_order(self, tx, dy, cache):
        super().second_order(tx, ops.relu_x(dy, cache.y), cache)
