"""A classifier small enough to follow by hand: two stages of convolution, ReLU and max-pool, a 1x1 convolution, a mean.

It is given; the exercises pooling_gradients and second_order go through it backwards and forwards.
"""

from typing import Any, NamedTuple

import numpy as np

from gland.layers import Conv2d, ConvReLU, GlobalAvgPool, MaxPool2d


class Cache(NamedTuple):
    conv1: Any
    pool1: Any
    conv2: Any
    pool2: Any
    head: Any
    mean: Any
    z: list[np.ndarray]  # z_1 (N, 2, H/2, W/2), z_2 (N, 3, H/4, W/4): what leaves the pools


class Tiny:
    """x (N, 1, H, W), H and W multiples of 4 -> logits (N, 2)."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        self.conv1, self.pool1 = ConvReLU(1, 2, 3, pad=1, rng=rng, dtype=float), MaxPool2d(2)
        self.conv2, self.pool2 = ConvReLU(2, 3, 3, pad=1, rng=rng, dtype=float), MaxPool2d(2)
        self.head, self.mean = Conv2d(3, 2, 1, rng=rng, dtype=float), GlobalAvgPool()
        for layer in (self.conv1, self.conv2, self.head):
            layer.b[...] = rng.uniform(0.1, 0.3, layer.b.shape)

    def with_parameters(self):
        return {"conv1": self.conv1, "conv2": self.conv2, "head": self.head}

    def forward(self, x):
        y, conv1 = self.conv1.forward(x)
        z1, pool1 = self.pool1.forward(y)
        y, conv2 = self.conv2.forward(z1)
        z2, pool2 = self.pool2.forward(y)
        y, head = self.head.forward(z2)
        logits, mean = self.mean.forward(y)
        return logits, Cache(conv1, pool1, conv2, pool2, head, mean, [z1, z2])
