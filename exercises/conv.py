"""Exercise conv (90 minutes): the convolution and its two adjoints. See docs/backprop/2-convolution.md.

y[n,o,i,j] = b[o] + sum_{c,a,e} w[o,c,a,e] xp[n,c,i s + a,j s + e],   xp: x with p rows and columns of zeros around it

x (N, C, H, W)   w (O, C, KH, KW)   b (O,)   y (N, O, OH, OW),  OH = (H + 2p - KH) // s + 1;  stride s, padding p
Loops over the KH KW places of the kernel are fine; loops over the image are slow.
second_order may wait for session 4.

Check with:  python -m exercises.check conv
"""

from typing import NamedTuple

import numpy as np


class Conv2d:
    class Cache(NamedTuple):
        x: np.ndarray

    def __init__(self, w, b, stride=1, pad=0):
        self.w, self.b, self.stride, self.pad = w, b, stride, pad
        self.dw, self.db = np.zeros_like(w), np.zeros_like(b)

    def padded(self, x):
        """xp (N, C, H + 2p, W + 2p)."""
        p = self.pad
        return np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))

    def seen(self, xp, a, e, size):
        """The elements of xp that meet place (a, e) of the kernel: (N, C, OH, OW), a view. size (OH, OW)."""
        s = self.stride
        return xp[:, :, a : a + s * size[0] : s, e : e + s * size[1] : s][:, :, : size[0], : size[1]]

    def forward(self, x):
        return self.linear_part(x) + self.b[:, None, None], self.Cache(x)

    def linear_part(self, x):
        """y without its bias."""
        kh, kw = self.w.shape[2:]
        size = tuple((n + 2 * self.pad - k) // self.stride + 1 for n, k in zip(x.shape[2:], (kh, kw), strict=True))
        xp, y = self.padded(x), 0
        for a in range(kh):
            for e in range(kw):
                y = y + np.einsum("oc,ncij->noij", self.w[:, :, a, e], self.seen(xp, a, e, size))
        return y

    def input_grad(self, dy, cache):
        """dx (N, C, H, W) from dy (N, O, OH, OW)."""
        raise NotImplementedError(
            "dx: every product w * xp of forward sends w * dy back to its element of xp; then cut the padding off"
        )

    def backward(self, dy, cache):
        """Adds to dw (O, C, KH, KW) and db (O,), and returns dx."""
        raise NotImplementedError("dw and db: every product w * xp of forward sends xp * dy back to its element of w")

    def tangent(self, tx, cache):
        """ty (N, O, OH, OW): how y moves when x moves along tx."""
        raise NotImplementedError("ty: y is linear in x, up to a constant that does not move")

    def second_order(self, tx, dy, cache):
        """Adds to dw the gradient of s = <tx, input_grad(dy)>, tx and dy held still. Returns nothing."""
        raise NotImplementedError(
            "second_order: s is the sum of all w * tx * dy; it differs from backward's sum in one letter"
        )
