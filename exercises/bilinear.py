"""Exercise bilinear (45 minutes): upsampling along one axis and then along the other. See docs/backprop/3-deconvolution.md.

Along one axis:  y[i] = (1 - t_i) x[a_i] + t_i x[a_i + 1],   a_i + t_i = (i + 1/2) H / OH - 1/2, held inside [0, H - 1]
x (N, C, H, W)   y (N, C, OH, OW)

Check with:  python -m exercises.check bilinear
"""

from typing import NamedTuple

import numpy as np


class UpsampleBilinear:
    class Cache(NamedTuple):
        size: tuple[int, int]  # (H, W) of x

    def __init__(self, size):
        self.size = size

    @staticmethod
    def places(n, m):
        """For m outputs over n inputs: the lower neighbour a (m,), the upper one (m,), and the upper one's weight t (m,)."""
        u = np.clip((np.arange(m) + 0.5) * n / m - 0.5, 0, n - 1)
        a = np.floor(u).astype(int)
        return a, np.minimum(a + 1, n - 1), u - a

    def along_last(self, x, m):
        """Upsample the last axis to m elements."""
        low, high, t = self.places(x.shape[-1], m)
        return (1 - t) * x[..., low] + t * x[..., high]

    def forward(self, x):
        y = self.along_last(x, self.size[1])
        return self.along_last(y.swapaxes(2, 3), self.size[0]).swapaxes(2, 3), self.Cache(x.shape[2:])

    def along_last_grad(self, dy, n):
        """The adjoint of along_last: dx (..., n) from dy (..., m)."""
        raise NotImplementedError(
            "dx along one axis: y[i] took (1 - t) of one element and t of the next; several i share one (np.add.at)"
        )

    def input_grad(self, dy, cache):
        """dx (N, C, H, W) from dy (N, C, OH, OW)."""
        raise NotImplementedError(
            "dx: undo forward's two steps in the other order, each by its adjoint along_last_grad"
        )

    def backward(self, dy, cache):
        """There are no parameters."""
        return self.input_grad(dy, cache)

    def tangent(self, tx, cache):
        """ty (N, C, OH, OW): how y moves when x moves along tx."""
        raise NotImplementedError("ty: y is linear in x, and there is no constant")
