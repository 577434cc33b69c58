"""Max and average pooling on the host: a loop over the few places inside a window, each a strided view of the image."""

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from gland.ops.host import arena
from gland.ops.host.threads import PIECE, blocks, by_strips, parallel, strip_rows
from gland.ops.layout import Size, nchw, nhwc, pooled_size

Array = Any


def _reach(count: int, kernel_size: int, stride: int) -> int:
    return (count - 1) * stride + kernel_size


def _places(x: Array, kernel_size: Size, stride: int, out: Size) -> Iterator[Array]:
    """For each place (kh, kw) of a window, in order, the view (N,OH,OW,C) of x (N,H,W,C) that it covers."""
    for kh in range(kernel_size[0]):
        for kw in range(kernel_size[1]):
            yield x[:, kh : kh + stride * (out[0] - 1) + 1 : stride, kw : kw + stride * (out[1] - 1) + 1 : stride]


def _padded(x: Array, kernel_size: Size, stride: int, pad: int, out: Size, fill: float) -> Array:
    """x (N,H,W,C) with a border of fill, as far as the windows reach."""
    n, h, w, c = x.shape
    reach = _reach(out[0], kernel_size[0], stride), _reach(out[1], kernel_size[1], stride)
    if pad == 0 and reach[0] <= h and reach[1] <= w:
        return x
    big = np.full((n, max(reach[0], pad + h), max(reach[1], pad + w), c), fill, x.dtype)
    big[:, pad : pad + h, pad : pad + w] = x
    return big


def max_pool(x: Array, kernel_size: Size, stride: int, pad: int, ceil_mode: bool) -> tuple[Array, Array]:
    if _halves(x, kernel_size, stride, pad):
        return _max_pool_halves(x)
    out = pooled_size(x.shape[2:], kernel_size, stride, pad, ceil_mode)
    x = _padded(nhwc(x), kernel_size, stride, pad, out, -np.inf)
    y = arena.empty((len(x), *out, x.shape[3]), x.dtype)
    argmax = arena.empty(y.shape, np.uint8 if kernel_size[0] * kernel_size[1] <= 256 else np.int32)
    first, *others = _places(x, kernel_size, stride, out)
    number = blocks(out[0], max(1, PIECE // (out[1] * x.shape[3])), len(x))

    def work(thread: int, start: int, stop: int) -> None:
        for i in range(start, stop):
            image, block = divmod(i, number)
            at = image, slice(out[0] * block // number, out[0] * (block + 1) // number)
            best, winner = y[at], argmax[at]
            np.copyto(best, first[at])
            winner[...] = 0
            for k, candidate in enumerate(others, 1):
                wins = candidate[at].real > best.real
                if best.dtype.kind == "c":
                    wins |= np.isnan(
                        candidate[at]
                    )  # as NumPy's maximum of real numbers: what is not a number comes out
                # k is larger than every winner so far
                np.maximum(winner, np.multiply(wins, k, dtype=winner.dtype), out=winner)
                if best.dtype.kind == "c":
                    np.copyto(best, candidate[at], where=wins)
                else:
                    np.maximum(best, candidate[at], out=best)

    parallel(work, len(x) * number)
    return nchw(y), nchw(argmax)


def max_pool_x(dy: Array, argmax: Array, kernel_size: Size, stride: int, pad: int, size: Size) -> Array:
    if (2 * dy.shape[2], 2 * dy.shape[3]) == tuple(size) and _halves(dy, kernel_size, stride, pad, odd=True):
        return _max_pool_x_halves(dy, argmax)
    dy, argmax = nhwc(dy), nhwc(argmax)
    out, (h, w) = dy.shape[1:3], size
    reach = _reach(out[0], kernel_size[0], stride), _reach(out[1], kernel_size[1], stride)
    dx = np.zeros((dy.shape[0], max(reach[0], pad + h), max(reach[1], pad + w), dy.shape[3]), dy.dtype)
    places = list(_places(dx, kernel_size, stride, out))

    def work(thread: int, first: int, last: int) -> None:
        for image in range(first, last):
            for k, place in enumerate(places):
                place[image] += dy[image] * (argmax[image] == k)

    parallel(work, len(dy))
    return nchw(np.ascontiguousarray(dx[:, pad : pad + h, pad : pad + w]))


# The usual case, windows of 2 x 2 that tile the image: no padding, no overlap, a row of windows at a time.


def _halves(x: Array, kernel_size: Size, stride: int, pad: int, odd: bool = False) -> bool:
    even = odd or not (x.shape[2] % 2 or x.shape[3] % 2)
    return kernel_size == (2, 2) and stride == 2 and pad == 0 and even and x.dtype.kind == "f"


def _max_pool_halves(x: Array) -> tuple[Array, Array]:
    x = nhwc(x)
    n, h, w, c = x.shape
    windows = x.reshape(n * h // 2, 2, w // 2, 2, c)
    y = arena.empty((n, h // 2, w // 2, c), x.dtype)
    argmax = arena.empty(y.shape, np.uint8)
    rows, winners = y.reshape(-1, w // 2, c), argmax.reshape(-1, w // 2, c)

    def work(thread: int, at: slice) -> None:
        (a, b), (d, e) = windows[at].transpose(1, 3, 0, 2, 4)
        top, bottom, winner = np.maximum(a, b), np.maximum(d, e), winners[at]
        np.maximum(top, bottom, out=rows[at])
        # place 0 or 1 in the top row, unless only the bottom row has the maximum: then 2 or 3
        np.not_equal(a, top, out=winner.view(bool))
        below = (top != rows[at]).view(np.uint8)
        right = (d != bottom).view(np.uint8)
        winner += below * (2 + right - winner)

    by_strips(work, len(windows), strip_rows(len(windows), w // 2 * c, PIECE // 4))
    return nchw(y), nchw(argmax)


def _max_pool_x_halves(dy: Array, argmax: Array) -> Array:
    dy, argmax = nhwc(dy), nhwc(argmax)
    n, oh, ow, c = dy.shape
    dx = arena.empty((n, 2 * oh, 2 * ow, c), dy.dtype)
    windows = dx.reshape(n * oh, 2, ow, 2, c)
    rows, winners = dy.reshape(-1, ow, c), argmax.reshape(-1, ow, c)

    def work(thread: int, at: slice) -> None:
        for k in range(4):
            np.multiply(rows[at], winners[at] == k, out=windows[at, k // 2, :, k % 2])

    by_strips(work, len(windows), strip_rows(n * oh, ow * c, PIECE // 2))
    return nchw(dx)


def max_pool_t(tx: Array, argmax: Array, kernel_size: Size, stride: int, pad: int) -> Array:
    argmax = nhwc(argmax)
    out = argmax.shape[1:3]
    tx = _padded(nhwc(tx), kernel_size, stride, pad, out, 0)
    ty = np.zeros(argmax.shape, tx.dtype)
    for k, place in enumerate(_places(tx, kernel_size, stride, out)):
        ty += place * (argmax == k)
    return nchw(ty)


def avg_pool(x: Array, kernel_size: Size, stride: int, pad: int) -> Array:
    out = pooled_size(x.shape[2:], kernel_size, stride, pad, False)
    x = _padded(nhwc(x), kernel_size, stride, pad, out, 0)
    total = functools.reduce(np.add, _places(x, kernel_size, stride, out))
    return nchw(total / (kernel_size[0] * kernel_size[1])).astype(x.dtype, copy=False)


def avg_pool_x(dy: Array, kernel_size: Size, stride: int, pad: int, size: Size) -> Array:
    dy = nhwc(dy) / (kernel_size[0] * kernel_size[1])
    out, (h, w) = dy.shape[1:3], size
    reach = _reach(out[0], kernel_size[0], stride), _reach(out[1], kernel_size[1], stride)
    dx = np.zeros((dy.shape[0], max(reach[0], pad + h), max(reach[1], pad + w), dy.shape[3]), dy.dtype)
    for place in _places(dx, kernel_size, stride, out):
        place += dy
    return nchw(np.ascontiguousarray(dx[:, pad : pad + h, pad : pad + w]))


def global_avg_pool(x: Array) -> Array:
    return x.mean(axis=(2, 3))


def global_avg_pool_x(dy: Array, size: Size) -> Array:
    n, c = dy.shape
    h, w = size
    dx = np.empty((n, h, w, c), dy.dtype)
    dx[:] = (dy / (h * w))[:, None, None]
    return nchw(dx)
