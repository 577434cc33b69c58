"""Winograd's convolution F(4, 3) down the rows: 3x3 kernels at stride 1 in float32, forward and both adjoints.

Source: Winograd, "Arithmetic complexity of computations" (1980); Lavin and Gray, "Fast algorithms for convolutional neural
networks" (2016), section 4. Four outputs below each other depend on six inputs d through a kernel column g of three. The
definition takes 12 products; interpolation at six points (0, 1, -1, 2, -2, infinity) takes 6:

    y = A^T [ (G g) * (B^T d) ]           * element by element

Here d_0 .. d_5 are whole rows of the image, so that B^T d is arithmetic between rows and gathers nothing. What is left to
do at each of the six points p is a convolution along the row with three taps, for all channels at once: the matrix product
of windows of 3 C neighbouring numbers with a (3 C, O) matrix. Half the multiplications of the definition remain.

    V_p = sum_a B^T[p,a] d_a            rows of W' pixels, C channels
    U_p = sum_h G[p,h] w[h]             (3 C, O)
    M_p[j] = V_p[j .. j+2] U_p          one window of 3 C numbers for each pixel j
    y_i = sum_p A^T[i,p] M_p            rows 4 t + i, i = 0 .. 3

Windows overlap, which a BLAS matrix cannot. But every third window does not: with W' a multiple of 3, the windows that
start at pixels 0, 3, 6, ... are the rows of V itself, seen as a (W'/3, 3 C) matrix, and those that start at 1 and at 2 the
same matrix begun one and two pixels later. So nothing is copied. Windows over the end of a row are computed and left out.

Every step is linear, so the adjoints are the same products transposed:

    in x: a convolution of dy with the kernel turned by half a turn, like the direct one (conv.py)
    in w: Z_p = sum_i A^T[i,p] dy_i,   dU_p = sum_j V_p[j .. j+2]^T Z_p[j],   dw[h] = sum_p G[p,h] dU_p

A bias is a seventh row of M, all b, with ones in A^T; its gradient is the sum of Z at the point 1, where A^T is all ones.

The price is rounding: the points 2 and -2 bring in factors up to 8, and a layer's float32 error grows (measured and bounded
in tests/test_winograd.py). float64 and complex arrays, by which gradients are checked, never come here. GLAND_WINOGRAD=0 in
the environment, or `enable(False)`, turns it off.
"""

import os

import numpy as np

from gland.ops.host import arena
from gland.ops.host.products import pixels_at_once, rows_at_once
from gland.ops.host.threads import count_threads, parallel, total
from gland.ops.host.tiles import POINTS, Tiles, shifted, thirds
from gland.ops.layout import Geometry

BT = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    np.float32,
)
G = (np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24).astype(np.float32)
AT = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], np.float32)
A, GT = np.ascontiguousarray(AT.T), np.ascontiguousarray(G.T)
AT1 = np.concatenate([AT, np.ones((4, 1), np.float32)], axis=1)  # the seventh row of M holds the bias of y

BIAS = 1  # the second point
FEWEST_PIXELS = 128  # output pixels of a batch, below which the direct way is as fast

_enabled = os.environ.get("GLAND_WINOGRAD", "1") != "0"


def enable(on: bool) -> None:
    """Use Winograd's convolution where it applies, or never."""
    global _enabled
    _enabled = on


def applies(x: np.ndarray, kernel_size: tuple[int, int], geo: Geometry) -> bool:
    """Whether a convolution of x (N,H,W,C) takes this way."""
    plain = kernel_size == (3, 3) and (geo.stride, geo.dilation, geo.groups) == (1, 1, 1) and geo.pad <= 2
    if not (_enabled and plain and x.dtype == np.float32):
        return False
    h, w = geo.output_size(x.shape[1:3], kernel_size)
    return len(x) * h * w >= FEWEST_PIXELS


def _parts(x: np.ndarray, o: int) -> int:
    """How many threads share the output channels, each with all tiles, where there are too few tiles to share evenly."""
    threads = count_threads()
    few = len(x) * (x.shape[1] // 4) < 4 * threads
    return threads if few and o % threads == 0 and o >= 32 * threads else 1


def convolve(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, pad: int, relu: bool, rectified: np.ndarray | None = None
) -> np.ndarray:
    """y (N,OH,OW,O) of x (N,H,W,C), w (3,3,C,O) of any strides, b (O,) or None.

    rectified: as x, the output of a rectifier; x then counts only where it is above 0.
    """
    c, o = w.shape[2:]
    parts = _parts(x, o)
    width = o // parts
    tiles = Tiles(x, width, pad, rectified, parts)
    y = arena.empty((len(x), tiles.oh, tiles.ow, o), x.dtype)
    u = arena.empty((count_threads(), POINTS, 3 * c, width), x.dtype)  # one a thread: quicker than to fetch the other's
    products, outputs = tiles.matrices(width, POINTS + 1), tiles.matrices(width, 4)
    zero = np.zeros((tiles.ow, width), x.dtype)

    def work(thread: int, first: int, last: int) -> None:
        part = first // tiles.count
        channels = slice(part * width, (part + 1) * width)
        weights = arena.empty((3, 3, c, width), w.dtype)
        np.copyto(weights, w[..., channels])
        np.matmul(G, weights.reshape(3, -1), out=u[thread].reshape(POINTS, -1))
        m, rows = products[thread], outputs[thread]
        np.copyto(m[POINTS, : tiles.most_pixels * width].reshape(-1, width), 0 if b is None else b[channels])
        for i in range(first, last):
            strip = i - part * tiles.count
            pixels = tiles.place(strip)[2]
            v, group = tiles.fill(thread, strip, BT), rows_at_once(pixels // 3, 3 * c * width)
            np.matmul(
                thirds(v, pixels, c, 3, group), u[thread][:, None], out=thirds(m[:POINTS], pixels, width, 1, group)
            )
            np.matmul(AT1, m[:, : pixels * width], out=rows[:, : pixels * width])
            for target, source in tiles.output_rows(strip, y[..., channels], rows):
                if relu:
                    np.maximum(source, zero, out=target)
                else:
                    np.copyto(target, source)

    parallel(work, parts * tiles.count)
    return y


def weight_grad(
    x: np.ndarray, dy: np.ndarray, pad: int, rectified: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """dw (3,3,C,O) and db (O,) of x (N,H,W,C) and dy (N,OH,OW,O).

    rectified: as dy, the output of a rectifier; dy then counts only where it is above 0.
    """
    c, o = x.shape[3], dy.shape[3]
    parts = _parts(x, o)
    width = o // parts
    tiles = Tiles(x, width, pad, None, parts)
    threads = min(count_threads(), parts * tiles.count)
    sums = arena.empty((threads, 3, POINTS, c, width), x.dtype)  # dU; one a thread, so none waits for another
    products = arena.empty(sums.shape, x.dtype)
    dw, db = arena.empty((threads, 3, 3, c, width), x.dtype), np.zeros((threads, width), x.dtype)
    inputs, spread = tiles.matrices(width, 4), tiles.matrices(width)
    ones = np.ones(tiles.most_pixels, x.dtype)

    def work(thread: int, first: int, last: int) -> None:
        part = first // tiles.count
        channels = slice(part * width, (part + 1) * width)
        z, rows, du = spread[thread], inputs[thread], sums[thread]
        for i in range(first, last):
            strip = i - part * tiles.count
            pixels = tiles.place(strip)[2]
            _fill_rows(tiles, strip, rows, dy[..., channels], None if rectified is None else rectified[..., channels])
            np.matmul(A, rows[:, : pixels * width], out=z[:, : pixels * width])
            v = shifted(tiles.fill(thread, strip, BT), pixels, c).swapaxes(2, 3)
            zs = z[:, : pixels * width].reshape(POINTS, pixels, width)
            db[thread] += ones[:pixels] @ zs[BIAS]
            step = pixels_at_once(pixels, c * width)
            for start in range(0, pixels, step):
                at, new = slice(start, start + step), i == first and start == 0
                np.matmul(v[..., at], zs[:, at], out=du if new else products[thread])
                if not new:
                    du += products[thread]
        out = dw[thread].reshape(3, 3, -1).swapaxes(0, 1)
        np.matmul(GT, du.reshape(3, POINTS, -1), out=out)

    parallel(work, parts * tiles.count)
    if parts == 1:
        return total(dw), db.sum(axis=0)
    whole = arena.empty((3, 3, c, o), x.dtype)
    np.copyto(whole.reshape(3, 3, c, parts, width), dw.transpose(1, 2, 3, 0, 4))
    return whole, db.reshape(-1)


def _fill_rows(tiles: Tiles, strip: int, rows: np.ndarray, dy: np.ndarray, rectified: np.ndarray | None) -> None:
    """dy of a strip, in rows (4, pixels * O and more), 0 where a tile reaches beyond it."""
    pixels, o = tiles.place(strip)[2], dy.shape[3]
    whole = rows[:, : pixels * o].reshape(4, -1, tiles.width, o)
    whole[:, :, tiles.ow :] = 0
    if tiles.oh % 4:
        whole[tiles.oh % 4 :] = 0
    masks = [None] * 2 if rectified is None else [y for y, _ in tiles.output_rows(strip, rectified, rows)]
    for (source, target), y in zip(tiles.output_rows(strip, dy, rows), masks, strict=False):
        if y is None:
            np.copyto(target, source)
        else:
            np.multiply(source, y > 0, out=target)
