"""Transposed convolution."""

from typing import NamedTuple

import numpy as np

from gland import ops
from gland.layers.base import Array, Layer, he_normal


class Deconv2d(Layer):
    """The adjoint of a convolution, used forward: x takes the place of a convolution's dy, y of its dx.

    x (N, C, H, W)   w (C, O, KH, KW)   b (O,)   y (N, O, OH, OW),  OH = (H - 1) s - 2p + KH + output_pad
    """

    class Cache(NamedTuple):
        x: Array

    def __init__(self, c, o, kernel, stride=1, pad=0, output_pad=0, *, rng, dtype=np.float32):
        kernel = (kernel, kernel) if isinstance(kernel, int) else tuple(kernel)
        if not 0 <= output_pad < max(stride, 1) or (output_pad and stride == 1):
            raise ValueError(f"output_pad {output_pad} must be smaller than the stride {stride}")
        self.geo, self.kernel, self.output_pad = ops.Geometry(stride, pad), kernel, output_pad
        # each output element is reached by about KH KW / stride^2 elements of every input channel
        fan_in = c * max(1, kernel[0] * kernel[1] // stride**2)
        self._own(w=he_normal((c, o, *kernel), fan_in, rng, dtype), b=np.zeros(o, dtype))

    def output_size(self, size):
        return tuple(
            (n - 1) * self.geo.stride - 2 * self.geo.pad + k + self.output_pad
            for n, k in zip(size, self.kernel, strict=True)
        )

    def forward(self, x):
        y = ops.conv_x(x, self.w, self.geo, self.output_size(x.shape[2:]))
        return ops.channel_add(y, self.b), self.Cache(x)

    def input_grad(self, dy, cache):
        return ops.conv(dy, self.w, None, self.geo)

    def backward(self, dy, cache):
        dw, db, dx = ops.at_once(
            dy,
            lambda: ops.conv_w(dy, cache.x, self.geo, self.kernel),
            lambda: ops.channel_sum(dy),
            lambda: self.input_grad(dy, cache),
        )
        self.dw += dw
        self.db += db
        return dx

    def tangent(self, tx, cache):
        return ops.conv_x(tx, self.w, self.geo, self.output_size(tx.shape[2:]))

    def second_order(self, tx, dy, cache):
        self.dw += ops.conv_w(dy, tx, self.geo, self.kernel)
