"""Solution of the exercise max_pool."""

import numpy as np

from exercises import max_pool


class MaxPool2d(max_pool.MaxPool2d):
    def input_grad(self, dy, cache):
        dx = np.zeros(cache.shape, dy.dtype)
        n, c = np.indices(dy.shape)[:2]
        np.add.at(dx, (n, c, cache.rows, cache.columns), dy)
        return dx

    def tangent(self, tx, cache):
        n, c = np.indices(cache.rows.shape)[:2]
        return tx[n, c, cache.rows, cache.columns]
