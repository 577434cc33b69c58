"""Transposed convolution."""

from typing import Any, NamedTuple

import numpy as np

from gland import ops
from gland.layers.base import Array, Layer, Window, he_normal, pair


class Deconv2d(Layer):
    """The adjoint of a convolution, used forward: x takes the place of a convolution's dy, y of its dx.

    x (N, C, H, W)   w (C, O, KH, KW)   b (O,)   y (N, O, OH, OW),  OH = (H - 1) s - 2p + KH + output_pad
    """

    class Cache(NamedTuple):
        x: Array

    def __init__(
        self, c: int, o: int, kernel_size: Window, stride: int = 1, pad: int = 0, output_pad: int = 0, *,
        rng: np.random.Generator, dtype: Any = np.float32,
    ) -> None:  # fmt: skip
        kernel_size = pair(kernel_size)
        if not 0 <= output_pad < max(stride, 1) or (output_pad and stride == 1):
            raise ValueError(f"output_pad {output_pad} must be smaller than the stride {stride}")
        self.geo, self.kernel_size, self.output_pad = ops.Geometry(stride, pad), kernel_size, output_pad
        # each output element is reached by about KH KW / stride^2 elements of every input channel
        fan_in = c * max(1, kernel_size[0] * kernel_size[1] // stride**2)
        self._own(w=he_normal((c, o, *kernel_size), fan_in, rng, dtype), b=np.zeros(o, dtype))

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        h, w = (
            (n - 1) * self.geo.stride - 2 * self.geo.pad + k + self.output_pad
            for n, k in zip(size, self.kernel_size, strict=True)
        )
        return h, w

    def forward(self, x: Array) -> tuple[Array, Cache]:
        y = ops.conv_x(x, self.w, self.geo, self.output_size(x.shape[2:]))
        return ops.channel_add(y, self.b), self.Cache(x)

    def input_grad(self, dy: Array, cache: Cache) -> Array:
        return ops.conv(dy, self.w, None, self.geo)

    def backward(self, dy: Array, cache: Cache) -> Array:
        dw, db, dx = ops.at_once(
            dy,
            lambda: ops.conv_w(dy, cache.x, self.geo, self.kernel_size),
            lambda: ops.channel_sum(dy),
            lambda: self.input_grad(dy, cache),
        )
        self.dw += dw
        self.db += db
        return dx

    def tangent(self, tx: Array, cache: Cache) -> Array:
        return ops.conv_x(tx, self.w, self.geo, self.output_size(tx.shape[2:]))

    def second_order(self, tx: Array, dy: Array, cache: Cache) -> None:
        self.dw += ops.conv_w(dy, tx, self.geo, self.kernel_size)
