"""The solver's update on the device, on flat buffers, with no number brought to the host."""

import math
from typing import Any

import numpy as np

from gland.ops.device.launch import kernel
from gland.ops.device.memory import Array, contiguous, empty, nhwc
from gland.ops.device.solver import clip_factor

_PARTS = 64  # blocks that count right pixels


def scalar(value: float | Array, x: Array) -> Array:
    """A number as a 0-d array where x lives, in x's dtype; an array is returned as it is."""
    if not isinstance(value, int | float | np.generic):
        return value
    y = empty((), x)
    kernel("fill", "fill", x.dtype).over(1, y, 1, float(value))
    return y


def sgd_update(
    w: Array, dw: Array, v: Array, rate: float | Array, momentum: float, decay: float, factor: Array | None = None
) -> None:
    """factor None: no limit; a gradient that is not finite changes nothing all the same."""
    factor = clip_factor(dw, math.inf) if factor is None else scalar(factor, w)
    kernel("sgd", "sgd_update", w.dtype).over(w.size, w, dw, v, scalar(rate, w), factor, w.size, momentum, decay)


def nesterov(dw: Array, v: Array, momentum: float, factor: Array | None = None) -> Array:
    factor = clip_factor(dw, math.inf) if factor is None else scalar(factor, v)
    ahead = empty(v.shape, v)
    kernel("nesterov", "nesterov", v.dtype).over(v.size, dw, v, ahead, factor, v.size, momentum)
    return ahead


def adam_update(
    w: Array, dw: Array, m: Array, s: Array, rate: float | Array, betas: tuple[float, float], epsilon: float,
    decay: float, factor: Array | None = None,
) -> None:  # fmt: skip
    """factor None: no limit; a gradient that is not finite changes nothing all the same."""
    factor = clip_factor(dw, math.inf) if factor is None else scalar(factor, w)
    arrays = w, dw, m, s, scalar(rate, w), factor
    kernel("adam", "adam_update", w.dtype).over(w.size, *arrays, w.size, *betas, epsilon, decay)


def tally(totals: Array, losses: Any, mask: Array | None, label: Array) -> None:
    right, parts, n, classes = None, 0, 0, 0
    logits, s, pixels = losses.logits, losses.seg_logits, 0 if mask is None else mask.size
    if s is not None:
        parts = min(_PARTS, -(-pixels // 256))
        right = empty((parts,), s, np.int32)
        kernel("tally", "count_right", s.dtype)(parts, 256, nhwc(s), contiguous(mask), right, pixels)
    if logits is not None:
        logits, (n, classes) = contiguous(logits), logits.shape
    values = losses.total, losses.loss_class, losses.loss_segmentation, logits, label, right, totals
    kernel("tally", "tally", losses.total.dtype)(1, 32, *values, n, classes, parts, pixels)
