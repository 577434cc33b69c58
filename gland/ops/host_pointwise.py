"""Operations without windows on the host: sums, products, rectifier, joins, the fully connected product, the update."""

import numpy as np

from gland.ops.layout import nchw, nhwc


def channel_sum(x):
    x = nhwc(x)
    x = x.reshape(-1, x.shape[-1])
    return np.ones(len(x), x.dtype) @ x  # a matrix product runs ten times faster here than x.sum(axis=0)


def channel_add(x, b):
    return nchw(nhwc(x) + b)


def relu(x):
    return np.where(x.real > 0, x, x.dtype.type(0))


def relu_x(dy, y):
    return dy * (y.real > 0)


def linear(x, w, b):
    y = x @ w.T
    return y if b is None else y + b


def linear_x(dy, w):
    return dy @ w


def linear_w(x, dy):
    return dy.T @ x


def _shifted(x):
    """x minus its largest real part over axis 1, so that no exponential overflows and one of them is 1."""
    return x - x.real.max(axis=1, keepdims=True).astype(x.dtype)


def softmax(x):
    e = np.exp(_shifted(x))
    return e / e.sum(axis=1, keepdims=True)


def log_softmax(x):
    shifted = _shifted(x)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def like(values, x):
    return values


def add(a, b):
    return a + b


def multiply(a, b):
    return a * b


def broadcast(x, size):
    y = np.empty((x.shape[0], *size, x.shape[1]), x.dtype)
    y[:] = x[:, None, None]
    return nchw(y)


def spatial_sum(x):
    return x.sum(axis=(2, 3))


def concat(xs):
    return nchw(np.concatenate([nhwc(x) for x in xs], axis=3))


def split(x, channels):
    return np.split(x, np.cumsum(channels)[:-1], axis=1)


def sgd_update(w, dw, v, rate, momentum, decay):
    v *= momentum
    v += rate * (dw + decay * w)
    w -= v
