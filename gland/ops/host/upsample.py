"""Bilinear and nearest upsampling on the host: along each axis a small matrix R, so y = R_h x R_w^T, and its adjoint is
the same product with both matrices transposed."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from gland.ops.layout import Size, nchw, nhwc

Array = Any


@functools.lru_cache(64)
def bilinear_matrix(n: int, out: int) -> np.ndarray:
    """R (out, n): row i weighs the two inputs beside position (i + 1/2) n / out - 1/2, clamped to the edges."""
    position = np.clip((np.arange(out) + 0.5) * n / out - 0.5, 0, n - 1)
    left = np.minimum(position.astype(int), max(n - 2, 0))
    r = np.zeros((out, n))
    r[np.arange(out), left] = 1 - (position - left)
    r[np.arange(out), np.minimum(left + 1, n - 1)] += position - left
    return r


@functools.lru_cache(64)
def nearest_matrix(n: int, out: int) -> np.ndarray:
    """R (out, n): row i takes input floor(i n / out)."""
    r = np.zeros((out, n))
    r[np.arange(out), np.arange(out) * n // out] = 1
    return r


def _resample(x: Array, rows: Array, columns: Array) -> Array:
    """y[n,i,j,c] = sum_ab rows[i,a] x[n,a,b,c] columns[j,b]"""
    n, h, w, c = x.shape
    rows, columns = rows.astype(x.dtype), columns.astype(x.dtype)
    y = np.matmul(rows, x.reshape(n, h, w * c)).reshape(n * rows.shape[0], w, c)
    return np.matmul(columns, y).reshape(n, rows.shape[0], columns.shape[0], c)


def _up(matrix: Callable[[int, int], np.ndarray], x: Array, size: Size) -> Array:
    return nchw(_resample(nhwc(x), matrix(x.shape[2], size[0]), matrix(x.shape[3], size[1])))


def _down(matrix: Callable[[int, int], np.ndarray], dy: Array, size: Size) -> Array:
    return nchw(_resample(nhwc(dy), matrix(size[0], dy.shape[2]).T, matrix(size[1], dy.shape[3]).T))


def upsample_bilinear(x: Array, size: Size) -> Array:
    return _up(bilinear_matrix, x, size)


def upsample_bilinear_x(dy: Array, size: Size) -> Array:
    return _down(bilinear_matrix, dy, size)


def upsample_nearest(x: Array, size: Size) -> Array:
    return _up(nearest_matrix, x, size)


def upsample_nearest_x(dy: Array, size: Size) -> Array:
    return _down(nearest_matrix, dy, size)
