"""Max and average pooling on the device."""

from collections import namedtuple

import numpy as np

from gland.ops.device.launch import kernel
from gland.ops.device.memory import Array, empty, nhwc
from gland.ops.layout import Size, nchw, pooled_size

Pool = namedtuple("Pool", "H W C OH OW KH KW stride pad")  # the struct of kernels/pool.cuh


def _sizes(x: Array, y: Array, kernel_size: Size, stride: int, pad: int) -> Pool:
    """From x or dx (N,H,W,C) and y or dy (N,OH,OW,C)."""
    return Pool._make((*x.shape[1:], *y.shape[1:3], *kernel_size, stride, pad))


def max_pool(x: Array, kernel_size: Size, stride: int, pad: int, ceil_mode: bool) -> tuple[Array, Array]:
    out = pooled_size(x.shape[2:], kernel_size, stride, pad, ceil_mode)
    x = nhwc(x)
    place = np.uint8 if kernel_size[0] * kernel_size[1] <= 256 else np.int32
    y, argmax = (empty((len(x), *out, x.shape[3]), x, dtype) for dtype in (x.dtype, place))
    run = kernel("max_pool", "max_pool", x.dtype, place)
    run.over(y.size, x, y, argmax, y.size, _sizes(x, y, kernel_size, stride, pad))
    return nchw(y), nchw(argmax)


def max_pool_x(dy: Array, argmax: Array, kernel_size: Size, stride: int, pad: int, size: Size) -> Array:
    dy, argmax = nhwc(dy), nhwc(argmax)
    dx = empty((len(dy), *size, dy.shape[3]), dy)
    run = kernel("max_pool", "max_pool_x", dy.dtype, argmax.dtype)
    run.over(dx.size, dy, argmax, dx, dx.size, _sizes(dx, dy, kernel_size, stride, pad))
    return nchw(dx)


def max_pool_t(tx: Array, argmax: Array, kernel_size: Size, stride: int, pad: int) -> Array:
    tx, argmax = nhwc(tx), nhwc(argmax)
    ty = empty(argmax.shape, tx)
    run = kernel("max_pool", "max_pool_t", tx.dtype, argmax.dtype)
    run.over(ty.size, tx, argmax, ty, ty.size, _sizes(tx, ty, kernel_size, stride, pad))
    return nchw(ty)


def avg_pool(x: Array, kernel_size: Size, stride: int, pad: int) -> Array:
    out = pooled_size(x.shape[2:], kernel_size, stride, pad, False)
    x = nhwc(x)
    y = empty((len(x), *out, x.shape[3]), x)
    run = kernel("avg_pool", "avg_pool", x.dtype)
    run.over(y.size, x, y, y.size, _sizes(x, y, kernel_size, stride, pad))
    return nchw(y)


def avg_pool_x(dy: Array, kernel_size: Size, stride: int, pad: int, size: Size) -> Array:
    dy = nhwc(dy)
    dx = empty((len(dy), *size, dy.shape[3]), dy)
    run = kernel("avg_pool", "avg_pool_x", dy.dtype)
    run.over(dx.size, dy, dx, dx.size, _sizes(dx, dy, kernel_size, stride, pad))
    return nchw(dx)
