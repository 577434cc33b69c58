"""Exercise max_pool (45 minutes): each window's largest element. See docs/backprop/4-max-pool.md.

y[n,c,i,j] = max of x[n,c,i s + a,j s + e] over the K x K places (a, e);  of equal elements the first wins
x (N, C, H, W)   y (N, C, OH, OW),  OH = (H - K) // s + 1.  With s < K the windows overlap.

Check with:  python -m exercises.check max_pool
"""

from typing import NamedTuple

import numpy as np


class MaxPool2d:
    class Cache(NamedTuple):
        rows: np.ndarray  # (N, C, OH, OW): the winner's row in x, and its column
        columns: np.ndarray
        shape: tuple[int, ...]  # of x

    def __init__(self, kernel, stride):
        self.kernel, self.stride = kernel, stride

    def forward(self, x):
        k, s = self.kernel, self.stride
        windows = np.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(2, 3))[:, :, ::s, ::s]
        flat = windows.reshape(*windows.shape[:4], k * k)
        winner = flat.real.argmax(axis=4)
        y = np.take_along_axis(flat, winner[..., None], axis=4)[..., 0]
        i, j = np.meshgrid(*(np.arange(n) * s for n in y.shape[2:]), indexing="ij")
        return y, self.Cache(i + winner // k, j + winner % k, x.shape)

    def input_grad(self, dy, cache):
        """dx (N, C, H, W) from dy (N, C, OH, OW)."""
        raise NotImplementedError(
            "dx: only the winner of a window moved y, and one element can win several windows (np.add.at)"
        )

    def backward(self, dy, cache):
        """There are no parameters."""
        return self.input_grad(dy, cache)

    def tangent(self, tx, cache):
        """ty (N, C, OH, OW): how y moves when x moves a little along tx."""
        raise NotImplementedError("ty: the winners of a little step are those of forward; how does each of them move?")
