"""Convolution and its two adjoints on the device: matrix products over tiles in shared memory (kernels/tile.cuh).

A product with few tiles and a long sum would leave most of the device idle. It is cut into splits along the sum; a second
pass adds them, in order, so the bits are the same on every run. The cut depends on the sizes alone, not on the device.
"""

import math
from collections import namedtuple

from gland.ops.device.launch import Kernel, address, kernel
from gland.ops.device.memory import Array, empty, hwio, nhwc
from gland.ops.device.pointwise import relu_x
from gland.ops.device.sums import add_splits, channel_sum
from gland.ops.layout import Geometry, Size, nchw, oihw

DEPTH, THREADS = 16, 128  # BK and THREADS of kernels/tile.cuh
BLOCKS = 512  # worth having in flight: a few on each of a large device's 100 to 150 multiprocessors
MOST_SPLITS = 128
Conv = namedtuple("Conv", "N H W C OH OW O KH KW stride pad dilation groups")  # the struct of kernels/tile.cuh
_tf32 = False


def use_tf32(on: bool) -> None:
    """See ops.use_tf32."""
    global _tf32
    _tf32 = on


def conv(x: Array, w: Array, b: Array | None, geo: Geometry) -> Array:
    return _convolve(x, w, b, geo, relu=False)


def conv_relu(x: Array, w: Array, b: Array | None, geo: Geometry) -> Array:
    return _convolve(x, w, b, geo, relu=True)


def _sizes(x: Array, y: Array, kernel_size: Size, geo: Geometry) -> Conv:
    """From x or dx (N,H,W,C) and y or dy (N,OH,OW,O)."""
    return Conv._make((*x.shape, *y.shape[1:], *kernel_size, *geo))


def _convolve(x: Array, w: Array, b: Array | None, geo: Geometry, relu: bool) -> Array:
    x, w = nhwc(x), hwio(w)
    (n, *size, _), (*kernel_size, c, o) = x.shape, w.shape
    y = empty((n, *geo.output_size(size, kernel_size), o), x)
    s = _sizes(x, y, kernel_size, geo)
    grid, width, splits = _cut(s.N * s.OH * s.OW, o // s.groups, s.KH * s.KW * c, s.groups)
    run = _kernel("conv", width, geo, x)
    if splits == 1:
        run(grid, THREADS, x, w, b, y, s, 1, relu)
    else:
        parts = empty((splits, *y.shape), x)
        run(grid, THREADS, x, w, None, parts, s, splits, False)
        add_splits(parts, y, b, relu=relu)
    return nchw(y)


def conv_x(dy: Array, w: Array, geo: Geometry, size: Size) -> Array:
    dy, w = nhwc(dy), hwio(w)
    (n, *_), (*kernel_size, c, o) = dy.shape, w.shape
    dx = empty((n, *size, c * geo.groups), dy)
    s = _sizes(dx, dy, kernel_size, geo)
    pixels, depth = (-(-a // s.stride) * -(-b // s.stride) for a, b in (size, kernel_size))  # of one phase
    grid, width, splits = _cut(n * pixels, c, depth * o // s.groups, s.groups * s.stride**2)
    parts = dx if splits == 1 else empty((splits, *dx.shape), dy)
    every = s.stride // math.gcd(s.stride, s.dilation)
    _kernel("conv_x", width, geo, dy)(grid, THREADS, dy, w, parts, s, splits, every)
    if splits > 1:
        add_splits(parts, dx)
    return nchw(dx)


def conv_w(x: Array, dy: Array, geo: Geometry, kernel_size: Size) -> Array:
    x, dy = nhwc(x), nhwc(dy)
    s = _sizes(x, dy, kernel_size, geo)
    dw = empty((s.KH, s.KW, s.C // s.groups, s.O), x)
    grid, width, splits = _cut(s.KH * s.KW * s.C // s.groups, s.O // s.groups, s.N * s.OH * s.OW, s.groups)
    parts = dw if splits == 1 else empty((splits, *dw.shape), x)
    _kernel("conv_w", width, geo, x, dy)(grid, THREADS, x, dy, parts, s, splits)
    if splits > 1:
        add_splits(parts, dw)
    return oihw(dw)


def _cut(m: int, n: int, k: int, others: int) -> tuple[tuple[int, int, int], int, int]:
    """Grid, width of a tile and number of splits for `others` products of (m, k) with (k, n)."""
    width = 64 if n > 32 else 32 if n > 16 else 16
    tiles = -(-m // (64 if width == 64 else 128)), -(-n // width)
    wanted = BLOCKS // max(1, tiles[0] * tiles[1] * others)
    splits = max(1, min(wanted, k // (4 * DEPTH), MOST_SPLITS))
    return (*tiles, others * splits), width, splits


def _kernel(name: str, width: int, geo: Geometry, *images: Array) -> Kernel:
    """The kernel that loads four channels at once from images (N,H,W,C), if their groups and addresses let it."""
    fours = all(x.shape[3] // geo.groups % 4 == 0 and address(x) % 16 == 0 for x in images)
    return kernel(name, name, images[0].dtype, width, 4 if fours else 1, fours and _tf32 and images[0].dtype == "f4")


def conv_relu_x(dy: Array, y: Array, w: Array, geo: Geometry, size: Size) -> Array:
    return conv_x(relu_x(dy, y), w, geo, size)


def conv_relu_w(x: Array, y: Array, dy: Array, geo: Geometry, kernel_size: Size) -> tuple[Array, Array]:
    dy = relu_x(dy, y)
    return conv_w(x, dy, geo, kernel_size), channel_sum(dy)


def conv_relu_backward(x: Array, y: Array, dy: Array, w: Array, geo: Geometry) -> tuple[Array, Array, Array]:
    dy = relu_x(dy, y)
    return conv_x(dy, w, geo, x.shape[2:]), conv_w(x, dy, geo, w.shape[2:]), channel_sum(dy)
