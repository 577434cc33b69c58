"""Exercise deconv (45 minutes): a convolution's adjoint, used forward. See docs/backprop/3-deconvolution.md.

y[n,o,i s + a,j s + e] += w[c,o,a,e] x[n,c,i,j]   for every c, i, j, a, e;  then b[o] is added everywhere
x (N, C, H, W)   w (C, O, KH, KW)   b (O,)   y (N, O, OH, OW),  OH = (H - 1) s + KH

Check with:  python -m exercises.check deconv
"""

from typing import NamedTuple

import numpy as np


class Deconv2d:
    class Cache(NamedTuple):
        x: np.ndarray

    def __init__(self, w, b, stride):
        self.w, self.b, self.stride = w, b, stride
        self.dw, self.db = np.zeros_like(w), np.zeros_like(b)

    def reached(self, y, a, e, size):
        """The elements of y that place (a, e) of the kernel reaches: (N, O, H, W), a view. size (H, W) of x."""
        s = self.stride
        return y[:, :, a : a + s * size[0] : s, e : e + s * size[1] : s][:, :, : size[0], : size[1]]

    def forward(self, x):
        return self.linear_part(x) + self.b[:, None, None], self.Cache(x)

    def linear_part(self, x):
        """y without its bias."""
        n, _, h, w = x.shape
        _, o, kh, kw = self.w.shape
        y = np.zeros((n, o, (h - 1) * self.stride + kh, (w - 1) * self.stride + kw), np.result_type(x, self.w))
        for a in range(kh):
            for e in range(kw):
                self.reached(y, a, e, (h, w))[...] += np.einsum("co,ncij->noij", self.w[:, :, a, e], x)
        return y

    def input_grad(self, dy, cache):
        """dx (N, C, H, W) from dy (N, O, OH, OW): an ordinary convolution."""
        raise NotImplementedError("dx: x[n,c,i,j] was sent to KH KW places of y; collect dy from the same places")

    def backward(self, dy, cache):
        """Adds to dw (C, O, KH, KW) and db (O,), and returns dx."""
        raise NotImplementedError("dw and db: as for a convolution, with x and dy in each other's place")

    def tangent(self, tx, cache):
        """ty (N, O, OH, OW): how y moves when x moves along tx."""
        raise NotImplementedError("ty: y is linear in x, up to a constant that does not move")
