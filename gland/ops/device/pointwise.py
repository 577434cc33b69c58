"""Operations without windows on the device: sums, products, rectifier, joins, softmax, the fully connected product."""

from gland.ops.device.launch import kernel
from gland.ops.device.memory import channels_first, channels_last, contiguous, empty, nhwc
from gland.ops.layout import nchw


def _elementwise(name, *arrays, file="pointwise"):
    """One kernel over the flat memory of arrays of one shape; the result lies as they do."""
    if arrays[0].ndim == 4:
        arrays = [nhwc(a) for a in arrays]
    arrays = [contiguous(a) for a in arrays]
    y = empty(arrays[0].shape, arrays[0])
    kernel(file, name, y.dtype).over(y.size, *arrays, y, y.size)
    return nchw(y) if y.ndim == 4 else y


def relu(x):
    return _elementwise("relu", x, file="relu")


def relu_x(dy, y):
    return _elementwise("relu_x", dy, y, file="relu")


def add(a, b):
    return _elementwise("add", a, b)


def multiply(a, b):
    return _elementwise("multiply", a, b)


def _over_channels(name, x):
    x = channels_last(x)
    y = empty(x.shape, x)
    rows = y.size // y.shape[-1]
    kernel("softmax", name, y.dtype).over(rows, x, y, rows, y.shape[-1])
    return channels_first(y)


def softmax(x):
    return _over_channels("softmax", x)


def log_softmax(x):
    return _over_channels("log_softmax", x)


def broadcast(x, size, scale=1.0):
    x = contiguous(x)
    y = empty((x.shape[0], *size, x.shape[1]), x)
    kernel("pointwise", "broadcast", y.dtype).over(y.size, x, y, y.size, size[0] * size[1], x.shape[1], scale)
    return nchw(y)


def global_avg_pool_x(dy, size):
    return broadcast(dy, size, 1 / (size[0] * size[1]))


def channel_add(x, b):
    x = nhwc(x)
    y = empty(x.shape, x)
    kernel("pointwise", "channel_add", y.dtype).over(y.size, x, contiguous(b), y, y.size, y.shape[3])
    return nchw(y)


def channel_window_sum(x, n):
    x = nhwc(x)
    y = empty(x.shape, x)
    kernel("pointwise", "channel_window_sum", y.dtype).over(y.size, x, y, y.size, y.shape[3], n // 2)
    return nchw(y)


def linear(x, w, b):
    x, w = contiguous(x), contiguous(w)
    y = empty((x.shape[0], w.shape[0]), x)
    kernel("linear", "linear", y.dtype).over(32 * y.size, x, w, b, y, len(x), x.shape[1], len(w))
    return y


def linear_x(dy, w):
    dy, w = contiguous(dy), contiguous(w)
    dx = empty((dy.shape[0], w.shape[1]), dy)
    kernel("linear", "linear_x", dx.dtype).over(dx.size, dy, w, dx, len(dy), w.shape[1], len(w))
    return dx


def linear_w(x, dy):
    x, dy = contiguous(x), contiguous(dy)
    dw = empty((dy.shape[1], x.shape[1]), x)
    kernel("linear", "linear_w", dw.dtype).over(dw.size, x, dy, dw, len(x), x.shape[1], dy.shape[1])
    return dw


def concat(xs):
    xs = [nhwc(x) for x in xs]
    y = empty((*xs[0].shape[:3], sum(x.shape[3] for x in xs)), xs[0])
    start = 0
    for x in xs:
        kernel("join", "join", y.dtype).over(x.size, x, y, x.size, x.shape[3], y.shape[3], start)
        start += x.shape[3]
    return nchw(y)


def split(x, channels):
    x = nhwc(x)
    pieces, start = [], 0
    for c in channels:
        y = empty((*x.shape[:3], c), x)
        kernel("join", "split", y.dtype).over(y.size, x, y, y.size, c, x.shape[3], start)
        pieces.append(nchw(y))
        start += c
    return pieces


def at_once(x, *calls):
    return [call() for call in calls]


def by_pieces(function, *arrays):
    return function(*arrays)
