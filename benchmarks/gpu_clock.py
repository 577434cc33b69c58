"""Timing in turns on a device, whose calls return before their work is done."""

import statistics
import time
from collections.abc import Callable

from gland import backend

MIN_SECONDS = 0.03  # of work between two readings of the clock


def medians(calls: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Milliseconds a call: each competitor in turn, `rounds` times, the median of its turns."""
    wait = backend.cupy().cuda.Device().synchronize
    repeats = {name: _repeats(call, wait) for name, call in calls.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(_seconds(call, repeats[name], wait))
    return {name: 1e3 * statistics.median(t) for name, t in times.items()}


def _seconds(call: Callable[[], None], repeats: int, wait: Callable[[], None]) -> float:
    wait()
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    wait()
    return (time.perf_counter() - start) / repeats


def _repeats(call: Callable[[], None], wait: Callable[[], None]) -> int:
    _seconds(call, 3, wait)
    return max(3, round(MIN_SECONDS / max(_seconds(call, 3, wait), 1e-6)))
