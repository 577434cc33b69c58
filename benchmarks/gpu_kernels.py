"""Single kernels against the least that the device could take for them; benchmarks/gpu.py prints it behind its table.

The floor is the larger of two times: what must be read and written, at the speed of a plain copy measured in the same run; and
the sums and products at the device's peak (multiprocessors x float32 lanes x 2 x clock).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from gpu_clock import medians

from gland import backend, ops
from gland.ops import Geometry
from gland.ops.device.graph import Recorded

LANES = {"75": 64, "80": 64}  # float32 lanes of a multiprocessor; 128 on 8.6 and all that came after
TOGETHER = 20  # calls in one graph, so that a kernel's time is not its launch's
WINDOWS, SIDE, PARAMETERS = 8, 224, 1_454_564
COPY = 1 << 28  # bytes, far more than any cache holds


class Job(NamedTuple):
    """One operation: what must move, in bytes, and how many floating-point operations it is."""

    name: str
    call: Callable[[], Any]
    bytes: int
    operations: int


def report(rounds: int) -> list[dict[str, Any]]:
    """Time every job, print a line each, and return the rows."""
    speed, peak = copy_speed(rounds), peak_operations()
    speeds = f"copying {speed / 1e9:,.0f} GB/s, float32 peak {peak / 1e12:.1f} TFLOP/s"
    print(f"\nkernels; {speeds}; floor: by memory or arithmetic")
    rows = []
    for job in jobs():
        seconds = medians({"ours": _together(job.call)}, rounds)["ours"] / 1e3 / TOGETHER
        memory, arithmetic = job.bytes / speed, job.operations / peak
        floor, by = max((memory, "memory"), (arithmetic, "arithmetic"))
        rows.append({"kernel": job.name, "microseconds": 1e6 * seconds, "floor": 1e6 * floor, "by": by})
        print(
            f"{job.name:<44}{1e6 * seconds:9.1f} us   floor {1e6 * floor:8.1f} us by {by:<10}  {floor / seconds:6.1%} of it"
        )
    return rows


def _together(call: Callable[[], Any]) -> Recorded:
    def work() -> None:
        for _ in range(TOGETHER):
            call()

    recorded = Recorded(work)
    for _ in range(4):
        recorded()
    return recorded


def copy_speed(rounds: int) -> float:
    """Bytes read and written a second by a copy on the device."""
    a = backend.to_device(np.zeros(COPY, np.uint8))
    b = backend.to_device(np.zeros(COPY, np.uint8))

    def copy() -> None:
        b[...] = a

    return 2 * COPY / (medians({"copy": copy}, rounds)["copy"] / 1e3)


def peak_operations() -> float:
    """float32 operations a second, a product and a sum counted as two."""
    device = backend.cupy().cuda.Device()
    attributes = device.attributes
    lanes = LANES.get(device.compute_capability, 128)
    return attributes["MultiProcessorCount"] * lanes * 2 * attributes["ClockRate"] * 1e3


def jobs() -> list[Job]:
    """The operations of the joint network of width 16 on eight windows of 224 pixels."""
    n, side = WINDOWS, SIDE
    found = []
    for c, o, halvings in ((3, 16, 0), (16, 16, 0), (32, 32, 1), (128, 128, 3), (128, 128, 4)):
        found += _convolutions(n, c, o, side >> halvings)
    x, small = _normal(n, 16, side, side), _normal(n, 1, side >> 4, side >> 4)
    y, argmax = ops.max_pool(x, (2, 2), 2, 0, False)
    w, dw, v = (_normal(PARAMETERS) for _ in range(3))
    rate = factor = _normal(1)
    large, quarter, places = x.nbytes, y.nbytes, argmax.nbytes
    pooled = large + quarter + places
    return [
        *found,
        Job("max pool", lambda: ops.max_pool(x, (2, 2), 2, 0, False), pooled, 0),
        Job("max pool, input gradient", lambda: ops.max_pool_x(y, argmax, (2, 2), 2, 0, (side, side)), pooled, 0),
        Job("max pool, tangent", lambda: ops.max_pool_t(x, argmax, (2, 2), 2, 0), 2 * quarter + places, 0),
        Job("rectifier's mask", lambda: ops.relu_x(x, x), 3 * large, 0),
        Job("sum over positions (a bias's gradient)", lambda: ops.channel_sum(x), large, 0),
        Job("joining channels", lambda: ops.concat([x, x]), 4 * large, 0),
        Job("bilinear, sixteenfold", lambda: ops.upsample_bilinear(small, (side, side)), 4 * n * side * side, 0),
        Job("update with momentum", lambda: ops.sgd_update(w, dw, v, rate, 0.9, 0.0, factor), 5 * w.nbytes, 0),
    ]


def _convolutions(n: int, c: int, o: int, side: int) -> list[Job]:
    x, dy, w, b = _normal(n, c, side, side), _normal(n, o, side, side), _normal(o, c, 3, 3), _normal(o)
    geo = Geometry(1, 1)
    name, moved = f"conv 3x3 {c} -> {o}, {side} px", x.nbytes + w.nbytes + dy.nbytes
    operations = 2 * n * side * side * o * c * 9
    return [
        Job(name, lambda: ops.conv_relu(x, w, b, geo), moved, operations),
        Job(f"{name}, input gradient", lambda: ops.conv_x(dy, w, geo, (side, side)), moved, operations),
        Job(f"{name}, weight gradient", lambda: ops.conv_w(x, dy, geo, (3, 3)), moved, operations),
    ]


def _normal(*shape: int) -> Any:
    values = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    lay = ops.parameter if shape[2:] in ((), (3, 3)) else _channels_last
    return backend.to_device(lay(values))


def _channels_last(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
