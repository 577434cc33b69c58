"""Convolution and its two adjoints on the host."""

import numpy as np
from numpy.lib.stride_tricks import as_strided

from gland.ops.layout import hwio, nchw, nhwc, oihw


def _columns(x, kernel, geo):
    """x (N,H,W,C) -> (N*OH*OW, KH*KW*C)"""
    n, h, w, c = x.shape
    kh, kw = kernel
    if geo.pad:
        x = np.pad(x, ((0, 0), (geo.pad,) * 2, (geo.pad,) * 2, (0, 0)))
    oh, ow = geo.output_size((h, w), kernel)
    a, b, d, e = x.strides
    s, dil = geo.stride, geo.dilation
    windows = as_strided(x, (n, oh, ow, kh, kw, c), (a, b * s, d * s, b * dil, d * dil, e))
    return windows.reshape(n * oh * ow, kh * kw * c)


def conv(x, w, b, geo):
    n, c, h, wd = x.shape
    o, _, kh, kw = w.shape
    oh, ow = geo.output_size((h, wd), (kh, kw))
    x, w, g = nhwc(x), hwio(w), geo.groups
    y = np.empty((n, oh, ow, o), x.dtype)
    for i in range(g):
        cs, os = slice(i * c // g, (i + 1) * c // g), slice(i * o // g, (i + 1) * o // g)
        cols = _columns(x[..., cs], (kh, kw), geo)
        y[..., os] = (cols @ w[..., os].reshape(-1, o // g)).reshape(n, oh, ow, -1)
    if b is not None:
        y += b
    return nchw(y)


def conv_relu(x, w, b, geo):
    y = nhwc(conv(x, w, b, geo))
    y[y.real < 0] = 0
    return nchw(y)


def conv_x(dy, w, geo, size):
    n, o, oh, ow = dy.shape
    _, cg, kh, kw = w.shape
    dy, w, g = nhwc(dy), hwio(w), geo.groups
    c, p, s, d = cg * g, geo.pad, geo.stride, geo.dilation
    h, wd = size
    dx = np.zeros((n, h + 2 * p, wd + 2 * p, c), dy.dtype)
    for k in range(g):
        cs, os = slice(k * cg, (k + 1) * cg), slice(k * o // g, (k + 1) * o // g)
        for i in range(kh):
            for j in range(kw):
                t = dy[..., os] @ w[i, j, :, os].T
                dx[:, i * d : i * d + s * (oh - 1) + 1 : s, j * d : j * d + s * (ow - 1) + 1 : s, cs] += t
    return nchw(dx[:, p : p + h, p : p + wd].copy())


def conv_w(x, dy, geo, kernel):
    c, o, g = x.shape[1], dy.shape[1], geo.groups
    kh, kw = kernel
    x, dy = nhwc(x), nhwc(dy)
    dw = np.empty((kh, kw, c // g, o), x.dtype)
    for i in range(g):
        cs, os = slice(i * c // g, (i + 1) * c // g), slice(i * o // g, (i + 1) * o // g)
        cols = _columns(x[..., cs], kernel, geo)
        dw[..., os] = (cols.T @ dy[..., os].reshape(-1, o // g)).reshape(kh, kw, c // g, o // g)
    return oihw(dw)
