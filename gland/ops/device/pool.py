"""Max and average pooling on the device."""

import numpy as np

from gland.ops.device.launch import kernel
from gland.ops.device.memory import empty, nhwc
from gland.ops.layout import nchw, pooled_size


def max_pool(x, kernel_size, stride, pad, ceil_mode):
    out = pooled_size(x.shape[2:], kernel_size, stride, pad, ceil_mode)
    x = nhwc(x)
    n, h, w, c = x.shape
    place = np.uint8 if kernel_size[0] * kernel_size[1] <= 256 else np.int32
    y, argmax = empty((n, *out, c), x), empty((n, *out, c), x, place)
    run = kernel("max_pool", "max_pool", x.dtype, place)
    run.over(y.size, x, y, argmax, y.size, h, w, c, *out, *kernel_size, stride, pad)
    return nchw(y), nchw(argmax)


def max_pool_x(dy, argmax, kernel_size, stride, pad, size):
    dy, argmax = nhwc(dy), nhwc(argmax)
    n, *out, c = dy.shape
    dx = empty((n, *size, c), dy)
    run = kernel("max_pool", "max_pool_x", dy.dtype, argmax.dtype)
    run.over(dx.size, dy, argmax, dx, dx.size, *size, c, *out, *kernel_size, stride, pad)
    return nchw(dx)


def max_pool_t(tx, argmax, kernel_size, stride, pad):
    tx, argmax = nhwc(tx), nhwc(argmax)
    (_, h, w, c), out = tx.shape, argmax.shape[1:3]
    ty = empty(argmax.shape, tx)
    run = kernel("max_pool", "max_pool_t", tx.dtype, argmax.dtype)
    run.over(ty.size, tx, argmax, ty, ty.size, h, w, c, *out, kernel_size[1], stride, pad)
    return nchw(ty)


def avg_pool(x, kernel_size, stride, pad):
    out = pooled_size(x.shape[2:], kernel_size, stride, pad, False)
    x = nhwc(x)
    n, h, w, c = x.shape
    y = empty((n, *out, c), x)
    kernel("avg_pool", "avg_pool", x.dtype).over(y.size, x, y, y.size, h, w, c, *out, *kernel_size, stride, pad)
    return nchw(y)


def avg_pool_x(dy, kernel_size, stride, pad, size):
    dy = nhwc(dy)
    n, *out, c = dy.shape
    dx = empty((n, *size, c), dy)
    run = kernel("avg_pool", "avg_pool_x", dy.dtype)
    run.over(dx.size, dy, dx, dx.size, *size, c, *out, *kernel_size, stride, pad)
    return nchw(dx)
