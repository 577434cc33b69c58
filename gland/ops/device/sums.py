"""Sums on the device, in two passes of a fixed order, so that they have the same bits on every run."""

from gland.ops.device.launch import kernel
from gland.ops.device.memory import Array, empty, nhwc

_ROWS = 512  # summed by one block of column_sums, unless that made more than _PARTS parts
_PARTS = 128


def add_splits(parts: Array, y: Array, b: Array | None = None, scale: float = 1.0, relu: bool = False) -> None:
    """y = scale * (sum over the first axis of parts) + b along y's last axis, rectified if asked."""
    o = y.shape[-1] if y.ndim else 1
    kernel("sums", "sum_splits", y.dtype).over(y.size, parts, b, y, y.size, o, parts.shape[0], scale, relu)


def column_sums(x: Array, scale: float = 1.0) -> Array:
    """(B,R,C) -> (B,C): scale times the sum over the rows, in two passes of fixed order, or one if they are few."""
    b, r, c = x.shape
    parts = max(1, min(_PARTS, -(-r // _ROWS)))
    y = empty((b, c), x)
    grid, run = (-(-c // 32), parts, b), kernel("sums", "column_sums", x.dtype)
    if parts == 1:
        run(grid, (32, 8), x, y, b, r, c, r, scale)
        return y
    partial = empty((parts, b, c), x)
    run(grid, (32, 8), x, partial, b, r, c, -(-r // parts), 1.0)
    add_splits(partial, y, scale=scale)
    return y


def channel_sum(x: Array) -> Array:
    x = nhwc(x)
    return column_sums(x.reshape(1, -1, x.shape[3])).reshape(-1)


def spatial_sum(x: Array) -> Array:
    x = nhwc(x)
    return column_sums(x.reshape(len(x), -1, x.shape[3]))


def global_avg_pool(x: Array) -> Array:
    x = nhwc(x)
    return column_sums(x.reshape(len(x), -1, x.shape[3]), 1 / (x.shape[1] * x.shape[2]))
