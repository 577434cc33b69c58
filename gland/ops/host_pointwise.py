"""Operations without windows on the host: sums, products, rectifier, joins, the fully connected product, the update.

Where both arguments lie in memory the same way, the elements are taken in memory order, a cache-sized piece at a time.
"""

import numpy as np

from gland.ops import arena
from gland.ops.layout import nchw, nhwc
from gland.ops.threads import count_threads, parallel

PIECE = 1 << 15  # elements


def _elementwise(function, *arrays):
    """function(*pieces, out) over pieces of the flat memory of arrays of one shape; the result in their layout."""
    if arrays[0].ndim != 4:
        y = np.empty(arrays[0].shape, arrays[0].dtype)
        function(*arrays, y)
        return y
    arrays = [nhwc(a) for a in arrays]
    y = arena.empty(arrays[0].shape, arrays[0].dtype)
    flat = [a.reshape(-1) for a in (*arrays, y)]

    def work(thread, first, last):
        for i in range(first, last):
            function(*(a[i * PIECE : (i + 1) * PIECE] for a in flat))

    parallel(work, -(-y.size // PIECE))
    return nchw(y)


def relu(x):
    return _elementwise(lambda x, y: np.multiply(x, x.real > 0, out=y), x)


def relu_x(dy, y):
    return _elementwise(lambda dy, y, dx: np.multiply(dy, y.real > 0, out=dx), dy, y)


def add(a, b):
    return _elementwise(lambda a, b, y: np.add(a, b, out=y), a, b)


def multiply(a, b):
    return _elementwise(lambda a, b, y: np.multiply(a, b, out=y), a, b)


def _shifted(x):
    """x minus its largest real part over axis 1, so that no exponential overflows and one of them is 1."""
    return x - x.real.max(axis=1, keepdims=True).astype(x.dtype)


def softmax(x):
    e = np.exp(_shifted(x))
    return e / e.sum(axis=1, keepdims=True)


def log_softmax(x):
    shifted = _shifted(x)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def channel_sum(x):
    x = nhwc(x)
    x = x.reshape(-1, x.shape[-1])
    sums = np.zeros((count_threads(), x.shape[1]), x.dtype)
    ones = np.ones(len(x), x.dtype)

    def work(thread, first, last):
        # a matrix product runs ten times faster here than x.sum(axis=0)
        rows = slice(first * PIECE, last * PIECE)
        np.matmul(ones[rows], x[rows], out=sums[thread])

    parallel(work, -(-len(x) // PIECE))
    return sums.sum(axis=0)


def channel_add(x, b):
    x = nhwc(x)
    n, h, w, c = x.shape
    y = arena.empty(x.shape, x.dtype)
    row = np.tile(b, w)

    def work(thread, first, last):
        for i in range(first, last):
            np.add(x.reshape(n * h, w * c)[i], row, out=y.reshape(n * h, w * c)[i])

    parallel(work, n * h)
    return nchw(y)


def linear(x, w, b):
    y = x @ w.T
    return y if b is None else y + b


def linear_x(dy, w):
    return dy @ w


def linear_w(x, dy):
    return dy.T @ x


def like(values, x):
    return values


def broadcast(x, size):
    y = arena.empty((x.shape[0], *size, x.shape[1]), x.dtype)
    y[:] = x[:, None, None]
    return nchw(y)


def spatial_sum(x):
    return x.sum(axis=(2, 3))


def concat(xs):
    xs = [x.transpose(0, 2, 3, 1) for x in xs]
    n, h, w, _ = xs[0].shape
    y = arena.empty((n, h, w, sum(x.shape[3] for x in xs)), xs[0].dtype)
    starts = np.cumsum([0, *(x.shape[3] for x in xs)])

    def work(thread, first, last):
        for i in range(first, last):
            for x, start in zip(xs, starts, strict=False):
                y[i // h, i % h, :, start : start + x.shape[3]] = x[i // h, i % h]

    parallel(work, n * h)
    return nchw(y)


def split(x, channels):
    x = x.transpose(0, 2, 3, 1)
    n, h, w, _ = x.shape
    pieces = [arena.empty((n, h, w, c), x.dtype) for c in channels]
    starts = np.cumsum([0, *channels])

    def work(thread, first, last):
        for i in range(first, last):
            for piece, start in zip(pieces, starts, strict=False):
                piece[i // h, i % h] = x[i // h, i % h, :, start : start + piece.shape[3]]

    parallel(work, n * h)
    return [nchw(piece) for piece in pieces]


def sgd_update(w, dw, v, rate, momentum, decay):
    def work(thread, first, last):
        for i in range(first, last):
            at = slice(i * PIECE, (i + 1) * PIECE)
            step = w[at] * decay
            step += dw[at]
            step *= rate
            v[at] *= momentum
            v[at] += step
            w[at] -= v[at]

    parallel(work, -(-w.size // PIECE))
