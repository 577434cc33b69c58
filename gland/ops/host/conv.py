"""Convolution and its two adjoints on the host, as matrix products over strips of columns (columns.py). 3x3
kernels at stride 1 in float32 take half the multiplications (winograd.py).

The adjoint in x is a convolution too: at stride 1 with the kernel rotated by half a turn and its channels exchanged; where
stride = kernel and nothing overlaps, one matrix product whose result is laid out in blocks. Only a larger stride with
overlap adds up its pieces one by one.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from gland.ops.host import arena, winograd
from gland.ops.host.columns import Columns
from gland.ops.host.pointwise import channel_sum, relu_x
from gland.ops.host.threads import PIECE, at_once, by_strips, count_threads, parallel, strip_rows, total
from gland.ops.layout import Geometry, Size, hwio, nchw, nhwc, oihw, runs

Array = Any


def conv(x: Array, w: Array, b: Array | None, geo: Geometry) -> Array:
    return _convolve(x, hwio(w), b, geo, relu=False)


def conv_relu(x: Array, w: Array, b: Array | None, geo: Geometry) -> Array:
    return _convolve(x, hwio(w), b, geo, relu=True)


def _convolve(x: Array, w: Array, b: Array | None, geo: Geometry, relu: bool) -> Array:
    """w (KH,KW,C/groups,O)"""
    x = nhwc(x)
    kernel_size, o = w.shape[:2], w.shape[3]
    if winograd.applies(x, kernel_size, geo):
        return nchw(winograd.convolve(x, w, b, geo.pad, relu))
    y = arena.empty((x.shape[0], *geo.output_size(x.shape[1:3], kernel_size), o), x.dtype)
    for inputs, outputs in _groups(x.shape[3], o, geo.groups):
        _convolve_group(x[..., inputs], w[..., outputs], None if b is None else b[outputs], geo, relu, y[..., outputs])
    return nchw(y)


def _convolve_group(x: Array, w: Array, b: Array | None, geo: Geometry, relu: bool, y: Array) -> None:
    columns = Columns(x, w.shape[:2], geo)
    weights, o = w.reshape(-1, w.shape[3]), w.shape[3]
    # one row of the image at a time, since a NumPy loop over O numbers only would be slow
    bias = None if b is None else np.tile(b, columns.ow)
    zero = np.zeros(columns.ow * o, x.dtype)
    direct = y.flags.c_contiguous  # else the channels of one group lie apart, and the product is copied there
    products = arena.empty((0,) if direct else (count_threads(), columns.rows * columns.ow, o), x.dtype)

    def work(thread: int, first: int, last: int) -> None:
        for i in range(first, last):
            image, start, stop = columns.place(i)
            strip = y[image, start:stop]
            product = strip.reshape(-1, o) if direct else products[thread, : (stop - start) * columns.ow]
            np.matmul(columns.fill(thread, i), weights, out=product)
            rows = product.reshape(stop - start, -1)
            if bias is not None:
                rows += bias
            if relu:
                _rectify(rows, zero)
            if not direct:
                strip[...] = product.reshape(strip.shape)

    parallel(work, columns.count)


def _rectify(y: Array, zero: Array) -> None:
    if y.dtype.kind == "c":
        y *= y.real > 0
    else:
        np.maximum(y, zero, out=y)  # against an array of zeros: three times faster than against the number 0


def conv_x(dy: Array, w: Array, geo: Geometry, size: Size) -> Array:
    s, (kh, kw) = geo.stride, w.shape[2:]
    if (back := adjoint(geo, (kh, kw))) is not None:
        rows = nhwc(dy)
        if winograd.applies(rows, (kh, kw), back):
            return nchw(winograd.convolve(rows, turned(w), None, back.pad, relu=False))
        return _convolve(dy, _rotated(w, geo.groups), None, back, relu=False)
    if s == kh == kw and geo == (s, 0, 1, 1) and (dy.shape[2] * s, dy.shape[3] * s) == tuple(size):
        return _conv_x_blocks(dy, w)
    return _conv_x_sum(dy, w, geo, size)


def adjoint(geo: Geometry, kernel_size: Size) -> Geometry | None:
    """The geometry of the convolution with the kernel turned that is the adjoint in x, or None where it is none."""
    pad = geo.dilation * (kernel_size[0] - 1) - geo.pad
    return geo._replace(pad=pad) if geo.stride == 1 and kernel_size[0] == kernel_size[1] and pad >= 0 else None


def turned(w: Array) -> Array:
    """(O,C,KH,KW) -> a view (KH,KW,O,C), turned by half a turn."""
    return hwio(w)[::-1, ::-1].swapaxes(2, 3)


def _rotated(w: Array, groups: int) -> Array:
    """(O,C/G,KH,KW) -> (KH,KW,O/G,C), turned by half a turn, within each group."""
    o, c, kh, kw = w.shape
    pieces = hwio(w)[::-1, ::-1].reshape(kh, kw, c, groups, o // groups)
    turned = arena.empty((kh, kw, o // groups, groups * c), w.dtype)
    turned.reshape(kh, kw, o // groups, groups, c)[...] = pieces.transpose(0, 1, 4, 3, 2)
    return turned


def _conv_x_blocks(dy: Array, w: Array) -> Array:
    """stride = kernel: every element of dy paints its own K x K block of dx."""
    dy, (o, c, k, _) = nhwc(dy), w.shape
    n, oh, ow, _ = dy.shape
    weights = w.transpose(0, 2, 3, 1).reshape(o, k * k * c)
    dx = arena.empty((n, oh * k, ow * k, c), dy.dtype)
    rows, blocks = dy.reshape(n * oh, ow, o), dx.reshape(n * oh, k, ow, k * c)
    step = strip_rows(n * oh, ow * k * k * c, PIECE // 4)
    products = arena.empty((count_threads(), step, ow, k * k * c), dy.dtype)

    def work(thread: int, at: slice) -> None:
        product = products[thread, : at.stop - at.start]
        np.matmul(rows[at].reshape(-1, o), weights, out=product.reshape(-1, k * k * c))
        np.copyto(runs(blocks[at]), runs(product.reshape(-1, ow, k, k * c).transpose(0, 2, 1, 3)))

    by_strips(work, n * oh, step)
    return nchw(dx)


def _conv_x_sum(dy: Array, w: Array, geo: Geometry, size: Size) -> Array:
    """Any stride: for each place in the kernel, one product added into the elements of dx that it touched."""
    n, o, oh, ow = dy.shape
    dy, w = nhwc(dy), hwio(w)
    kh, kw, c, _ = w.shape
    p, s, d = geo.pad, geo.stride, geo.dilation
    dx = np.zeros((n, size[0] + 2 * p, size[1] + 2 * p, c * geo.groups), dy.dtype)
    for inputs, outputs in _groups(c * geo.groups, o, geo.groups):
        for i in range(kh):
            for j in range(kw):
                rows, columns = slice(i * d, i * d + s * (oh - 1) + 1, s), slice(j * d, j * d + s * (ow - 1) + 1, s)
                dx[:, rows, columns, inputs] += dy[..., outputs] @ w[i, j, :, outputs].T
    return nchw(np.ascontiguousarray(dx[:, p : p + size[0], p : p + size[1]]))


def conv_w(x: Array, dy: Array, geo: Geometry, kernel_size: Size) -> Array:
    x, dy = nhwc(x), nhwc(dy)
    c, o = x.shape[3], dy.shape[3]
    if winograd.applies(x, kernel_size, geo):
        return oihw(winograd.weight_grad(x, dy, geo.pad)[0])
    dw = arena.empty((*kernel_size, c // geo.groups, o), x.dtype)
    for inputs, outputs in _groups(c, o, geo.groups):
        dw[..., outputs] = _weight_group(x[..., inputs], dy[..., outputs], geo, kernel_size)
    return oihw(dw)


def _weight_group(x: Array, dy: Array, geo: Geometry, kernel_size: Size) -> Array:
    columns = Columns(x, kernel_size, geo)
    o = dy.shape[3]
    sums = arena.empty((count_threads(), columns.width, o), x.dtype)  # one a thread, so none waits for another
    sums[...] = 0
    products = arena.empty(sums.shape, x.dtype)

    def work(thread: int, first: int, last: int) -> None:
        for i in range(first, last):
            image, start, stop = columns.place(i)
            np.matmul(columns.fill(thread, i).T, dy[image, start:stop].reshape(-1, o), out=products[thread])
            sums[thread] += products[thread]

    parallel(work, columns.count)
    return total(sums).reshape(*kernel_size, x.shape[3], o)


def _groups(c: int, o: int, groups: int) -> Iterator[tuple[slice, slice]]:
    """The slices of input and of output channels of each group."""
    for g in range(groups):
        yield slice(g * c // groups, (g + 1) * c // groups), slice(g * o // groups, (g + 1) * o // groups)


# The adjoints of conv_relu. Winograd's convolution applies the rectifier's mask to dy while it gathers its rows, and finds the
# gradient of the bias among its own sums; elsewhere each is a pass of its own.


def conv_relu_x(dy: Array, y: Array, w: Array, geo: Geometry, size: Size) -> Array:
    rows, back = nhwc(dy), adjoint(geo, w.shape[2:])
    if back is not None and winograd.applies(rows, w.shape[2:], back):
        return nchw(winograd.convolve(rows, turned(w), None, back.pad, False, nhwc(y)))
    return conv_x(relu_x(dy, y), w, geo, size)


def conv_relu_w(x: Array, y: Array, dy: Array, geo: Geometry, kernel_size: Size) -> tuple[Array, Array]:
    rows = nhwc(x)
    if winograd.applies(rows, kernel_size, geo):
        dw, db = winograd.weight_grad(rows, nhwc(dy), geo.pad, nhwc(y))
        return oihw(dw), db
    dy = relu_x(dy, y)
    return conv_w(x, dy, geo, kernel_size), channel_sum(dy)


def conv_relu_backward(x: Array, y: Array, dy: Array, w: Array, geo: Geometry) -> tuple[Array, Array, Array]:
    if winograd.applies(nhwc(x), w.shape[2:], geo):
        dx, dwb = at_once(
            lambda: conv_relu_x(dy, y, w, geo, x.shape[2:]), lambda: conv_relu_w(x, y, dy, geo, w.shape[2:])
        )
        return dx, *dwb
    dy = relu_x(dy, y)
    return *at_once(lambda: conv_x(dy, w, geo, x.shape[2:]), lambda: conv_w(x, dy, geo, w.shape[2:])), channel_sum(dy)
