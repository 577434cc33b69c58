"""Timing in turns, and what the machine can do at most."""

import os
import platform
import statistics
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from gland.ops.host import threads

TURN = 5e-3  # seconds of work between two readings of the clock, at least
PAUSE = 2e-3  # seconds between turns: PyTorch's threads spin for a while after their work and would disturb ours


def medians(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Seconds a call: each competitor in turn, `repeats` turns each, the median of its turns."""
    times = turns(calls, repeats)
    return {name: statistics.median(t) for name, t in times.items()}


def turns(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """The seconds a call of every turn; two calls before them warm buffers and caches and are not counted."""
    inner = {}
    for name, call in calls.items():
        call()
        inner[name] = max(1, min(100, round(TURN / max(_seconds(call, 1), 1e-6))))
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats):
        for name in calls if turn % 2 == 0 else reversed(calls):
            time.sleep(PAUSE)
            times[name].append(_seconds(calls[name], inner[name]))
    return times


def _seconds(call: Callable[[], Any], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) / count


def sgemm_peak(count: int) -> float:
    """float32 operations a second of a large matrix product on this many BLAS threads, the best of five."""
    rng = np.random.default_rng(0)
    n = 1536
    a, b = (rng.standard_normal((n, n), dtype=np.float32) for _ in range(2))
    y = np.empty_like(a)
    with threadpool_limits(count, user_api="blas"):
        np.matmul(a, b, out=y)
        best = min(_seconds(lambda: np.matmul(a, b, out=y), 1) for _ in range(5))
    return 2 * n**3 / best


def copy_bandwidth(count: int) -> float:
    """Bytes read and written a second by a copy far larger than the caches, on this many threads, the best of five."""
    source, target = (np.ones((64, 1 << 20), np.float32) for _ in range(2))
    pool = threads.Pool(count)

    def copy() -> None:
        pool.run(lambda thread, first, last: np.copyto(target[first:last], source[first:last]), len(source))

    copy()
    best = min(_seconds(copy, 1) for _ in range(5))
    pool.close()
    return 2 * source.nbytes / best


def machine(count: int) -> dict[str, Any]:
    """What a result was measured on and with."""
    blas = [info for info in threadpool_info() if info["user_api"] == "blas"]
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": count,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": [f"{b['internal_api']} {b.get('version')} {b.get('architecture', '')}".strip() for b in blas],
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "load": os.getloadavg()[0],
        "sgemm_peak": sgemm_peak(count),
        "copy_bandwidth": copy_bandwidth(count),
    }


def _processor() -> str:
    """The model's name; cloud machines shorten it, so family, model and the widest vectors stand beside it."""
    found = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        key, _, value = line.partition(":")
        found.setdefault(key.strip(), value.strip())
    if not found:
        return platform.processor() or platform.machine()
    widest = next((name for name in ("avx512f", "avx2", "avx") if name in found.get("flags", "").split()), "no AVX")
    return f"{found.get('model name', '?')} (family {found.get('cpu family')}, model {found.get('model')}, {widest})"


def environment_warning() -> str | None:
    """A sentence if the environment makes BLAS choose another kernel than users get."""
    kernel = os.environ.get("OPENBLAS_CORETYPE")
    if kernel is None:
        return None
    return (
        f"the environment sets OPENBLAS_CORETYPE={kernel}: NumPy's matrix products do not use the kernel that OpenBLAS "
        "would choose here, so unset it for figures that count"
    )
