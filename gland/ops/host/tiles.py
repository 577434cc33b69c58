"""Winograd's tiles (winograd.py): four output rows each, a strip of them at a time so that they stay in the
processor's cache, and the views by which matrix products read them without a copy.
"""

from collections.abc import Iterator

import numpy as np

from gland.ops.host import arena
from gland.ops.host.threads import blocks, count_threads
from gland.ops.layout import strided

POINTS = 6  # at which the algorithm interpolates
STRIP = 1_000_000  # bytes of V, or of M, in a strip: both, and the rows they come from, stay in a core's cache
PITCH = 16  # floats between the points' matrices: a distance of whole pages makes them fight for the same cache lines


class Tiles:
    """x (N,H,W,C), cut into strips of some tiles, of one image or of several whole ones, for products with O channels.

    y, if given, is the output of a rectifier, of the shape of x: x counts only where y > 0. times: how often each strip is
    used, by another thread each time.
    """

    def __init__(self, x: np.ndarray, o: int, pad: int, y: np.ndarray | None = None, times: int = 1) -> None:
        n, h, w, c = x.shape
        self.x, self.y, self.pad = x, y, pad
        self.oh, self.ow = h + 2 * pad - 2, w + 2 * pad - 2
        self.width = -(-(w + 2 * pad) // 3) * 3  # W'
        self.tiles = -(-self.oh // 4)
        most = max(1, STRIP // (POINTS * 4 * self.width * max(c, o)))
        self.images = min(max(1, most // self.tiles), max(1, n * times // count_threads()))
        self.blocks = blocks(self.tiles, most, n * times) if self.images == 1 else 1
        self.rows = -(-self.tiles // self.blocks)  # tiles of one image in a strip, at most
        self.count = -(-n // self.images) * self.blocks
        self._halo = arena.empty((count_threads(), self.images, 4 * self.rows + 2, self.width, c), x.dtype)
        self._halo[:, :, :, :pad] = 0
        self._halo[:, :, :, pad + w :] = 0
        self.most_pixels = self.images * self.rows * self.width
        self._v = self.matrices(c)

    def matrices(self, channels: int, count: int = POINTS) -> np.ndarray:
        """(threads, count, ...) for what a strip holds at the six points, and room for two pixels behind it."""
        length = self.most_pixels * channels
        return arena.empty((count_threads(), count, length + 2 * channels + PITCH), self.x.dtype)

    def place(self, i: int) -> tuple[slice, slice, int]:
        """The images and the output rows of strip i, and how many pixels its tiles have, W' in each row of tiles."""
        image, block = divmod(i, self.blocks)
        images = slice(image * self.images, min((image + 1) * self.images, len(self.x)))
        start, stop = (self.tiles * k // self.blocks for k in (block, block + 1))
        rows = slice(4 * start, min(4 * stop, self.oh))
        return images, rows, (images.stop - images.start) * (stop - start) * self.width

    def fill(self, thread: int, i: int, bt: np.ndarray) -> np.ndarray:
        """V = bt d of strip i, (6, pixels * C and what lies behind), in this thread's own buffer."""
        images, rows, pixels = self.place(i)
        c, (h, w) = self.x.shape[3], self.x.shape[1:3]
        n = images.stop - images.start
        t = pixels // (n * self.width)
        halo = self._halo[thread, :n, : 4 * t + 2]
        first = rows.start - self.pad  # the input row that the halo's first row stands for
        top, bottom = max(first, 0), min(first + halo.shape[1], h)
        if first < top:
            halo[:, : top - first] = 0
        if bottom < first + halo.shape[1]:
            halo[:, bottom - first :] = 0
        inside = halo[:, top - first : bottom - first, self.pad : self.pad + w]
        if self.y is None:
            np.copyto(inside, self.x[images, top:bottom])
        else:
            np.multiply(self.x[images, top:bottom], self.y[images, top:bottom] > 0, out=inside)
        a, b, _, item = halo.strides
        d = strided(self._halo[thread], (n, t, POINTS, self.width * c), (a, 4 * b, b, item))
        v = self._v[thread]
        np.matmul(bt, d, out=self.by_tile(v, n, t, c))
        length = pixels * c
        v[:, length : length + 2 * c] = 0  # the last windows reach there: old memory could hold a NaN, and 0 NaN = NaN
        return v

    def by_tile(self, m: np.ndarray, n: int, t: int, channels: int) -> np.ndarray:
        """The matrices m (6, ...) seen as (images, tiles, 6, W' * channels)."""
        row, item = self.width * channels, m.itemsize
        return strided(m, (n, t, len(m), row), (t * row * item, row * item, m.strides[0], item))

    def output_rows(self, i: int, y: np.ndarray, m: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Pairs of the rows of y (N,OH,OW,O) that belong to strip i, and their places in m (4, pixels * O and more)."""
        images, rows, pixels = self.place(i)
        n, o, height = images.stop - images.start, y.shape[3], rows.stop - rows.start
        tiles = m[:, : pixels * o].reshape(4, n, -1, self.width, o)[:, :, :, : self.ow].transpose(1, 2, 0, 3, 4)
        full = height // 4
        yield y[images, rows.start : rows.start + 4 * full].reshape(n, full, 4, self.ow, o), tiles[:, :full]
        if rest := height % 4:
            yield y[images, rows.stop - rest : rows.stop, None].swapaxes(1, 2), tiles[:, full:, :rest]


def thirds(m: np.ndarray, pixels: int, channels: int, window: int, rows: int) -> np.ndarray:
    """m (6, pixels * channels and more) -> (3, 6, groups, rows, window * channels): from each of the first three pixels on,
    windows of `window` neighbours, one for every third pixel, `rows` of them in a group."""
    step, item = 3 * channels * m.itemsize, m.itemsize
    shape = (3, len(m), pixels // 3 // rows, rows, window * channels)
    return strided(m, shape, (channels * item, m.strides[0], rows * step, step, item))


def shifted(m: np.ndarray, pixels: int, channels: int) -> np.ndarray:
    """m (6, pixels * channels and more) -> (3, 6, pixels, channels), begun 0, 1 and 2 pixels later."""
    item = m.itemsize
    return strided(m, (3, len(m), pixels, channels), (channels * item, m.strides[0], channels * item, item))
