"""A few Python threads that share the strips of an operation. NumPy releases the interpreter lock in copies, arithmetic
and matrix products, so the threads really run side by side; BLAS itself is held at one thread, since its threads times
ours would fight for the cores (5 to 9 times slower).

How strips are dealt out depends only on the number of threads, so for a fixed number the results are the same bits.

A thread that wakes up is often put on the core of the thread that woke it, although others are idle, and then waits there for
the very work that it should share: two threads take longer than one. So the helpers are kept off the caller's core.
"""

import ctypes
import os
import threading
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from gland import backend

Work = Callable[[int, int, int], None]

PIECE = 1 << 19  # elements that one NumPy call should have at most
ALONE = 1 << 15  # elements, below which one thread is done before another has begun


if hasattr(os, "sched_setaffinity"):
    _cores, _stay_on = os.sched_getaffinity, os.sched_setaffinity
    _current_core = getattr(ctypes.PyDLL(None), "sched_getcpu", lambda: -1)
else:  # a system that places threads as it likes, such as macOS

    def _cores(thread: int = 0) -> set[int]:
        return set(range(os.cpu_count() or 1))

    def _stay_on(thread: int, cores: Iterable[int]) -> None:
        pass

    def _current_core() -> int:
        return -1


class Pool:
    """The calling thread and count - 1 helpers, started when first needed, and again in a forked child."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._process = -1
        self._busy = threading.Lock()

    def _start(self) -> None:
        self._process = os.getpid()
        self._done: SimpleQueue = SimpleQueue()
        self._inboxes: list[SimpleQueue] = [SimpleQueue() for _ in range(self.count - 1)]
        self._helpers = [
            threading.Thread(target=self._serve, args=(inbox, self._done), daemon=True, name="gland-ops")
            for inbox in self._inboxes
        ]
        for helper in self._helpers:
            helper.start()
        self._allowed, self._avoided = _cores(0), -1
        ThreadpoolController().limit(limits=1, user_api="blas")

    @staticmethod
    def _serve(inbox: SimpleQueue, done: SimpleQueue) -> None:
        while (task := inbox.get()) is not None:
            work, arguments = task
            try:
                work(*arguments)
                done.put(None)
            except BaseException as error:
                done.put(error)

    def _keep_off(self, core: int) -> None:
        """Let the helpers run on every core but this one."""
        self._avoided = core
        others = self._allowed - {core}
        if others:
            for helper in self._helpers:
                _stay_on(helper.native_id or 0, others)

    def run(self, work: Work, count: int) -> None:
        """work(thread, start, stop) on contiguous shares of range(count), one share a thread."""
        if self._process != os.getpid():
            self._start()
        threads = min(self.count, count)
        bounds = [count * i // threads for i in range(threads + 1)] if threads else []
        if threads < 2 or not self._busy.acquire(blocking=False):  # a second caller does every share itself
            for i in range(threads):
                work(i, bounds[i], bounds[i + 1])
            return
        allowed = _cores(0)
        try:
            if (core := _current_core()) in allowed:
                if core != self._avoided:
                    self._keep_off(core)
                _stay_on(0, {core})  # until all are done: who wakes it would draw it to another core too
            for i in range(1, threads):
                self._inboxes[i - 1].put((work, (i, bounds[i], bounds[i + 1])))
            failure = None
            try:
                work(0, 0, bounds[1])
            except BaseException as error:
                failure = error
            for _ in range(1, threads):
                failure = self._done.get() or failure
            if failure is not None:
                raise failure
        finally:
            _stay_on(0, allowed)
            self._busy.release()

    def close(self) -> None:
        """End the helpers; the next run starts new ones."""
        if self._process == os.getpid():
            for inbox in self._inboxes:
                inbox.put(None)
        self._process = -1


_pool = Pool(backend.given_threads() or len(_cores(0)))
_local = threading.local()  # alone: whether this thread is one of `at_once`


def parallel(work: Work, count: int) -> None:
    """work(thread, start, stop) on contiguous shares of range(count), 0 <= thread < count_threads()."""
    if getattr(_local, "alone", False):
        work(0, 0, count)
    else:
        _pool.run(work, count)


def strip_rows(count: int, row: int, most: int = PIECE) -> int:
    """How many of `count` rows of `row` elements make a strip: at most `most` elements, and every thread gets as many.

    Strips are large, since two threads that call NumPy often lose more by asking for the interpreter at the same time than
    they gain by the cache.
    """
    number = 1 if count * row <= ALONE else blocks(count, max(1, most // row), 1)
    return -(-count // number)


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What calls return that do not wait for each other: each is made by one thread alone, so that no two of them get in each
    other's way. Where there are twice as many threads as calls or more, one call after the other has all of them."""
    if count_threads() >= 2 * len(calls) or count_threads() == 1:
        return [call() for call in calls]
    results: list[Any] = [None] * len(calls)

    def work(thread: int, first: int, last: int) -> None:
        outer, _local.alone = getattr(_local, "alone", False), True
        try:
            for i in range(first, last):
                results[i] = calls[i]()
        finally:
            _local.alone = outer

    parallel(work, len(calls))
    return results


def blocks(length: int, most: int, count: int) -> int:
    """How many blocks each of `count` lengths is cut into: none longer than `most`, and every thread gets as many."""
    number = min(length, -(-length // most))
    while number < length and count * number % count_threads():
        number += 1
    return number


def by_strips(work: Callable[[int, slice], None], count: int, step: int) -> None:
    """work(thread, rows) for `count` rows in strips of `step`, 0 <= thread < count_threads()."""

    def share(thread: int, first: int, last: int) -> None:
        for i in range(first, last):
            work(thread, slice(i * step, min((i + 1) * step, count)))

    parallel(share, -(-count // step))


def total(sums: np.ndarray) -> np.ndarray:
    """The sum over the first axis, one entry a thread, made in the first of them."""
    for piece in sums[1:]:
        sums[0] += piece
    return sums[0]


def count_threads() -> int:
    """How many threads share the work that the calling thread now hands out."""
    return 1 if getattr(_local, "alone", False) else _pool.count


def set_threads(count: int) -> None:
    """Use this many threads from now on. The default is the number of cores, or the environment's GLAND_THREADS."""
    global _pool
    if count < 1:
        raise ValueError(f"{count} threads cannot do any work; use at least 1")
    _pool.close()
    _pool = Pool(count)
