"""Every operation as its definition: loops over the places of a window, never over pixels, and sums over channels.

NumPy only, and numbers of any kind: float32 and float64, complex, and arrays of fractions.Fraction, with which the result is
exact. It shares no code with what it proves, gland/ops/host/ and gland/ops/device/. GLAND_OPS=plain in the environment runs
any layer, network or train.py on it. It is itself held against SciPy and numbers worked by hand in tests/test_plain.py.

Arguments and shapes are those of gland/ops/__init__.py; geo has a convolution's stride s, padding p, dilation d and groups.
"""

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

Array = Any
Size = Any  # (H, W)


# Windows. xp is x in a frame of zeros, p wide, and wider on the right and below, where a window may reach over the edge.


def _framed(x: Array, kernel_size: Size, pad: int) -> Array:
    return np.pad(x, ((0, 0), (0, 0), (pad, pad + kernel_size[0]), (pad, pad + kernel_size[1])))


def _unframed(xp: Array, pad: int, size: Size) -> Array:
    return xp[:, :, pad : pad + size[0], pad : pad + size[1]]


def _windows(size: Size, kernel_size: Size, stride: int, pad: int, dilation: int = 1, ceil_mode: bool = False) -> Size:
    """OH, OW: how many windows fit, one at least. In ceil mode a last one may reach over the edge but begins before it."""
    if any(n + 2 * pad < dilation * (k - 1) + 1 for n, k in zip(size, kernel_size)):
        (h, w), (kh, kw) = size, kernel_size
        raise ValueError(
            f"{h} x {w} pixels with a frame of {pad} have no room for a window of {kh} x {kw}, {dilation} apart"
        )

    def count(n: int, k: int) -> int:
        ends = [(first, first + dilation * (k - 1) + 1) for first in range(-pad, n + pad, stride)]
        return sum(end <= n + pad or (ceil_mode and first < n and end < n + pad + stride) for first, end in ends)

    return count(size[0], kernel_size[0]), count(size[1], kernel_size[1])


def _places(kernel_size: Size, out: Size, stride: int, dilation: int = 1) -> Iterator[tuple[int, int, Any]]:
    """Every place (a, e) of a window, and what it sees of xp in all windows at once: xp[n, c, i s + a d, j s + e d]"""
    for a, e in np.ndindex(*kernel_size):
        yield a, e, (..., *(slice(k * dilation, k * dilation + stride * n, stride) for k, n in zip((a, e), out)))


# Convolution. Each of its products is w x -> y; conv_x sends the same w dy to x, conv_w the same dy x to w.


def conv(x: Array, w: Array, b: Array | None, geo: Any) -> Array:
    """y[n,o,i,j] = b[o] + sum over c, a, e of w[o,c,a,e] xp[n, c, i s + a d, j s + e d]"""
    out = _windows(x.shape[2:], w.shape[2:], geo.stride, geo.pad, geo.dilation)
    xp, y = _framed(x, w.shape[2:], geo.pad), 0
    for a, e, seen in _places(w.shape[2:], out, geo.stride, geo.dilation):
        y = y + _sum("oc,ncij->noij", w[:, :, a, e], xp[seen], geo.groups)
    return y if b is None else y + b[:, None, None]


def conv_x(dy: Array, w: Array, geo: Any, size: Size) -> Array:
    """dxp[n, c, i s + a d, j s + e d] += sum over o of w[o,c,a,e] dy[n,o,i,j]   for every a, e, i, j"""
    dxp = _framed(np.zeros((len(dy), w.shape[1] * geo.groups, *size), dy.dtype), w.shape[2:], geo.pad)
    for a, e, seen in _places(w.shape[2:], dy.shape[2:], geo.stride, geo.dilation):
        dxp[seen] += _sum("oc,noij->ncij", w[:, :, a, e], dy, geo.groups)
    return _unframed(dxp, geo.pad, size)


def conv_w(x: Array, dy: Array, geo: Any, kernel_size: Size) -> Array:
    """dw[o,c,a,e] = sum over n, i, j of dy[n,o,i,j] xp[n, c, i s + a d, j s + e d]"""
    dw = np.zeros((dy.shape[1], x.shape[1] // geo.groups, *kernel_size), x.dtype)
    xp = _framed(x, kernel_size, geo.pad)
    for a, e, seen in _places(kernel_size, dy.shape[2:], geo.stride, geo.dilation):
        dw[:, :, a, e] = _sum("noij,ncij->oc", dy, xp[seen], geo.groups)
    return dw


def _sum(formula: str, a: Array, b: Array, groups: int) -> Array:
    """The sum over the letters that the result has not, the channels of each group for themselves."""
    parts = [np.split(v, groups, axis=0 if v.ndim == 2 else 1) for v in (a, b)]
    sums = [np.einsum(formula, *part, optimize=True) for part in zip(*parts)]
    return np.concatenate(sums, axis=0 if sums[0].ndim == 2 else 1)


def conv_relu(x: Array, w: Array, b: Array | None, geo: Any) -> Array:
    """y = max(conv(x, w, b), 0)"""
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
    xp, inside = _framed(x, kernel_size, pad), _framed(np.ones(x.shape, bool), kernel_size, pad)
    out = _windows(x.shape[2:], kernel_size, stride, pad, 1, ceil_mode)
    y, argmax = np.zeros((*x.shape[:2], *out), x.dtype), np.full((*x.shape[:2], *out), -1)
    for a, e, seen in _places(kernel_size, out, stride):
        wins = inside[seen] & (
            (argmax < 0) | (xp[seen].real > y.real) | (xp[seen] != xp[seen])
        )  # NaN is not itself, and wins
        y, argmax = np.where(wins, xp[seen], y), np.where(wins, a * kernel_size[1] + e, argmax)
    return y, argmax


def max_pool_x(dy: Array, argmax: Array, kernel_size: Size, stride: int, pad: int, size: Size) -> Array:
    """Each dy goes to the element that won its window."""
    dxp = _framed(np.zeros((*dy.shape[:2], *size), dy.dtype), kernel_size, pad)
    for a, e, seen in _places(kernel_size, dy.shape[2:], stride):
        dxp[seen] += dy * (argmax == a * kernel_size[1] + e)
    return _unframed(dxp, pad, size)


def max_pool_t(tx: Array, argmax: Array, kernel_size: Size, stride: int, pad: int) -> Array:
    """ty = the tangent of the element that won its window."""
    txp, places = _framed(tx, kernel_size, pad), _places(kernel_size, argmax.shape[2:], stride)
    return sum(txp[seen] * (argmax == a * kernel_size[1] + e) for a, e, seen in places)


def avg_pool(x: Array, kernel_size: Size, stride: int, pad: int) -> Array:
    """y[n,c,i,j] = 1/(KH KW) sum over a, e of xp[n, c, i s + a, j s + e]"""
    xp, out = _framed(x, kernel_size, pad), _windows(x.shape[2:], kernel_size, stride, pad)
    return sum(xp[seen] for _, _, seen in _places(kernel_size, out, stride)) / (kernel_size[0] * kernel_size[1])


def avg_pool_x(dy: Array, kernel_size: Size, stride: int, pad: int, size: Size) -> Array:
    """dxp[n, c, i s + a, j s + e] += dy[n,c,i,j] / (KH KW)   for every a, e, i, j"""
    dxp = _framed(np.zeros((*dy.shape[:2], *size), dy.dtype), kernel_size, pad)
    for _, _, seen in _places(kernel_size, dy.shape[2:], stride):
        dxp[seen] += dy / (kernel_size[0] * kernel_size[1])
    return _unframed(dxp, pad, size)


def global_avg_pool(x: Array) -> Array:
    return x.sum(axis=(2, 3)) / (x.shape[2] * x.shape[3])


def global_avg_pool_x(dy: Array, size: Size) -> Array:
    return broadcast(dy / (size[0] * size[1]), size)


# Upsampling: y = R x along each axis, R[i,u] what output i takes from input u.


def _bilinear(n: int, out: int, dtype: Any) -> Array:
    """R[i,u] = max(0, 1 - |t_i - u|),  t_i = (i + 1/2) n / out - 1/2, held between the first input and the last"""
    t = [min(max(Fraction((2 * i + 1) * n - out, 2 * out), Fraction(0)), Fraction(n - 1)) for i in range(out)]
    return np.array([[max(Fraction(0), 1 - abs(t_i - u)) for u in range(n)] for t_i in t]).astype(dtype)


def _nearest(n: int, out: int, dtype: Any) -> Array:
    """R[i,u] = 1 where u = floor(i n / out), else 0"""
    return np.array([[int(u == i * n // out) for u in range(n)] for i in range(out)]).astype(dtype)


def upsample_bilinear(x: Array, size: Size) -> Array:
    """y[n,c,i,j] = sum over u, v of R[i,u] x[n,c,u,v] R[j,v]"""
    return _bilinear(x.shape[2], size[0], x.dtype) @ x @ _bilinear(x.shape[3], size[1], x.dtype).T


def upsample_bilinear_x(dy: Array, size: Size) -> Array:
    return _bilinear(size[0], dy.shape[2], dy.dtype).T @ dy @ _bilinear(size[1], dy.shape[3], dy.dtype)


def upsample_nearest(x: Array, size: Size) -> Array:
    return _nearest(x.shape[2], size[0], x.dtype) @ x @ _nearest(x.shape[3], size[1], x.dtype).T


def upsample_nearest_x(dy: Array, size: Size) -> Array:
    return _nearest(size[0], dy.shape[2], dy.dtype).T @ dy @ _nearest(size[1], dy.shape[3], dy.dtype)


# Without windows.


def linear(x: Array, w: Array, b: Array | None) -> Array:
    """y[n,o] = b[o] + sum over d of w[o,d] x[n,d]"""
    return x @ w.T if b is None else x @ w.T + b


def linear_x(dy: Array, w: Array) -> Array:
    return dy @ w


def linear_w(x: Array, dy: Array) -> Array:
    return dy.T @ x


def relu(x: Array) -> Array:
    return np.where((x.real > 0) | (x != x), x, np.zeros_like(x))  # NaN is not itself, and stays


def relu_x(dy: Array, y: Array) -> Array:
    return dy * (y.real > 0)


def softmax(x: Array) -> Array:
    """exp(x_l) / sum over m of exp(x_m). The largest x is taken off all, which cancels and keeps exp from overflowing."""
    e = np.exp(x - x.real.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def log_softmax(x: Array) -> Array:
    """x_l - log sum over m of exp(x_m)"""
    x = x - x.real.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def channel_sum(x: Array) -> Array:
    return x.sum(axis=(0, 2, 3))


def channel_add(x: Array, b: Array) -> Array:
    return x + b[:, None, None]


def channel_window_sum(x: Array, n: int) -> Array:
    """y[n,c] = sum over j of x[n,j], |j - c| <= n // 2"""
    windows = [x[:, max(0, c - n // 2) : c + n // 2 + 1] for c in range(x.shape[1])]
    return np.stack([window.sum(axis=1) for window in windows], axis=1)


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


# The solvers' updates, in place, and what a step is logged by.


def sgd_update(w: Array, dw: Array, v: Array, rate: Any, momentum: float, decay: float, factor: Any = None) -> None:
    v[...] = momentum * v + rate * ((1 if factor is None else factor) * dw + decay * w)
    w -= v


def nesterov(dw: Array, v: Array, momentum: float, factor: Any = None) -> Array:
    g = (1 if factor is None else factor) * dw
    v[...] = momentum * v + g
    return momentum * v + g


def adam_update(
    w: Array, dw: Array, m: Array, s: Array, rate: Any, betas: Any, epsilon: float, decay: float, factor: Any = None
) -> None:
    g = (1 if factor is None else factor) * dw
    m[...] = betas[0] * m + (1 - betas[0]) * g
    s[...] = betas[1] * s + (1 - betas[1]) * g**2
    w -= rate * (m / (np.sqrt(s) + epsilon) + decay * w)


def tally(totals: Array, losses: Any, mask: Array, label: Array) -> None:
    """totals (7,): sums of the three losses and of class and pixel accuracy, the steps, the first that was not finite."""
    logits, s = losses.logits, losses.seg_logits
    right = np.nan if logits is None else np.mean(logits.argmax(axis=1) == label)
    pixels = np.nan if s is None else np.mean((s[:, 0] > s[:, 1]) == (mask > 0))
    parts = [np.nan if v is None else v for v in (losses.total, losses.loss_class, losses.loss_segmentation)]
    totals[:6] += [*parts, right, pixels, 1]
    if totals[6] == 0 and not np.isfinite(losses.total):
        totals[6] = totals[5]
