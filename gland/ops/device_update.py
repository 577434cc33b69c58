"""The solver's update on the device, on flat buffers, with no number brought to the host."""

import math

import numpy as np

from gland.ops.device_memory import empty
from gland.ops.launch import blocks, kernel

_BLOCKS = 256


def scalar(value, x):
    """A number as a 0-d array where x lives, in x's dtype; an array is returned as it is."""
    if not isinstance(value, int | float | np.generic):
        return value
    y = empty((), x)
    kernel("pointwise", "fill", x.dtype).over(1, y, 1, float(value))
    return y


def clip_factor(gradient, largest):
    parts = min(_BLOCKS, blocks(gradient.size))
    partial, factor = empty((parts,), gradient, np.float64), empty((), gradient)
    kernel("sgd", "squares", gradient.dtype)(parts, 256, gradient, partial, gradient.size)
    kernel("sgd", "clip_factor", gradient.dtype)(1, 256, partial, factor, parts, largest)
    return factor


def sgd_update(w, dw, v, rate, momentum, decay, factor=None):
    """factor None: no limit; a gradient that is not finite changes nothing all the same."""
    factor = clip_factor(dw, math.inf) if factor is None else scalar(factor, w)
    kernel("sgd", "sgd_update", w.dtype).over(w.size, w, dw, v, scalar(rate, w), factor, w.size, momentum, decay)


def nesterov(dw, v, momentum, factor=None):
    factor = clip_factor(dw, math.inf) if factor is None else scalar(factor, v)
    ahead = empty(v.shape, v)
    kernel("sgd", "nesterov", v.dtype).over(v.size, dw, v, ahead, factor, v.size, momentum)
    return ahead


def adam_update(w, dw, m, s, rate, betas, epsilon, decay, factor=None):
    """factor None: no limit; a gradient that is not finite changes nothing all the same."""
    factor = clip_factor(dw, math.inf) if factor is None else scalar(factor, w)
    arrays = w, dw, m, s, scalar(rate, w), factor
    kernel("adam", "adam_update", w.dtype).over(w.size, *arrays, w.size, *betas, epsilon, decay)
