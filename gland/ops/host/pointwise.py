"""Operations without windows on the host: sums, products, rectifier, joins, the fully connected product.

Where both arguments lie in memory the same way, the elements are taken in memory order, a cache-sized piece at a time.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from gland.ops.host import arena, threads
from gland.ops.host.products import rows_at_once
from gland.ops.host.threads import PIECE, by_strips, count_threads, parallel, strip_rows
from gland.ops.layout import Size, nchw, nhwc, runs

Array = Any

LARGE = 1 << 20  # elements
BLOCK = 64  # outputs of a fully connected layer that one thread takes at least


def _elementwise(function: Callable[..., Any], *arrays: Array, most: int = PIECE) -> Array:
    """function(*pieces, out) over pieces of the flat memory of arrays of one shape; the result in their layout."""
    if arrays[0].ndim != 4:
        y = np.empty(arrays[0].shape, np.result_type(*arrays))
        function(*arrays, y)
        return y
    laid = [nhwc(a) for a in arrays]
    y = arena.empty(laid[0].shape, np.result_type(*laid))
    flat = [a.reshape(-1) for a in (*laid, y)]
    by_strips(lambda _, at: function(*(a[at] for a in flat)), y.size, strip_rows(y.size, 1, most))
    return nchw(y)


def by_pieces(function: Callable[..., Any], *arrays: Array) -> Array:
    return _elementwise(lambda *a: np.copyto(a[-1], function(*a[:-1])), *arrays, most=PIECE // 4)


def relu(x: Array) -> Array:
    if x.dtype.kind == "c":
        return _elementwise(lambda x, y: np.copyto(y, np.where((x.real > 0) | np.isnan(x), x, 0)), x)
    return _elementwise(lambda x, y: np.maximum(x, 0, out=y), x)


def relu_x(dy: Array, y: Array) -> Array:
    return _elementwise(lambda dy, y, dx: np.multiply(dy, y.real > 0, out=dx), dy, y)


def add(a: Array, b: Array | None) -> Array:
    return _elementwise(lambda a, b, y: np.add(a, b, out=y), a, b)


def multiply(a: Array, b: Array | None) -> Array:
    return _elementwise(lambda a, b, y: np.multiply(a, b, out=y), a, b)


def _shifted(x: Array) -> Array:
    """x minus its largest real part over axis 1, so that no exponential overflows and one of them is 1."""
    return x - x.real.max(axis=1, keepdims=True).astype(x.dtype)


def softmax(x: Array) -> Array:
    if x.ndim == 4:
        return _softmax_pixels(x)
    e = np.exp(_shifted(x))
    return e / e.sum(axis=1, keepdims=True)


def _softmax_pixels(x: Array) -> Array:
    x = nhwc(x)
    y = arena.empty(x.shape, x.dtype)
    pixels, scores = x.reshape(-1, x.shape[3]), y.reshape(-1, x.shape[3])

    def work(thread: int, at: slice) -> None:
        e = pixels[at].T.copy()  # (L, pixels): sums over few neighbours would be slow
        e -= e.real.max(axis=0)
        np.exp(e, out=e)
        e /= e.sum(axis=0)
        scores[at] = e.T

    by_strips(work, len(pixels), strip_rows(len(pixels), pixels.shape[1], PIECE // 4))
    return nchw(y)


def log_softmax(x: Array) -> Array:
    shifted = _shifted(x)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def channel_sum(x: Array) -> Array:
    x = nhwc(x)
    x = x.reshape(-1, x.shape[-1])
    sums = np.zeros((count_threads(), x.shape[1]), x.dtype)
    step = strip_rows(len(x), x.shape[1], min(PIECE, PIECE // 4 * x.shape[1]))  # of ones, at most half a megabyte
    ones = np.ones(step, x.dtype)

    def work(thread: int, at: slice) -> None:
        sums[thread] += ones[: at.stop - at.start] @ x[at]  # ten times faster than x.sum(axis=0)

    by_strips(work, len(x), step)
    return sums.sum(axis=0)


def channel_add(x: Array, b: Array) -> Array:
    x = nhwc(x)
    n, h, w, c = x.shape
    y = arena.empty(x.shape, x.dtype)
    rows, sums, row = x.reshape(n * h, w * c), y.reshape(n * h, w * c), np.tile(b, w)
    by_strips(lambda _, at: np.add(rows[at], row, out=sums[at]), n * h, strip_rows(n * h, w * c))
    return nchw(y)


def linear(x: Array, w: Array, b: Array | None) -> Array:
    y = np.empty((len(x), len(w)), x.dtype)

    def work(thread: int, first: int, last: int) -> None:
        rows, out = w[first * BLOCK : last * BLOCK], y[:, first * BLOCK : last * BLOCK]
        step = rows_at_once(len(rows), x.size)
        pieces = rows.reshape(-1, step, rows.shape[1]).transpose(0, 2, 1)
        np.matmul(x, pieces, out=out.reshape(len(x), -1, step).transpose(1, 0, 2))

    parallel(work, -(-len(w) // BLOCK))
    return y if b is None else y + b


def linear_x(dy: Array, w: Array) -> Array:
    dx = arena.empty((len(dy), w.shape[1]), dy.dtype)

    def work(thread: int, first: int, last: int) -> None:
        np.matmul(dy, w[:, first * BLOCK : last * BLOCK], out=dx[:, first * BLOCK : last * BLOCK])

    parallel(work, -(-w.shape[1] // BLOCK))
    return dx


def linear_w(x: Array, dy: Array) -> Array:
    dw = arena.empty((dy.shape[1], x.shape[1]), x.dtype)
    # of one image, dy^T x is a column times a row, for which a matrix product only takes detours
    multiply = np.multiply if len(x) == 1 else np.matmul

    def work(thread: int, first: int, last: int) -> None:
        multiply(dy[:, first * BLOCK : last * BLOCK].T, x, out=dw[first * BLOCK : last * BLOCK])

    parallel(work, -(-len(dw) // BLOCK))
    return dw


def at_once(x: Array, *calls: Callable[[], Any]) -> list[Any]:
    # with larger arrays every operation has strips enough for all threads, and calls are seldom equally long
    return threads.at_once(*calls) if x.size <= LARGE else [call() for call in calls]


def like(values: np.ndarray, x: Array) -> Array:
    return values


def broadcast(x: Array, size: Size) -> Array:
    y = arena.empty((x.shape[0], *size, x.shape[1]), x.dtype)
    y[:] = x[:, None, None]
    return nchw(y)


def spatial_sum(x: Array) -> Array:
    return x.sum(axis=(2, 3))


def concat(xs: list[Array]) -> Array:
    xs = [nhwc(x) for x in xs]
    channels = [x.shape[3] for x in xs]
    y = arena.empty((*xs[0].shape[:3], sum(channels)), xs[0].dtype)
    _between(y, xs, channels, lambda whole, piece: np.copyto(runs(whole), runs(piece)))
    return nchw(y)


def split(x: Array, channels: list[int]) -> list[Array]:
    x = nhwc(x)
    pieces = [arena.empty((*x.shape[:3], c), x.dtype) for c in channels]
    _between(x, pieces, channels, lambda whole, piece: np.copyto(runs(piece), runs(whole)))
    return [nchw(piece) for piece in pieces]


def _between(whole: Array, pieces: list[Array], channels: list[int], copy: Callable[[Array, Array], None]) -> None:
    """copy(rows of the channels of whole, rows of the piece) for every piece, strip by strip."""
    whole = whole.reshape(-1, whole.shape[3])
    pieces = [piece.reshape(-1, piece.shape[3]) for piece in pieces]
    starts = np.cumsum([0, *channels])

    def work(thread: int, at: slice) -> None:
        for piece, start, stop in zip(pieces, starts, starts[1:], strict=False):
            copy(whole[at, start:stop], piece[at])

    by_strips(work, len(whole), strip_rows(*whole.shape))


def channel_window_sum(x: Array, n: int) -> Array:
    x, half = nhwc(x), n // 2
    channels = x.shape[3]
    y = arena.empty(x.shape, x.dtype)
    pixels, sums = x.reshape(-1, channels), y.reshape(-1, channels)

    def work(thread: int, at: slice) -> None:
        v, w = pixels[at], sums[at]
        np.copyto(w, v)
        for d in range(1, min(half, channels - 1) + 1):
            w[:, d:] += v[:, :-d]
            w[:, :-d] += v[:, d:]

    by_strips(work, len(pixels), strip_rows(*pixels.shape))
    return nchw(y)
