"""Solution of the exercise bilinear."""

import numpy as np

from exercises import bilinear


class UpsampleBilinear(bilinear.UpsampleBilinear):
    def along_last_grad(self, dy, n):
        low, high, t = self.places(n, dy.shape[-1])
        dx = np.zeros((*dy.shape[:-1], n), dy.dtype)
        np.add.at(dx, (..., low), (1 - t) * dy)
        np.add.at(dx, (..., high), t * dy)
        return dx

    def input_grad(self, dy, cache):
        h, w = cache.size
        dy = self.along_last_grad(dy.swapaxes(2, 3), h).swapaxes(2, 3)
        return self.along_last_grad(dy, w)

    def tangent(self, tx, cache):
        return self.forward(tx)[0]
