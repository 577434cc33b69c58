"""Operations without windows on the device: sums, products, rectifier, joins, softmax, the fully connected product."""

from collections.abc import Callable
from typing import Any

from gland.ops.device.launch import kernel
from gland.ops.device.memory import Array, channels_first, channels_last, contiguous, empty, nhwc
from gland.ops.layout import Size, nchw


def _elementwise(name: str, *arrays: Array) -> Array:
    """One kernel over the flat memory of arrays of one shape; the result lies as they do."""
    laid = [nhwc(a) if a.ndim == 4 else contiguous(a) for a in arrays]
    y = empty(laid[0].shape, laid[0])
    kernel(name.removesuffix("_x"), name, y.dtype).over(y.size, *laid, y, y.size)
    return nchw(y) if y.ndim == 4 else y


def relu(x: Array) -> Array:
    return _elementwise("relu", x)


def relu_x(dy: Array, y: Array) -> Array:
    return _elementwise("relu_x", dy, y)


def add(a: Array, b: Array) -> Array:
    return _elementwise("add", a, b)


def multiply(a: Array, b: Array) -> Array:
    return _elementwise("multiply", a, b)


def _over_channels(name: str, x: Array) -> Array:
    x = channels_last(x)
    y = empty(x.shape, x)
    rows = y.size // y.shape[-1]
    kernel(name, name, y.dtype).over(rows, x, y, rows, y.shape[-1])
    return channels_first(y)


def softmax(x: Array) -> Array:
    return _over_channels("softmax", x)


def log_softmax(x: Array) -> Array:
    return _over_channels("log_softmax", x)


def broadcast(x: Array, size: Size, scale: float = 1.0) -> Array:
    x = contiguous(x)
    y = empty((x.shape[0], *size, x.shape[1]), x)
    kernel("broadcast", "broadcast", y.dtype).over(y.size, x, y, y.size, size[0] * size[1], x.shape[1], scale)
    return nchw(y)


def global_avg_pool_x(dy: Array, size: Size) -> Array:
    return broadcast(dy, size, 1 / (size[0] * size[1]))


def channel_add(x: Array, b: Array) -> Array:
    x = nhwc(x)
    y = empty(x.shape, x)
    kernel("channel_add", "channel_add", y.dtype).over(y.size, x, contiguous(b), y, y.size, y.shape[3])
    return nchw(y)


def channel_window_sum(x: Array, n: int) -> Array:
    x = nhwc(x)
    y = empty(x.shape, x)
    kernel("channel_window_sum", "channel_window_sum", y.dtype).over(y.size, x, y, y.size, y.shape[3], n // 2)
    return nchw(y)


def linear(x: Array, w: Array, b: Array | None) -> Array:
    x, w = contiguous(x), contiguous(w)
    y = empty((x.shape[0], w.shape[0]), x)
    kernel("linear", "linear", y.dtype).over(32 * y.size, x, w, b, y, len(x), x.shape[1], len(w))
    return y


def linear_x(dy: Array, w: Array) -> Array:
    dy, w = contiguous(dy), contiguous(w)
    dx = empty((dy.shape[0], w.shape[1]), dy)
    kernel("linear", "linear_x", dx.dtype).over(dx.size, dy, w, dx, len(dy), w.shape[1], len(w))
    return dx


def linear_w(x: Array, dy: Array) -> Array:
    x, dy = contiguous(x), contiguous(dy)
    dw = empty((dy.shape[1], x.shape[1]), x)
    kernel("linear", "linear_w", dw.dtype).over(dw.size, x, dy, dw, len(x), x.shape[1], dy.shape[1])
    return dw


def concat(xs: list[Array]) -> Array:
    xs = [nhwc(x) for x in xs]
    y = empty((*xs[0].shape[:3], sum(x.shape[3] for x in xs)), xs[0])
    start = 0
    for x in xs:
        kernel("concat", "concat", y.dtype).over(x.size, x, y, x.size, x.shape[3], y.shape[3], start)
        start += x.shape[3]
    return nchw(y)


def split(x: Array, channels: list[int]) -> list[Array]:
    x = nhwc(x)
    pieces, start = [], 0
    for c in channels:
        y = empty((*x.shape[:3], c), x)
        kernel("concat", "split", y.dtype).over(y.size, x, y, y.size, c, x.shape[3], start)
        pieces.append(nchw(y))
        start += c
    return pieces


def at_once(x: Array, *calls: Callable[[], Any]) -> list[Any]:
    return [call() for call in calls]


def by_pieces(function: Callable[..., Array], *arrays: Array) -> Array:
    return function(*arrays)
