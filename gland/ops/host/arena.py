"""Buffers that are used again: a fresh large array costs a page fault per 4 KiB on every step.

`empty` hands out memory from a pool of buffers. A buffer is free again when nothing refers to it any more, which Python's
own reference count tells: every array made here is a view whose `base` is its buffer. So nobody has to give anything
back, nothing in use is ever overwritten, and since a training step asks for the same sizes in the same order, it gets the
same buffers every time.
"""

import math
import threading
from bisect import bisect_left
from sys import getrefcount

import numpy as np

SMALL = 1 << 16  # bytes; below this the allocator of NumPy is as fast
WASTE = 2  # times the size asked for, the largest buffer that may serve it
KEEP = 1 << 28  # bytes of free buffers kept for later; beyond it the longest unused go back to the system
_ALIGN = 64  # bytes, a cache line and an AVX-512 register


class _Buffer:
    __slots__ = ("memory", "start", "used")

    def __init__(self, bytes_: int) -> None:
        self.memory = np.empty(bytes_ + _ALIGN, np.uint8)
        self.start = -self.memory.ctypes.data % _ALIGN
        self.used = 0


class Arena:
    """A pool of byte buffers; see the module's docstring."""

    def __init__(self) -> None:
        self._buffers: dict[int, list[_Buffer]] = {}  # by capacity
        self._capacities: list[int] = []  # sorted
        self._lock = threading.Lock()
        self._clock = 0
        self.allocated = 0  # bytes ever taken from the system, for the test that steady steps take none

    def empty(self, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
        """An uninitialised C-contiguous array."""
        dtype = np.dtype(dtype)
        bytes_ = math.prod(shape) * dtype.itemsize
        if bytes_ < SMALL:
            return np.empty(shape, dtype)
        with self._lock:
            buffer = self._take(bytes_)
            return np.ndarray(shape, dtype, buffer.memory, buffer.start)

    def _take(self, bytes_: int) -> _Buffer:
        capacity = _capacity(bytes_)
        buffer = self._smallest_free(capacity, WASTE * capacity)
        if buffer is None:
            self._trim()
            buffer = _Buffer(capacity)
            self.allocated += capacity
            if capacity not in self._buffers:
                self._buffers[capacity] = []
                self._capacities = sorted(self._buffers)
            self._buffers[capacity].append(buffer)
        self._clock += 1
        buffer.used = self._clock
        return buffer

    def _smallest_free(self, least: int, most: int) -> _Buffer | None:
        for capacity in self._capacities[bisect_left(self._capacities, least) :]:
            if capacity > most:
                return None
            for buffer in self._buffers[capacity]:
                if getrefcount(buffer.memory) <= _FREE:
                    return buffer
        return None

    def _trim(self) -> None:
        free = [
            (b.used, capacity, b)
            for capacity, same in self._buffers.items()
            for b in same
            if getrefcount(b.memory) <= _FREE
        ]
        excess = sum(capacity for _, capacity, _ in free) - KEEP
        for _, capacity, buffer in sorted(free, key=lambda entry: entry[0]):
            if excess <= 0:
                break
            excess -= capacity
            self._buffers[capacity].remove(buffer)

    def clear(self) -> None:
        """Give every buffer back to the system once its last user has gone."""
        with self._lock:
            self._buffers.clear()
            self._capacities.clear()


def _capacity(bytes_: int) -> int:
    """Rounded up to three binary digits after the first, an eighth more at most, so that similar sizes share a buffer."""
    step = 1 << max(bytes_.bit_length() - 4, 0)
    return -(-bytes_ // step) * step


_probe = _Buffer(1)
_FREE = getrefcount(_probe.memory)  # what the interpreter counts for memory that only its buffer refers to

_arena = Arena()
empty = _arena.empty
clear = _arena.clear


def allocated() -> int:
    """Bytes that the arena has ever taken from the system."""
    return _arena.allocated
