"""Every operation as its definition: loops over the places of a window, never over pixels, and sums over channels.

NumPy only, and numbers of any kind: float32 and float64, complex, and arrays of fractions.Fraction, with which the result is
exact. Nothing here is shared with what it proves, gland/ops/host/ and gland/ops/device/. GLAND_OPS=plain in the environment
runs any layer, network or train.py on these definitions.

Shapes and names are those of gland/ops/__init__.py; geo has the stride s, zero padding p, dilation d and groups of a convolution.
"""

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

Array = Any
Size = tuple[int, int]

# Windows. xp is x with a frame of zeros, as wide as the padding and as far as the last window reaches.


def _framed(x: Array, pad: int, reach: Size) -> Array:
    h, w = x.shape[2:]
    xp = np.zeros((*x.shape[:2], max(reach[0], pad + h), max(reach[1], pad + w)), x.dtype)
    xp[:, :, pad : pad + h, pad : pad + w] = x
    return xp


def _at(a: int, e: int, out: Size, stride: int) -> tuple[slice, slice, slice, slice]:
    """Where place (a, e), counted in pixels from a window's corner, of all windows lies: xp[n, c, i s + a, j s + e]."""
    rows, columns = (slice(k, k + stride * (n - 1) + 1, stride) for k, n in ((a, out[0]), (e, out[1])))
    return slice(None), slice(None), rows, columns


def _reach(out: Size, kernel_size: Size, stride: int) -> Size:
    return stride * (out[0] - 1) + kernel_size[0], stride * (out[1] - 1) + kernel_size[1]


def _windows(size: Size, kernel_size: Size, stride: int, pad: int, ceil_mode: bool = False) -> Size:
    """How many windows fit along both axes. In ceil mode a last one may reach over the edge, but not begin beyond it."""

    def count(n: int, k: int) -> int:
        starts = range(-pad, n, stride) if ceil_mode else range(-pad, n + pad - k + 1, stride)
        return next((i + 1 for i, start in enumerate(starts) if start + k >= n + pad), len(starts))

    return count(size[0], kernel_size[0]), count(size[1], kernel_size[1])


# Convolution and its two adjoints.


def _places(geo: Any, w_shape: Any, size: Size) -> tuple[Iterator[tuple[int, int, Any]], Size, Size]:
    """Every place (a, e) of the kernel with the slice of xp that it sees; OH, OW; the size of xp."""
    kernel_size = w_shape[2:]
    spread = geo.dilation * (kernel_size[0] - 1) + 1, geo.dilation * (kernel_size[1] - 1) + 1
    out = _windows(size, spread, geo.stride, geo.pad)
    places = ((a, e, _at(a * geo.dilation, e * geo.dilation, out, geo.stride)) for a, e in np.ndindex(*kernel_size))
    return places, out, (size[0] + 2 * geo.pad, size[1] + 2 * geo.pad)


def _grouped(x: Array, groups: int) -> Array:
    """(N, C, H, W) -> (N, groups, C / groups, H W)"""
    return x.reshape(x.shape[0], groups, x.shape[1] // groups, x.shape[2] * x.shape[3])


def conv(x: Array, w: Array, b: Array | None, geo: Any) -> Array:
    """y[n,o,i,j] = b[o] + sum over c, a, e of w[o,c,a,e] xp[n, c, i s + a d, j s + e d]"""
    places, out, reach = _places(geo, w.shape, x.shape[2:])
    xp, y = _framed(x, geo.pad, reach), 0
    for a, e, seen in places:
        weights = w[:, :, a, e].reshape(geo.groups, -1, w.shape[1])
        y = y + (weights @ _grouped(xp[seen], geo.groups)).reshape(len(x), len(w), *out)
    return y if b is None else y + b[:, None, None]


def conv_x(dy: Array, w: Array, geo: Any, size: Size) -> Array:
    """Each product w x of conv sends w dy to its x:  dxp[n, c, i s + a d, j s + e d] += sum over o of w[o,c,a,e] dy[n,o,i,j]"""
    places, out, reach = _places(geo, w.shape, size)
    dxp = np.zeros((len(dy), w.shape[1] * geo.groups, *reach), dy.dtype)
    for a, e, seen in places:
        weights = w[:, :, a, e].reshape(geo.groups, -1, w.shape[1]).swapaxes(1, 2)
        dxp[seen] += (weights @ _grouped(dy, geo.groups)).reshape(len(dy), -1, *out)
    return dxp[:, :, geo.pad : geo.pad + size[0], geo.pad : geo.pad + size[1]]


def conv_w(x: Array, dy: Array, geo: Any, kernel_size: Size) -> Array:
    """... and x dy to its w:  dw[o,c,a,e] = sum over n, i, j of dy[n,o,i,j] xp[n, c, i s + a d, j s + e d]"""
    dw = np.zeros((dy.shape[1], x.shape[1] // geo.groups, *kernel_size), x.dtype)
    places, _, reach = _places(geo, dw.shape, x.shape[2:])
    xp, dy = _framed(x, geo.pad, reach), _grouped(dy, geo.groups)
    for a, e, seen in places:
        dw[:, :, a, e] = (dy @ _grouped(xp[seen], geo.groups).swapaxes(2, 3)).sum(axis=0).reshape(dw.shape[:2])
    return dw


def conv_relu(x: Array, w: Array, b: Array | None, geo: Any) -> Array:
    return relu(conv(x, w, b, geo))


def conv_relu_x(dy: Array, y: Array, w: Array, geo: Any, size: Size) -> Array:
    return conv_x(relu_x(dy, y), w, geo, size)


def conv_relu_w(x: Array, y: Array, dy: Array, geo: Any, kernel_size: Size) -> tuple[Array, Array]:
    return conv_w(x, relu_x(dy, y), geo, kernel_size), channel_sum(relu_x(dy, y))


def conv_relu_backward(x: Array, y: Array, dy: Array, w: Array, geo: Any) -> tuple[Array, Array, Array]:
    return conv_relu_x(dy, y, w, geo, x.shape[2:]), *conv_relu_w(x, y, dy, geo, w.shape[2:])


# Pooling.


def max_pool(x: Array, kernel_size: Size, stride: int, pad: int, ceil_mode: bool) -> tuple[Array, Array]:
    """y = the largest element of each window, argmax = its place a KW + e; of equals the first, and never the frame."""
    out = _windows(x.shape[2:], kernel_size, stride, pad, ceil_mode)
    reach = _reach(out, kernel_size, stride)
    xp, inside = _framed(x, pad, reach), _framed(np.ones(x.shape, bool), pad, reach)
    y, argmax = np.zeros((*x.shape[:2], *out), x.dtype), np.full((*x.shape[:2], *out), -1)
    for place, (a, e) in enumerate(np.ndindex(*kernel_size)):
        seen = _at(a, e, out, stride)
        wins = inside[seen] & (
            (argmax < 0) | (xp[seen].real > y.real) | (xp[seen] != xp[seen])
        )  # NaN is not itself: it comes out
        y, argmax = np.where(wins, xp[seen], y), np.where(wins, place, argmax)
    return y, argmax


def max_pool_x(dy: Array, argmax: Array, kernel_size: Size, stride: int, pad: int, size: Size) -> Array:
    """Each dy goes to the element that won its window."""
    out = dy.shape[2:]
    dxp = _framed(np.zeros((*dy.shape[:2], *size), dy.dtype), pad, _reach(out, kernel_size, stride))
    for place, (a, e) in enumerate(np.ndindex(*kernel_size)):
        dxp[_at(a, e, out, stride)] += dy * (argmax == place)
    return dxp[:, :, pad : pad + size[0], pad : pad + size[1]]


def max_pool_t(tx: Array, argmax: Array, kernel_size: Size, stride: int, pad: int) -> Array:
    """The tangent of the element that won each window."""
    out = argmax.shape[2:]
    txp = _framed(tx, pad, _reach(out, kernel_size, stride))
    places = enumerate(np.ndindex(*kernel_size))
    return sum(txp[_at(a, e, out, stride)] * (argmax == place) for place, (a, e) in places)


def avg_pool(x: Array, kernel_size: Size, stride: int, pad: int) -> Array:
    """The sum of each window over KH KW, the frame's zeros among its elements."""
    out = _windows(x.shape[2:], kernel_size, stride, pad)
    xp = _framed(x, pad, _reach(out, kernel_size, stride))
    return sum(xp[_at(a, e, out, stride)] for a, e in np.ndindex(*kernel_size)) / (kernel_size[0] * kernel_size[1])


def avg_pool_x(dy: Array, kernel_size: Size, stride: int, pad: int, size: Size) -> Array:
    out = dy.shape[2:]
    dxp = _framed(np.zeros((*dy.shape[:2], *size), dy.dtype), pad, _reach(out, kernel_size, stride))
    for a, e in np.ndindex(*kernel_size):
        dxp[_at(a, e, out, stride)] += dy / (kernel_size[0] * kernel_size[1])
    return dxp[:, :, pad : pad + size[0], pad : pad + size[1]]


def global_avg_pool(x: Array) -> Array:
    return x.sum(axis=(2, 3)) / (x.shape[2] * x.shape[3])


def global_avg_pool_x(dy: Array, size: Size) -> Array:
    return broadcast(dy / (size[0] * size[1]), size)


# Upsampling: along each axis a matrix R (OH, H) of what every output takes from every input.


def _bilinear(n: int, out: int) -> Array:
    """Output i lies at (i + 1/2) n / out - 1/2 among the inputs 0 .. n - 1, between two, and takes more of the nearer one."""
    r = np.full((out, n), Fraction(0))
    for i in range(out):
        position = min(max(Fraction((2 * i + 1) * n, 2 * out) - Fraction(1, 2), Fraction(0)), Fraction(n - 1))
        left = int(position)
        r[i, left] = 1 - (position - left)
        if position > left:
            r[i, left + 1] = position - left
    return r


def _nearest(n: int, out: int) -> Array:
    """Output i takes input floor(i n / out)."""
    r = np.full((out, n), Fraction(0))
    r[np.arange(out), np.arange(out) * n // out] = Fraction(1)
    return r


def _both_axes(rows: Array, x: Array, columns: Array) -> Array:
    """y[n,c,i,j] = sum over u, v of rows[i,u] x[n,c,u,v] columns[j,v]"""
    return rows.astype(x.dtype) @ x @ columns.astype(x.dtype).T


def upsample_bilinear(x: Array, size: Size) -> Array:
    return _both_axes(_bilinear(x.shape[2], size[0]), x, _bilinear(x.shape[3], size[1]))


def upsample_bilinear_x(dy: Array, size: Size) -> Array:
    return _both_axes(_bilinear(size[0], dy.shape[2]).T, dy, _bilinear(size[1], dy.shape[3]).T)


def upsample_nearest(x: Array, size: Size) -> Array:
    return _both_axes(_nearest(x.shape[2], size[0]), x, _nearest(x.shape[3], size[1]))


def upsample_nearest_x(dy: Array, size: Size) -> Array:
    return _both_axes(_nearest(size[0], dy.shape[2]).T, dy, _nearest(size[1], dy.shape[3]).T)


# Without windows.


def linear(x: Array, w: Array, b: Array | None) -> Array:
    return x @ w.T if b is None else x @ w.T + b


def linear_x(dy: Array, w: Array) -> Array:
    return dy @ w


def linear_w(x: Array, dy: Array) -> Array:
    return dy.T @ x


def relu(x: Array) -> Array:
    return np.where((x.real > 0) | (x != x), x, np.zeros_like(x))  # NaN is not itself: it comes out


def relu_x(dy: Array, y: Array) -> Array:
    return dy * (y.real > 0)


def softmax(x: Array) -> Array:
    """exp(x_l) / sum_m exp(x_m), every x less the largest, which cancels and keeps exp from overflowing."""
    e = np.exp(x - x.real.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def log_softmax(x: Array) -> Array:
    x = x - x.real.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def channel_sum(x: Array) -> Array:
    return x.sum(axis=(0, 2, 3))


def channel_add(x: Array, b: Array) -> Array:
    return x + b[:, None, None]


def channel_window_sum(x: Array, n: int) -> Array:
    c, half = x.shape[1], n // 2
    return np.stack([x[:, max(0, k - half) : k + half + 1].sum(axis=1) for k in range(c)], axis=1)


def add(a: Array, b: Array) -> Array:
    return a + b


def multiply(a: Array, b: Array) -> Array:
    return a * b


def by_pieces(function: Callable[..., Array], *arrays: Array) -> Array:
    return function(*arrays)


def broadcast(x: Array, size: Size) -> Array:
    return np.tile(x[:, :, None, None], (1, 1, *size))


def spatial_sum(x: Array) -> Array:
    return x.sum(axis=(2, 3))


def concat(xs: list[Array]) -> Array:
    return np.concatenate(xs, axis=1)


def split(x: Array, channels: list[int]) -> list[Array]:
    return np.split(x, np.cumsum(channels)[:-1], axis=1)


def at_once(x: Array, *calls: Callable[[], Any]) -> list[Any]:
    return [call() for call in calls]


def like(values: Array, x: Array) -> Array:
    return values


# The solvers' updates, in place, and what a step is logged by. factor None is 1.


def sgd_update(w: Array, dw: Array, v: Array, rate: Any, momentum: float, decay: float, factor: Any = None) -> None:
    v[...] = momentum * v + rate * ((1 if factor is None else factor) * dw + decay * w)
    w -= v


def nesterov(dw: Array, v: Array, momentum: float, factor: Any = None) -> Array:
    g = (1 if factor is None else factor) * dw
    v[...] = momentum * v + g
    return momentum * v + g


def adam_update(
    w: Array, dw: Array, m: Array, s: Array, rate: Any, betas: tuple[float, float], epsilon: float, decay: float,
    factor: Any = None,
) -> None:  # fmt: skip
    g = (1 if factor is None else factor) * dw
    m[...] = betas[0] * m + (1 - betas[0]) * g
    s[...] = betas[1] * s + (1 - betas[1]) * g**2
    w -= rate * (m / (np.sqrt(s) + epsilon) + decay * w)


def tally(totals: Array, losses: Any, mask: Array, label: Array) -> None:
    logits, s = losses.logits, losses.seg_logits
    right = np.nan if logits is None else np.mean(logits.argmax(axis=1) == label)
    pixels = np.nan if s is None else np.mean((s[:, 0] > s[:, 1]) == (mask > 0))
    parts = [np.nan if v is None else v for v in (losses.total, losses.loss_class, losses.loss_segmentation)]
    totals[:6] += [*parts, right, pixels, 1]
    if totals[6] == 0 and not np.isfinite(losses.total):
        totals[6] = totals[5]
