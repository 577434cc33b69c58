"""Softmax and its logarithm over axis 1. Both are curved, so their second-order pass returns a dx."""

from typing import NamedTuple

from gland import ops
from gland.layers.base import Array, Layer


def _mean_under(y: Array, v: Array) -> Array:
    """sum_m y_m v_m over axis 1: the mean of v under the probabilities y."""
    return (y * v).sum(axis=1, keepdims=True)


class Softmax(Layer):
    """Eq. (2):  y_l = exp(x_l) / sum_m exp(x_m)   x, y (N, L, ...)

    dy_l/dx_m = y_l (delta_lm - y_m), a symmetric matrix, so the input gradient and the tangent are the same product.
    """

    class Cache(NamedTuple):
        y: Array

    def forward(self, x: Array) -> tuple[Array, Cache]:
        y = ops.softmax(x)
        return y, self.Cache(y)

    def input_grad(self, dy: Array, cache: Cache) -> Array:
        return cache.y * (dy - _mean_under(cache.y, dy))

    backward = tangent = input_grad

    def second_order(self, tx: Array, dy: Array, cache: Cache) -> Array:
        # s = <tx, input_grad(dy)> = E[tx dy] - E[tx] E[dy], the covariance under y; first ds/dy, then through y's own softmax
        y = cache.y
        ds_dy = tx * dy - tx * _mean_under(y, dy) - dy * _mean_under(y, tx)
        return self.input_grad(ds_dy, cache)


class LogSoftmax(Layer):
    """y_l = x_l - log sum_m exp(x_m), which neither overflows nor takes the logarithm of 0.   x, y (N, L, ...)"""

    class Cache(NamedTuple):
        y: Array
        q: Array  # softmax(x)

    def forward(self, x: Array) -> tuple[Array, Cache]:
        y = ops.log_softmax(x)
        return y, self.Cache(y, ops.softmax(x))

    def input_grad(self, dy: Array, cache: Cache) -> Array:
        return dy - cache.q * dy.sum(axis=1, keepdims=True)

    backward = input_grad

    def tangent(self, tx: Array, cache: Cache) -> Array:
        return tx - _mean_under(cache.q, tx)

    def second_order(self, tx: Array, dy: Array, cache: Cache) -> Array:
        # s = sum_l tx_l dy_l - E[tx] sum_l dy_l, and only the mean under q moves with x
        return -dy.sum(axis=1, keepdims=True) * cache.q * (tx - _mean_under(cache.q, tx))
