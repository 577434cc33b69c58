"""Buffers that are used again: a fresh large array costs a page fault per 4 KiB on every step.

`empty` hands out memory from a pool of buffers. A buffer is free again when nothing refers to it any more, which Python's
own reference count tells: every array made here is a view whose `base` is its buffer. So nobody has to give anything
back, nothing in use is ever overwritten, and since a training step asks for the same sizes in the same order, it gets the
same buffers every time.
"""

import sys

import numpy as np

SMALL = 1 << 16  # bytes; below this the allocator of NumPy is as fast
KEEP = 1 << 28  # bytes of free buffers kept for later; beyond it the longest unused go back to the system
_ALIGN = 64  # bytes, a cache line and an AVX-512 register


class Arena:
    """A pool of byte buffers; see the module's docstring."""

    def __init__(self) -> None:
        self._buffers: list[np.ndarray] = []  # the most recently used last
        self.allocated = 0  # bytes ever taken from the system, for the test that steady steps take none

    def empty(self, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
        """An uninitialised C-contiguous array."""
        dtype = np.dtype(dtype)
        size = int(np.prod(shape, dtype=np.int64))
        if size * dtype.itemsize < SMALL:
            return np.empty(shape, dtype)
        buffer = self._take(size * dtype.itemsize + _ALIGN)
        start = -buffer.ctypes.data % _ALIGN
        return buffer[start : start + size * dtype.itemsize].view(dtype).reshape(shape)

    def _take(self, bytes_: int) -> np.ndarray:
        best = None
        for i in range(len(self._buffers)):
            room = self._buffers[i].size
            fits = bytes_ <= room <= bytes_ + (bytes_ >> 3)
            if fits and (best is None or room < self._buffers[best].size) and _unused(self._buffers, i):
                best = i
        if best is None:
            self.allocated += bytes_
            buffer = np.empty(bytes_, np.uint8)
            self._trim()
        else:
            buffer = self._buffers.pop(best)
        self._buffers.append(buffer)
        return buffer

    def _trim(self) -> None:
        free = [i for i in range(len(self._buffers)) if _unused(self._buffers, i)]
        excess = sum(self._buffers[i].size for i in free) - KEEP
        for i in free:
            if excess <= 0:
                break
            excess -= self._buffers[i].size
            self._buffers[i] = None
        self._buffers = [b for b in self._buffers if b is not None]

    def clear(self) -> None:
        """Give every buffer back to the system once its last user has gone."""
        self._buffers.clear()


def _unused(buffers: list[np.ndarray], i: int) -> bool:
    return sys.getrefcount(buffers[i]) <= _UNUSED


_UNUSED = 1 << 30
_probe = [np.empty(1, np.uint8)]
_UNUSED = sys.getrefcount(_probe[0])  # what the interpreter counts for a buffer that only its list refers to

_arena = Arena()
empty = _arena.empty
clear = _arena.clear


def allocated() -> int:
    """Bytes that the arena has ever taken from the system."""
    return _arena.allocated


def empty_nchw(shape: tuple[int, int, int, int], dtype: np.dtype | type) -> np.ndarray:
    """An uninitialised activation: shape (N,C,H,W), memory N,H,W,C."""
    n, c, h, w = shape
    return _arena.empty((n, h, w, c), dtype).transpose(0, 3, 1, 2)
