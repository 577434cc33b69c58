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

    in x: a convolution of dy with the kernel turned by half a turn, like the direct one (gland/ops/host_conv.py)
    in w: Z_p = sum_i A^T[i,p] dy_i,   dU_p = sum_j V_p[j .. j+2]^T Z_p[j],   dw[h] = sum_p G[p,h] dU_p

A bias b on all of y is b on M at the point 1, whose column of A^T is all ones.

The price is rounding: the points 2 and -2 bring in factors up to 8, and a layer's float32 error grows (measured and bounded
in tests/test_winograd.py). float64 and complex arrays, by which gradients are checked, never come here. GLAND_WINOGRAD=0 in
the environment, or `enable(False)`, turns it off.
"""

import os

import numpy as np

from gland.ops import arena
from gland.ops.layout import strided
from gland.ops.threads import blocks, count_threads, parallel, total

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

POINTS, BIAS = 6, 1  # six points; the bias enters at the second
STRIP = 1_000_000  # bytes of V, or of M, in a strip: both, and the rows they come from, stay in a core's cache
PITCH = 16  # floats between the points' matrices: a distance of whole pages makes them fight for the same cache lines
FEWEST_PIXELS = 512  # output pixels of a batch, below which the direct way is as fast (benchmarks/README.md)

_enabled = os.environ.get("GLAND_WINOGRAD", "1") != "0"


def enable(on: bool) -> None:
    """Use Winograd's convolution where it applies, or never."""
    global _enabled
    _enabled = on


def applies(x: np.ndarray, kernel: tuple[int, int], geo) -> bool:
    """Whether a convolution of x (N,H,W,C) takes this way."""
    plain = kernel == (3, 3) and (geo.stride, geo.dilation, geo.groups) == (1, 1, 1) and geo.pad <= 2
    if not (_enabled and plain and x.dtype == np.float32):
        return False
    h, w = geo.output_size(x.shape[1:3], kernel)
    return len(x) * h * w >= FEWEST_PIXELS


class Strips:
    """x (N,H,W,C), cut into strips of some tiles of four output rows each, of one image or of several whole ones."""

    def __init__(self, x: np.ndarray, o: int, pad: int) -> None:
        n, h, w, c = x.shape
        self.x, self.pad = x, pad
        self.oh, self.ow = h + 2 * pad - 2, w + 2 * pad - 2
        self.width = -(-(w + 2 * pad) // 3) * 3  # W'
        tiles = -(-self.oh // 4)
        threads = count_threads()
        most = max(1, STRIP // (POINTS * 4 * self.width * max(c, o)))
        self.images = min(max(1, most // tiles), max(1, n // threads))
        self.blocks = blocks(tiles, most, n) if self.images == 1 else 1
        self.rows = -(-tiles // self.blocks)  # tiles of one image in a strip, at most
        self.tiles, self.count = tiles, -(-n // self.images) * self.blocks
        self._halo = arena.empty((threads, self.images, 4 * self.rows + 2, self.width, c), x.dtype)
        self._halo[:, :, :, :pad] = 0
        self._halo[:, :, :, pad + w :] = 0
        self._v = self.matrices(c)

    def matrices(self, channels: int) -> np.ndarray:
        """(threads, 6, ...) for what a strip holds at the six points, and room for two pixels behind it."""
        length = self.images * self.rows * self.width * channels
        return arena.empty((count_threads(), POINTS, length + 2 * channels + PITCH), self.x.dtype)

    def place(self, i: int) -> tuple[slice, slice, tuple[int, int]]:
        """The images and the output rows of strip i, and how many images and tiles that is."""
        image, block = divmod(i, self.blocks)
        images = slice(image * self.images, min((image + 1) * self.images, len(self.x)))
        start, stop = (self.tiles * k // self.blocks for k in (block, block + 1))
        rows = slice(4 * start, min(4 * stop, self.oh))
        return images, rows, (images.stop - images.start, stop - start)

    def fill(self, thread: int, i: int) -> np.ndarray:
        """V of strip i, (6, images * tiles * W' * C and what lies behind), in this thread's own buffer."""
        images, rows, (n, t) = self.place(i)
        c, (h, w) = self.x.shape[3], self.x.shape[1:3]
        halo = self._halo[thread, :n, : 4 * t + 2]
        first = rows.start - self.pad  # the input row that the halo's first row stands for
        top, bottom = max(first, 0), min(first + halo.shape[1], h)
        halo[:, : top - first] = 0
        halo[:, bottom - first :] = 0
        halo[:, top - first : bottom - first, self.pad : self.pad + w] = self.x[images, top:bottom]
        a, b, _, item = halo.strides
        d = strided(self._halo[thread], (n, t, POINTS, self.width * c), (a, 4 * b, b, item))
        v = self._v[thread]
        np.matmul(BT, d, out=self.by_tile(v, n, t, c))
        length = n * t * self.width * c
        v[:, length : length + 2 * c] = 0  # the last windows reach there: old memory could hold a NaN, and 0 NaN = NaN
        return v

    def by_tile(self, m: np.ndarray, n: int, t: int, channels: int) -> np.ndarray:
        """The matrices m (6, ...) seen as (images, tiles, 6, W' * channels)."""
        row, item = self.width * channels, m.itemsize
        return strided(m, (n, t, len(m), row), (t * row * item, row * item, m.strides[0], item))

    def every_third(self, m: np.ndarray, n: int, t: int, channels: int, pixels: int, start: int) -> np.ndarray:
        """(6, images * tiles * W'/3, pixels * channels): `pixels` neighbours from each third pixel on, from `start` on."""
        count, item = n * t * self.width // 3, m.itemsize
        shape = (len(m), count, pixels * channels)
        return strided(m, shape, (m.strides[0], 3 * channels * item, item), start * channels * item)


def convolve(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, pad: int, relu: bool) -> np.ndarray:
    """y (N,OH,OW,O) of x (N,H,W,C), w (3,3,C,O), b (O,) or None."""
    c, o = w.shape[2:]
    strips = Strips(x, o, pad)
    u = product(G, w.reshape(3, -1)).reshape(POINTS, 3 * c, o)
    y = arena.empty((len(x), strips.oh, strips.ow, o), x.dtype)
    products, outputs = strips.matrices(o), strips.matrices(o)[:, :4]
    bias = None if b is None else np.tile(b, strips.width)
    zero = np.zeros((strips.ow, o), x.dtype)

    def work(thread, first, last):
        m = products[thread]
        for i in range(first, last):
            images, rows, (n, t) = strips.place(i)
            v = strips.fill(thread, i)
            for start in range(3):
                windows = strips.every_third(v, n, t, c, 3, start)
                np.matmul(windows, u, out=strips.every_third(m, n, t, o, 1, start))
            if b is not None:
                at_bias = strips.by_tile(m[BIAS : BIAS + 1], n, t, o)
                at_bias += bias
            length = n * t * strips.width * o
            np.matmul(AT, m[:, :length], out=outputs[thread, :, :length])
            out = outputs[thread, :, :length].reshape(4, n, t, strips.width, o)[:, :, :, : strips.ow]
            for k in range(4):
                strip = y[images, rows.start + k : rows.stop : 4]
                if relu:
                    np.maximum(out[k, :, : strip.shape[1]], zero, out=strip)
                else:
                    np.copyto(strip, out[k, :, : strip.shape[1]])

    parallel(work, strips.count)
    return y


def weight_grad(x: np.ndarray, dy: np.ndarray, pad: int) -> np.ndarray:
    """dw (3,3,C,O) of x (N,H,W,C) and dy (N,OH,OW,O)."""
    c, o = x.shape[3], dy.shape[3]
    strips = Strips(x, o, pad)
    sums = arena.empty((count_threads(), POINTS, 3 * c, o), x.dtype)
    sums[...] = 0
    products = arena.empty(sums.shape, x.dtype)
    inputs, spread = strips.matrices(o)[:, :4], strips.matrices(o)

    def work(thread, first, last):
        z = spread[thread]
        for i in range(first, last):
            images, rows, (n, t) = strips.place(i)
            length = n * t * strips.width * o
            dy_rows = inputs[thread, :, :length].reshape(4, n, t, strips.width, o)
            dy_rows[:, :, :, strips.ow :] = 0
            for k in range(4):
                strip = dy[images, rows.start + k : rows.stop : 4]
                dy_rows[k, :, : strip.shape[1], : strips.ow] = strip
                dy_rows[k, :, strip.shape[1] :] = 0
            np.matmul(A, inputs[thread, :, :length], out=z[:, :length])
            v = strips.fill(thread, i)
            for start in range(3):
                windows = strips.every_third(v, n, t, c, 3, start)
                np.matmul(windows.transpose(0, 2, 1), strips.every_third(z, n, t, o, 1, start), out=products[thread])
                sums[thread] += products[thread]

    parallel(work, strips.count)
    return product(GT, total(sums).reshape(POINTS, -1)).reshape(3, 3, c, o)


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b in memory that is used again."""
    return np.matmul(a, b, out=arena.empty((len(a), b.shape[1]), b.dtype))
