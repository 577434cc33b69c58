"""Device arrays: where they come from, and how they lie in memory. Nothing here imports CuPy: the array brings its own kind."""

from typing import Any

import numpy as np

Array = Any


def empty(shape: tuple[int, ...], x: Array, dtype: Any = None) -> Array:
    """An uninitialised C-contiguous array where x lives, of x's dtype unless told."""
    y = np.empty_like(x, dtype=dtype or x.dtype, order="C", shape=tuple(shape) or (1,))
    return y.reshape(shape)  # CuPy 14 takes an empty shape for "as x"


def like(values: np.ndarray, x: Array) -> Array:
    """A host array copied to where x lives, C-contiguous."""
    y = empty(values.shape, x, values.dtype)
    y.set(np.asarray(values, order="C"))
    return y


def contiguous(x: Array) -> Array:
    """x itself where its memory is C-contiguous, else a copy."""
    return x if x.flags.c_contiguous else x.copy(order="C")


def nhwc(x: Array) -> Array:
    """(N,C,H,W) -> C-contiguous (N,H,W,C), copied only if the memory is not channels-last."""
    return contiguous(x.transpose(0, 2, 3, 1))


def hwio(w: Array) -> Array:
    """(O,C,KH,KW) -> C-contiguous (KH,KW,C,O), copied only if it lies otherwise."""
    return contiguous(w.transpose(2, 3, 1, 0))


def channels_last(x: Array) -> Array:
    """Axis 1 moved to the end and made contiguous: a row of the result is what softmax sees."""
    return contiguous(x.transpose(0, *range(2, x.ndim), 1))


def channels_first(y: Array) -> Array:
    """The last axis seen as axis 1: the logical view of what channels_last laid out."""
    return y.transpose(0, y.ndim - 1, *range(1, y.ndim - 1))
