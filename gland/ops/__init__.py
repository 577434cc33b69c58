"""The operations: one signature each here, and behind it three rooms.

    plain.py     every operation as its definition, NumPy only: what the other two must agree with
    host/        in NumPy, fast
    device/      on CuPy's arrays, by the kernels of kernels/
    layout.py    how windows lie, and how memory does

The array's type picks host or device. GLAND_OPS=plain in the environment, or use_plain(True), puts plain.py in the host's place.

Shapes are logical: activations (N, C, H, W), convolution weights (O, C, KH, KW). Memory is channels-last: an activation
is stored as N, H, W, C and a weight as KH, KW, C, O, because a row of a GEMM operand is then contiguous. Any strides are
accepted and the same layout comes back.

Names: `conv` goes forward, `conv_x` is its adjoint in x (the input gradient), `conv_w` its adjoint in w (the weight
gradient), `max_pool_t` carries a tangent. Every result has the dtype of the first argument. No argument is written into, but by
`sgd_update`, `nesterov`, `adam_update` and `tally`, which say so.
"""

import functools
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any, TypeVar

import numpy as np

from gland import backend
from gland.ops import device, host, plain
from gland.ops.layout import Geometry, Size, hwio, oihw, too_small

Array = Any  # numpy.ndarray, or a device array with the same interface
Function = TypeVar("Function", bound=Callable[..., Any])


def _functions(*files: ModuleType) -> SimpleNamespace:
    """Every function that these files define, by its name."""
    return SimpleNamespace(
        **{
            name: f
            for file in files
            for name, f in vars(file).items()
            if getattr(f, "__module__", None) == file.__name__ and not name.startswith("_")
        }
    )


_PLAIN, _HOST, _DEVICE = _functions(plain), _functions(*host.FILES), _functions(*device.FILES)
_for_numpy = _PLAIN if backend.plain_is_asked_for() else _HOST


def use_plain(on: bool) -> None:
    """Compute on NumPy's arrays by the definitions of plain.py, or by the fast operations of host/."""
    global _for_numpy
    _for_numpy = _PLAIN if on else _HOST


def _room(x: Array) -> SimpleNamespace:
    return _for_numpy if type(x) is np.ndarray else _DEVICE


def conv(x: Array, w: Array, b: Array | None, geo: Geometry) -> Array:
    """y[n,o] = b[o] + sum_c w[o,c] * x[n,c], cross-correlation.  x (N,C,H,W)  w (O,C/groups,KH,KW)  b (O,) or None."""
    return _room(x).conv(x, w, b, geo)


def conv_relu(x: Array, w: Array, b: Array | None, geo: Geometry) -> Array:
    """max(conv(x, w, b), 0), the maximum taken while the result is still in cache."""
    return _room(x).conv_relu(x, w, b, geo)


def conv_x(dy: Array, w: Array, geo: Geometry, size: Size) -> Array:
    """dx with <conv(x, w), dy> = <x, conv_x(dy, w)>.  dy (N,O,OH,OW)  size (H, W) of x."""
    if min(size) < 1:
        raise too_small(dy.shape[2:], w.shape[2:], f"padding {geo.pad}")
    return _room(dy).conv_x(dy, w, geo, size)


def conv_w(x: Array, dy: Array, geo: Geometry, kernel_size: Size) -> Array:
    """dw with <conv(x, w), dy> = <w, conv_w(x, dy)>.  kernel_size (KH, KW) of w."""
    return _room(x).conv_w(x, dy, geo, kernel_size)


def conv_relu_x(dy: Array, y: Array, w: Array, geo: Geometry, size: Size) -> Array:
    """dx of y = conv_relu(x, w, b): conv_x of dy where y > 0, else of 0."""
    return _room(dy).conv_relu_x(dy, y, w, geo, size)


def conv_relu_w(x: Array, y: Array, dy: Array, geo: Geometry, kernel_size: Size) -> tuple[Array, Array]:
    """dw (O,C/groups,KH,KW) and db (O,) of y = conv_relu(x, w, b): conv_w and channel_sum of dy where y > 0, else of 0."""
    return _room(x).conv_relu_w(x, y, dy, geo, kernel_size)


def conv_relu_backward(x: Array, y: Array, dy: Array, w: Array, geo: Geometry) -> tuple[Array, Array, Array]:
    """dx, dw and db of y = conv_relu(x, w, b): conv_relu_x and conv_relu_w at once."""
    return _room(x).conv_relu_backward(x, y, dy, w, geo)


def channel_sum(x: Array) -> Array:
    """(N,C,H,W) -> (C,): the sum over n, i, j, which is the gradient of a bias."""
    return _room(x).channel_sum(x)


def channel_add(x: Array, b: Array) -> Array:
    """x[n,c,i,j] + b[c]."""
    return _room(x).channel_add(x, b)


def channel_window_sum(x: Array, n: int) -> Array:
    """(N,C,H,W): y[:,c] = sum of x[:,j] over the channels j with |j - c| <= n // 2; n odd, so it is its own adjoint."""
    return _room(x).channel_window_sum(x, n)


def relu(x: Array) -> Array:
    """max(x, 0); a complex x is compared by its real part."""
    return _room(x).relu(x)


def relu_x(dy: Array, y: Array) -> Array:
    """dy where y > 0, else 0.  y is relu's output; it serves the input gradient and the tangent alike."""
    return _room(dy).relu_x(dy, y)


def max_pool(x: Array, kernel_size: Size, stride: int, pad: int, ceil_mode: bool) -> tuple[Array, Array]:
    """Largest element of each window, the first of equals; padding never wins.

    Returns y (N,C,OH,OW) and argmax (N,C,OH,OW), the winner's place kh * KW + kw inside its window.
    """
    return _room(x).max_pool(x, kernel_size, stride, pad, ceil_mode)


def max_pool_x(dy: Array, argmax: Array, kernel_size: Size, stride: int, pad: int, size: Size) -> Array:
    """dx (N,C,*size): each dy goes to the element that won its window; overlapping windows add."""
    return _room(dy).max_pool_x(dy, argmax, kernel_size, stride, pad, size)


def max_pool_t(tx: Array, argmax: Array, kernel_size: Size, stride: int, pad: int) -> Array:
    """ty (N,C,OH,OW): the tangent of the element that won each window."""
    return _room(tx).max_pool_t(tx, argmax, kernel_size, stride, pad)


def avg_pool(x: Array, kernel_size: Size, stride: int, pad: int) -> Array:
    """Mean of each window, padding counted as zeros: always divided by KH * KW."""
    return _room(x).avg_pool(x, kernel_size, stride, pad)


def avg_pool_x(dy: Array, kernel_size: Size, stride: int, pad: int, size: Size) -> Array:
    """The adjoint of avg_pool."""
    return _room(dy).avg_pool_x(dy, kernel_size, stride, pad, size)


def global_avg_pool(x: Array) -> Array:
    """(N,C,H,W) -> (N,C): the mean over positions."""
    return _room(x).global_avg_pool(x)


def global_avg_pool_x(dy: Array, size: Size) -> Array:
    """(N,C) -> (N,C,*size): the adjoint, dy / (H W) everywhere."""
    return _room(dy).global_avg_pool_x(dy, size)


def upsample_bilinear(x: Array, size: Size) -> Array:
    """Bilinear interpolation to size, pixel centres at half-integers, edges repeated (align_corners=False)."""
    return _room(x).upsample_bilinear(x, size)


def upsample_bilinear_x(dy: Array, size: Size) -> Array:
    """The adjoint of upsample_bilinear; size (H, W) of x."""
    return _room(dy).upsample_bilinear_x(dy, size)


def upsample_nearest(x: Array, size: Size) -> Array:
    """y[i] = x[floor(i H / OH)] along both axes."""
    return _room(x).upsample_nearest(x, size)


def upsample_nearest_x(dy: Array, size: Size) -> Array:
    """The adjoint of upsample_nearest; size (H, W) of x."""
    return _room(dy).upsample_nearest_x(dy, size)


def linear(x: Array, w: Array, b: Array | None) -> Array:
    """y = x w^T + b.  x (N,D)  w (O,D)  b (O,) or None."""
    return _room(x).linear(x, w, b)


def linear_x(dy: Array, w: Array) -> Array:
    """dx = dy w."""
    return _room(dy).linear_x(dy, w)


def linear_w(x: Array, dy: Array) -> Array:
    """dw = dy^T x."""
    return _room(x).linear_w(x, dy)


def softmax(x: Array) -> Array:
    """exp(x_l) / sum_m exp(x_m) over axis 1 of (N,L,...); a complex x is shifted by its largest real part."""
    return _room(x).softmax(x)


def log_softmax(x: Array) -> Array:
    """x_l - log sum_m exp(x_m) over axis 1 of (N,L,...)."""
    return _room(x).log_softmax(x)


def add(a: Array, b: Array) -> Array:
    """a + b, of one shape."""
    return _room(a).add(a, b)


def multiply(a: Array, b: Array) -> Array:
    """a * b, of one shape."""
    return _room(a).multiply(a, b)


def by_pieces(function: Callable[..., Array], *arrays: Array) -> Array:
    """function(*arrays), which works element by element on arrays of one shape. On the host it is called for a piece of them
    at a time, so that threads share the pieces and what it computes on the way stays in cache."""
    return _room(arrays[0]).by_pieces(function, *arrays)


def broadcast(x: Array, size: Size) -> Array:
    """(N,C) -> (N,C,*size): every position gets the same vector.  Its adjoint is spatial_sum."""
    return _room(x).broadcast(x, size)


def spatial_sum(x: Array) -> Array:
    """(N,C,H,W) -> (N,C): the sum over positions."""
    return _room(x).spatial_sum(x)


def concat(xs: list[Array]) -> Array:
    """Arrays (N,C_i,H,W) joined along the channels."""
    return _room(xs[0]).concat(xs)


def split(x: Array, channels: list[int]) -> list[Array]:
    """The adjoint of concat: (N, sum of channels, H, W) cut into pieces, views where the device allows."""
    return _room(x).split(x, channels)


def at_once(x: Array, *calls: Callable[[], Any]) -> list[Any]:
    """What calls return that do not wait for each other. On the host each may have a thread of its own, which is quicker than
    to share every operation out; on a device they follow each other.   x: any array that tells where they compute"""
    return _room(x).at_once(x, *calls)


def parameter(values: np.ndarray) -> np.ndarray:
    """A host parameter in the memory layout that the operations read fastest; same shape, same values."""
    return oihw(hwio(values)) if values.ndim == 4 else np.ascontiguousarray(values)


def like(values: np.ndarray, x: Array) -> Array:
    """A host array brought to where x lives."""
    return _room(x).like(values, x)


def zeros_like(x: Array) -> Array:
    """Zeros of the shape, dtype and memory layout of x, where x lives."""
    return np.zeros_like(x)


def ones_like(x: Array) -> Array:
    """Ones of the shape, dtype and memory layout of x, where x lives."""
    return np.ones_like(x)


def sgd_update(
    w: Array, dw: Array, v: Array, rate: float | Array, momentum: float, decay: float, factor: Array | None = None
) -> None:
    """In place on flat arrays: v = momentum v + rate (factor dw + decay w);  w -= v  (gland/training/solver.py).

    factor: a number that limits the gradient, None for 1. On a device, a gradient that is not finite changes nothing.
    """
    _room(w).sgd_update(w, dw, v, rate, momentum, decay, factor)


def nesterov(dw: Array, v: Array, momentum: float, factor: Array | None = None) -> Array:
    """v = momentum v + factor dw, in place on a flat array; returns momentum v + factor dw (gland/training/solver.py).

    factor: as sgd_update's; on a device a gradient that is not finite leaves v alone and is returned as NaN.
    """
    return _room(v).nesterov(dw, v, momentum, factor)


def adam_update(
    w: Array,
    dw: Array,
    m: Array,
    s: Array,
    rate: float | Array,
    betas: tuple[float, float],
    epsilon: float,
    decay: float,
    factor: Array | None = None,
) -> None:
    """In place on flat arrays, with g = factor dw: m = beta1 m + (1 - beta1) g;  s = beta2 s + (1 - beta2) g^2;
    w -= rate (m / (sqrt(s) + epsilon) + decay w)  (gland/training/solver.py). factor: as sgd_update's.
    """
    _room(w).adam_update(w, dw, m, s, rate, betas, epsilon, decay, factor)


def tally(totals: Array, losses: Any, mask: Array | None, label: Array) -> None:
    """In place: add what a step is logged by to totals (7,), float64, where the losses live; gland/ops/host/update.py."""
    _room(totals).tally(totals, losses, mask, label)


def use_tf32(on: bool) -> None:
    """Whether convolutions on the device multiply float32 on tensor cores: factors rounded to 10 bits after the point, a
    relative error of up to 5e-4 each, sums in float32. Layers whose channels are no multiples of 4 stay in float32.
    """
    device.conv.use_tf32(on)


def fused(twin: Callable) -> Callable[[Function], Function]:
    """For a function of whole equations: the twin, a function of gland/ops/device/, takes its place for device arrays."""

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def dispatch(x: Array, *args: Any) -> Any:
            return function(x, *args) if type(x) is np.ndarray else twin(x, *args)

        dispatch.twin = twin  # type: ignore[attr-defined]
        return dispatch  # type: ignore[return-value]

    return decorate
