"""The left half of the network: five stages of two 3x3 convolutions and a 2x2 max-pool, then a 1x1 convolution and the
mean over positions. It gives the class logits, and everything that the right half reads."""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from gland import ops
from gland.layers import Conv2d, ConvReLU, GlobalAvgPool, Layer, MaxPool2d, start_small

Array = Any
Sent = tuple[list[Any], Any]  # what Eq. (3)'s pass sent into every stage, and into the head


def stage_widths(width: int) -> tuple[int, ...]:
    """Channels of the five stages: w, 2w, 4w, 8w, 8w."""
    return width, 2 * width, 4 * width, 8 * width, 8 * width


class Stage:
    """Two convolutions with ReLU and a max-pool.   x (N, C, H, W) -> z (N, O, H/2, W/2)"""

    class Cache(NamedTuple):
        conv1: Any
        conv2: Any
        pool: Any
        features: Array  # what enters the pool (N, O, H, W); the segmenter's skip connections read it

    def __init__(self, c: int, o: int, rng: np.random.Generator, dtype: Any) -> None:
        self.conv1 = ConvReLU(c, o, 3, pad=1, rng=rng, dtype=dtype)
        self.conv2 = ConvReLU(o, o, 3, pad=1, rng=rng, dtype=dtype)
        self.pool = MaxPool2d(2)

    def forward(self, x: Array) -> tuple[Array, Cache]:
        y, cache1 = self.conv1.forward(x)
        y, cache2 = self.conv2.forward(y)
        z, cache3 = self.pool.forward(y)
        return z, self.Cache(cache1, cache2, cache3, y)

    def input_grad(self, dz: Array, cache: Cache) -> tuple[Array, tuple[Array, Array]]:
        """dx, and what was sent into each convolution: the second-order pass needs it."""
        dy2 = self.pool.input_grad(dz, cache.pool)
        dy1 = self.conv2.input_grad(dy2, cache.conv2)
        return self.conv1.input_grad(dy1, cache.conv1), (dy1, dy2)

    def backward(self, dz: Array, cache: Cache, dfeatures: Array | None = None, first: bool = False) -> Array | None:
        """dx, or None for the first stage, whose x is the image. dfeatures: what the skip connection sends back."""
        dy = self.pool.backward(dz, cache.pool)
        dy = dy if dfeatures is None else ops.add(dy, dfeatures)
        dy = self.conv2.backward(dy, cache.conv2)
        if first:
            self.conv1.weight_grad(dy, cache.conv1)
            return None
        return self.conv1.backward(dy, cache.conv1)

    def second_order(self, tx: Array, sent: tuple[Array, Array], cache: Cache) -> Array:
        """Carry the tangent tx through, and meet what Eq. (3)'s backward pass sent: tz (N, O, H/2, W/2)."""
        dy1, dy2 = sent
        self.conv1.second_order(tx, dy1, cache.conv1)
        ty = self.conv1.tangent(tx, cache.conv1)
        self.conv2.second_order(ty, dy2, cache.conv2)
        ty = self.conv2.tangent(ty, cache.conv2)
        return self.pool.tangent(ty, cache.pool)


class Classifier:
    """x (N, 3, H, W) -> logits a (N, 2);  H, W multiples of 2^K, K = 5 stages."""

    class Cache(NamedTuple):
        stages: list[Stage.Cache]
        pooled: list[Array]  # z_1 .. z_K
        head: Any
        mean: Any

    def __init__(self, widths: tuple[int, ...], rng: np.random.Generator, dtype: Any, with_head: bool = True) -> None:
        channels = (3, *widths)
        self.stages = [Stage(c, o, rng, dtype) for c, o in pairwise(channels)]
        self.with_head = with_head
        if with_head:
            self.head = start_small(Conv2d(widths[-1], 2, 1, rng=rng, dtype=dtype))
        self.mean = GlobalAvgPool()

    def layers(self) -> dict[str, Layer]:
        named: dict[str, Layer] = {}
        for k, stage in enumerate(self.stages, 1):
            named[f"classifier.stage{k}.conv1"] = stage.conv1
            named[f"classifier.stage{k}.conv2"] = stage.conv2
        if self.with_head:
            named["classifier.score"] = self.head
        return named

    def forward(self, x: Array) -> tuple[Array, Cache]:
        """a (N, 2), or None without a head."""
        caches, pooled = [], []
        for stage in self.stages:
            x, cache = stage.forward(x)
            caches.append(cache)
            pooled.append(x)
        if not self.with_head:
            return None, self.Cache(caches, pooled, None, None)
        y, head = self.head.forward(x)
        a, mean = self.mean.forward(y)
        return a, self.Cache(caches, pooled, head, mean)

    def pooling_gradients(self, da: Array, cache: Cache) -> tuple[list[Array], Sent]:
        """Eq. (3): from the score's derivative da back to every pooling layer, touching no parameter.

        Returns g_1 .. g_K, g_k = d score / d z_k, and what this pass sent into each layer, for the second-order pass.
        """
        sent_head = self.mean.input_grad(da, cache.mean)
        g = [self.head.input_grad(sent_head, cache.head)]
        sent_stages: list[Any] = [None]  # nothing goes into stage 1: the pass stops at z_1
        for stage, stage_cache in zip(self.stages[:0:-1], cache.stages[:0:-1], strict=True):
            dx, sent = stage.input_grad(g[0], stage_cache)
            g.insert(0, dx)
            sent_stages.insert(1, sent)
        return g, (sent_stages, sent_head)

    def second_order(self, u: list[Array], sent: Sent, cache: Cache) -> Array:
        """The gradient of sum_k <u_k, g_k>, u_k held still, by one linearised forward pass.

        The sum is the derivative of the score when every z_k moves along u_k. So inject u_k at pool k and carry the
        tangent up; each convolution w that meets the tangent tx and Eq. (3)'s dy gets dw += conv_w(tx, dy).
        Returns ta (N, 2), the tangent that arrives at the logits; the caller adds the score's curvature along it.
        """
        sent_stages, sent_head = sent
        tz = u[0]
        for k in range(1, len(self.stages)):
            tz = self.stages[k].second_order(tz, sent_stages[k], cache.stages[k])
            tz = ops.add(tz, u[k])
        self.head.second_order(tz, sent_head, cache.head)
        return self.mean.tangent(self.head.tangent(tz, cache.head), cache.mean)

    def backward(
        self, da: Array | None, cache: Cache, dpooled: list[Array | None] | None = None,
        dfeatures: list[Array | None] | None = None,
    ) -> None:  # fmt: skip
        """da (N, 2) or None; dpooled, dfeatures: per stage, gradients that reached z_k and the features from elsewhere."""
        none: list[Array | None] = [None] * len(self.stages)
        dpooled, dfeatures = dpooled or none, dfeatures or none
        dz = None
        if da is not None:
            dz = self.head.backward(self.mean.backward(da, cache.mean), cache.head)
        for k in range(len(self.stages) - 1, -1, -1):
            dz = added(dz, dpooled[k])
            dz = self.stages[k].backward(dz, cache.stages[k], dfeatures[k], first=k == 0)


def added(a: Array | None, b: Array | None) -> Array | None:
    """a + b, where None is zero."""
    if a is None or b is None:
        return b if a is None else a
    return ops.add(a, b)
