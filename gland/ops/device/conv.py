"""Convolution and its two adjoints on the device: matrix products over tiles in shared memory (kernels/tile.cuh).

A product with few tiles and a long sum would leave most of the device idle. It is cut into splits along the sum; a second
pass adds them, in order, so the bits are the same on every run. The cut depends on the sizes alone, not on the device.
"""

import math

from gland.ops.device.launch import address, kernel
from gland.ops.device.memory import empty, hwio, nhwc
from gland.ops.device.pointwise import relu_x
from gland.ops.device.sums import add_splits, channel_sum
from gland.ops.layout import nchw, oihw

DEPTH, THREADS = 16, 128  # BK and THREADS of kernels/tile.cuh
BLOCKS = 512  # worth having in flight: a few on each of a large device's 100 to 150 multiprocessors
MOST_SPLITS = 128
_tf32 = False


def use_tf32(on):
    """See ops.use_tf32."""
    global _tf32
    _tf32 = on


def conv(x, w, b, geo):
    return _convolve(x, w, b, geo, relu=False)


def conv_relu(x, w, b, geo):
    return _convolve(x, w, b, geo, relu=True)


def _convolve(x, w, b, geo, relu):
    x, w = nhwc(x), hwio(w)
    (n, h, wd, c), (kh, kw, _, o) = x.shape, w.shape
    oh, ow = geo.output_size((h, wd), (kh, kw))
    sizes = n, h, wd, c, oh, ow, o, kh, kw, *geo
    y = empty((n, oh, ow, o), x)
    grid, width, splits = _cut(n * oh * ow, o // geo.groups, kh * kw * c // geo.groups, geo.groups)
    run = _kernel("conv", width, geo, x)
    if splits == 1:
        run(grid, THREADS, x, w, b, y, *sizes, 1, relu)
    else:
        parts = empty((splits, *y.shape), x)
        run(grid, THREADS, x, w, None, parts, *sizes, splits, False)
        add_splits(parts, y, b, relu=relu)
    return nchw(y)


def conv_x(dy, w, geo, size):
    dy, w = nhwc(dy), hwio(w)
    (n, oh, ow, o), (kh, kw, c, _) = dy.shape, w.shape
    s, c = geo.stride, c * geo.groups
    dx = empty((n, *size, c), dy)
    pixels = n * -(-size[0] // s) * -(-size[1] // s)
    depth = -(-kh // s) * -(-kw // s) * o // geo.groups
    grid, width, splits = _cut(pixels, c // geo.groups, depth, geo.groups * s * s)
    parts = dx if splits == 1 else empty((splits, *dx.shape), dy)
    sizes = n, *size, c, oh, ow, o, kh, kw, *geo
    every = s // math.gcd(s, geo.dilation)
    _kernel("conv_x", width, geo, dy)(grid, THREADS, dy, w, parts, *sizes, splits, every)
    if splits > 1:
        add_splits(parts, dx)
    return nchw(dx)


def conv_w(x, dy, geo, kernel_size):
    x, dy = nhwc(x), nhwc(dy)
    (n, h, wd, c), (_, oh, ow, o), (kh, kw) = x.shape, dy.shape, kernel_size
    dw = empty((kh, kw, c // geo.groups, o), x)
    grid, width, splits = _cut(kh * kw * c // geo.groups, o // geo.groups, n * oh * ow, geo.groups)
    parts = dw if splits == 1 else empty((splits, *dw.shape), x)
    sizes = n, h, wd, c, oh, ow, o, kh, kw, *geo
    _kernel("conv_w", width, geo, x, dy)(grid, THREADS, x, dy, parts, *sizes, splits)
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


def _kernel(name, width, geo, *images):
    """The kernel that loads four channels at once from images (N,H,W,C), if their groups and addresses let it."""
    fours = all(x.shape[3] // geo.groups % 4 == 0 and address(x) % 16 == 0 for x in images)
    return kernel(name, name, images[0].dtype, width, 4 if fours else 1, fours and _tf32 and images[0].dtype == "f4")


def conv_relu_x(dy, y, w, geo, size):
    return conv_x(relu_x(dy, y), w, geo, size)


def conv_relu_w(x, y, dy, geo, kernel_size):
    dy = relu_x(dy, y)
    return conv_w(x, dy, geo, kernel_size), channel_sum(dy)


def conv_relu_backward(x, y, dy, w, geo):
    dy = relu_x(dy, y)
    return conv_x(dy, w, geo, x.shape[2:]), conv_w(x, dy, geo, w.shape[2:]), channel_sum(dy)
