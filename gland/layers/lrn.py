"""Local response normalisation across channels, as AlexNet has it."""

from typing import NamedTuple

from gland import ops
from gland.layers.base import Array, Layer


class LocalResponseNorm(Layer):
    """y_c = x_c s_c^-beta,   s_c = k + alpha sum_{j near c} x_j^2,   j near c: |j - c| <= n // 2, at the same place

    x, y (N, C, H, W). Source: Krizhevsky, Sutskever and Hinton 2012, section 3.3, with its constants. alpha multiplies
    the sum, as the paper writes it. Caffe (lrn_layer.cpp: alpha / size) and PyTorch divide it by n, so that their
    alpha = 5e-4 is this layer's 1e-4. Near the first and the last channel the sum has fewer terms, in all three.

    Write W v for the sum of v over the window: n is odd, so W is symmetric, and

        dy_c/dx_i = [c = i] s_c^-beta - 2 alpha beta x_c s_c^(-beta-1) x_i [i near c]
    """

    class Cache(NamedTuple):
        x: Array
        s: Array

    def __init__(self, n: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0) -> None:
        if n < 1 or n % 2 == 0:
            raise ValueError(f"a window of {n} channels has no middle; n must be odd and positive")
        self.n, self.alpha, self.beta, self.k = n, alpha, beta, k

    def forward(self, x: Array) -> tuple[Array, Cache]:
        s = ops.by_pieces(lambda v: self.k + self.alpha * v, self._window(ops.multiply(x, x)))
        return ops.by_pieces(lambda x, s: x * s**-self.beta, x, s), self.Cache(x, s)

    def input_grad(self, dy: Array, cache: Cache) -> Array:
        x, s = cache
        t = ops.by_pieces(lambda s: s**-self.beta, s)
        v = self._window(ops.by_pieces(lambda dy, x, s, t: dy * x * t / s, dy, x, s, t))
        return ops.by_pieces(lambda dy, x, t, v: dy * t - 2 * self.alpha * self.beta * x * v, dy, x, t, v)

    backward = input_grad

    def tangent(self, tx: Array, cache: Cache) -> Array:
        x, s = cache
        t = s**-self.beta
        return tx * t - 2 * self.alpha * self.beta * x * t / s * self._window(x * tx)

    def second_order(self, tx: Array, dy: Array, cache: Cache) -> Array:
        # the gradient in x of  sum_c dy tx s^-beta - 2 alpha beta sum_c dy x s^(-beta-1) p,  where p = W(x tx);
        # x stands there itself, in s and in p
        x, s = cache
        t = s ** (-self.beta - 1)
        p = self._window(x * tx)
        through_s = x * self._window(dy * tx * t - 2 * self.alpha * (self.beta + 1) * dy * x * t / s * p)
        return -2 * self.alpha * self.beta * (through_s + dy * t * p + tx * self._window(dy * x * t))

    def _window(self, v: Array) -> Array:
        return ops.channel_window_sum(v, self.n)
