"""Every operation as plain loops over its definition, for numbers of any kind. Shares nothing with gland."""

import numpy as np


def conv(x, w, b, stride=1, pad=0, dilation=1, groups=1):
    n, c, h, wd = x.shape
    o, cg, kh, kw = w.shape
    oh = (h + 2 * pad - dilation * (kh - 1) - 1) // stride + 1
    ow = (wd + 2 * pad - dilation * (kw - 1) - 1) // stride + 1
    y = np.zeros((n, o, oh, ow), np.result_type(x, w))
    for image, k, i, j in np.ndindex(*y.shape):
        total = 0 if b is None else b[k]
        for cc, a, e in np.ndindex(cg, kh, kw):
            row, column = i * stride - pad + a * dilation, j * stride - pad + e * dilation
            if 0 <= row < h and 0 <= column < wd:
                total = total + w[k, cc, a, e] * x[image, k // (o // groups) * cg + cc, row, column]
        y[image, k, i, j] = total
    return y


def conv_x(dy, w, size, stride=1, pad=0, dilation=1, groups=1):
    """The transpose of conv: every product w * x of the forward pass sends w * dy back to its x."""
    n, o, oh, ow = dy.shape
    _, cg, kh, kw = w.shape
    dx = np.zeros((n, cg * groups, *size), np.result_type(dy, w))
    for image, k, i, j in np.ndindex(*dy.shape):
        for cc, a, e in np.ndindex(cg, kh, kw):
            row, column = i * stride - pad + a * dilation, j * stride - pad + e * dilation
            if 0 <= row < size[0] and 0 <= column < size[1]:
                dx[image, k // (o // groups) * cg + cc, row, column] += w[k, cc, a, e] * dy[image, k, i, j]
    return dx


def conv_w(x, dy, kernel, stride=1, pad=0, dilation=1, groups=1):
    n, c, h, wd = x.shape
    o, cg = dy.shape[1], c // groups
    dw = np.zeros((o, cg, *kernel), np.result_type(x, dy))
    for image, k, i, j in np.ndindex(*dy.shape):
        for cc, a, e in np.ndindex(cg, *kernel):
            row, column = i * stride - pad + a * dilation, j * stride - pad + e * dilation
            if 0 <= row < h and 0 <= column < wd:
                dw[k, cc, a, e] += x[image, k // (o // groups) * cg + cc, row, column] * dy[image, k, i, j]
    return dw


def windows(n, kernel, stride, pad, ceil_mode):
    """Number of pooling windows along one axis, counted one by one."""
    count = 0
    while True:
        start = count * stride - pad
        fits = start + kernel <= n + pad
        reaches = ceil_mode and start + kernel - stride < n + pad and start < n
        if not (fits or (reaches and count > 0)):
            return count
        count += 1


def max_pool(x, kernel, stride, pad=0, ceil_mode=False):
    n, c, h, w = x.shape
    oh, ow = windows(h, kernel[0], stride, pad, ceil_mode), windows(w, kernel[1], stride, pad, ceil_mode)
    y, argmax = np.zeros((n, c, oh, ow), x.dtype), np.zeros((n, c, oh, ow), int)
    for image, k, i, j in np.ndindex(*y.shape):
        best = None
        for a, e in np.ndindex(*kernel):
            row, column = i * stride - pad + a, j * stride - pad + e
            inside = 0 <= row < h and 0 <= column < w
            if inside and (best is None or x[image, k, row, column].real > best.real):
                best = x[image, k, row, column]
                argmax[image, k, i, j] = a * kernel[1] + e
        y[image, k, i, j] = best
    return y, argmax


def max_pool_x(dy, argmax, kernel, stride, pad, size):
    dx = np.zeros((*dy.shape[:2], *size), dy.dtype)
    for image, k, i, j in np.ndindex(*dy.shape):
        a, e = divmod(int(argmax[image, k, i, j]), kernel[1])
        dx[image, k, i * stride - pad + a, j * stride - pad + e] += dy[image, k, i, j]
    return dx


def avg_pool(x, kernel, stride, pad=0):
    n, c, h, w = x.shape
    oh, ow = windows(h, kernel[0], stride, pad, False), windows(w, kernel[1], stride, pad, False)
    y = np.zeros((n, c, oh, ow), x.dtype)
    for image, k, i, j in np.ndindex(*y.shape):
        for a, e in np.ndindex(*kernel):
            row, column = i * stride - pad + a, j * stride - pad + e
            if 0 <= row < h and 0 <= column < w:
                y[image, k, i, j] += x[image, k, row, column] / (kernel[0] * kernel[1])
    return y


def upsample_bilinear(x, size):
    n, c, h, w = x.shape
    y = np.zeros((n, c, *size), x.dtype)
    for i, j in np.ndindex(*size):
        u = min(max((i + 0.5) * h / size[0] - 0.5, 0), h - 1)
        v = min(max((j + 0.5) * w / size[1] - 0.5, 0), w - 1)
        a, e = int(u), int(v)
        for da, de in np.ndindex(2, 2):
            weight = (u - a if da else 1 - (u - a)) * (v - e if de else 1 - (v - e))
            if weight:
                y[:, :, i, j] += weight * x[:, :, a + da, e + de]
    return y


def upsample_nearest(x, size):
    n, c, h, w = x.shape
    y = np.zeros((n, c, *size), x.dtype)
    for i, j in np.ndindex(*size):
        y[:, :, i, j] = x[:, :, i * h // size[0], j * w // size[1]]
    return y
