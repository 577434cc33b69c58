"""The columns of a convolution (im2col), a strip of output rows at a time so that they stay in the processor's cache.

A convolution is the matrix product columns @ weights: a row of `columns` is the window under one output position,
KH * KW * C numbers.
"""

import numpy as np
from numpy.lib.stride_tricks import as_strided

from gland.ops.host import arena
from gland.ops.host.threads import blocks, count_threads
from gland.ops.layout import Geometry, runs

STRIP = 800_000  # bytes of columns in a strip: cache, and long enough matrix products


class Columns:
    """The strips of an image batch x (N,H,W,C), any strides; strip i is some rows of one image."""

    def __init__(self, x: np.ndarray, kernel_size: tuple[int, int], geo: Geometry) -> None:
        n, h, w, c = x.shape
        self.x, self.kernel_size, self.geo = x, kernel_size, geo
        self.size = self.oh, self.ow = geo.output_size((h, w), kernel_size)
        self.width = kernel_size[0] * kernel_size[1] * c
        threads = count_threads()
        self.blocks = blocks(self.oh, max(1, STRIP // (self.ow * self.width * x.itemsize)), n)
        self.rows = -(-self.oh // self.blocks)  # output rows of a strip, at most
        self.count = n * self.blocks
        self.same = kernel_size == (1, 1) and geo.stride == 1 and geo.pad == 0  # the columns are the image
        self._columns = (
            arena.empty((0,), x.dtype)
            if self.same
            else arena.empty((threads, self.rows * self.ow, self.width), x.dtype)
        )
        reach = (self.rows - 1) * geo.stride + geo.dilation * (kernel_size[0] - 1) + 1
        self._halo = arena.empty((threads, reach, w + 2 * geo.pad, c) if geo.pad else (0,), x.dtype)
        if geo.pad:
            self._halo[:, :, : geo.pad] = 0
            self._halo[:, :, geo.pad + w :] = 0

    def place(self, i: int) -> tuple[int, int, int]:
        """Image and output rows start, stop of strip i."""
        image, block = divmod(i, self.blocks)
        return image, self.oh * block // self.blocks, self.oh * (block + 1) // self.blocks

    def fill(self, thread: int, i: int) -> np.ndarray:
        """The columns of strip i, (rows * OW, width), in this thread's own buffer."""
        image, start, stop = self.place(i)
        if self.same:
            return self.x[image, start:stop].reshape(-1, self.width)
        kh, kw = self.kernel_size
        s, d, c, rows = self.geo.stride, self.geo.dilation, self.x.shape[3], stop - start
        source = self._rows(thread, image, start, stop)
        a, b, e = source.strides
        windows = as_strided(source, (rows, self.ow, kh, kw, c), (a * s, b * s, a * d, b * d, e))
        columns = self._columns[thread, : rows * self.ow]
        target = columns.reshape(windows.shape)
        if d == 1 and b == c * e:  # the windows' rows lie in one piece
            windows = as_strided(source, (rows, self.ow, kh, kw * c), (a * s, b * s, a, e))
            windows, target = runs(windows), runs(columns.reshape(windows.shape))
        np.copyto(target, windows)
        return columns

    def _rows(self, thread: int, image: int, start: int, stop: int) -> np.ndarray:
        """The input rows that output rows start to stop see, (reach, W + 2 pad, C), zero outside the image."""
        pad, h = self.geo.pad, self.x.shape[1]
        first = start * self.geo.stride - pad
        last = (stop - 1) * self.geo.stride - pad + self.geo.dilation * (self.kernel_size[0] - 1) + 1
        if pad == 0:
            return self.x[image, first:last]
        halo = self._halo[thread, : last - first]
        top, bottom = min(max(first, 0), h), max(min(last, h), 0)
        halo[: top - first] = 0
        halo[max(bottom, top) - first :] = 0
        if bottom > top:
            halo[top - first : bottom - first, pad : pad + self.x.shape[2]] = self.x[image, top:bottom]
        return halo
