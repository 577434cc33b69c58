"""The right half of the network: the classifier mirrored. Five times a stride-2 deconvolution and a 3x3 convolution lead
from z_K back to the image's size, where two last convolutions also see the image and the prior."""

from typing import Any, NamedTuple

import numpy as np

from gland import ops
from gland.layers import Conv2d, ConvReLU, Deconv2d, Layer, start_small

Array = Any
Risen = tuple[Array, list[int], list[Any]]


class UpStage:
    """A stride-2 deconvolution, the encoder's features of the same size beside it, a 3x3 convolution with ReLU."""

    class Cache(NamedTuple):
        deconv: Any
        conv: Any
        channels: list[int]

    def __init__(self, c: int, o: int, skip: int, rng: np.random.Generator, dtype: Any) -> None:
        self.deconv = Deconv2d(c, o, 2, stride=2, rng=rng, dtype=dtype)
        self.conv = ConvReLU(o + skip, o, 3, pad=1, rng=rng, dtype=dtype)

    def forward(self, x: Array, features: Array | None = None) -> tuple[Array, Cache]:
        y, deconv = self.deconv.forward(x)
        joined = [y] if features is None else [y, features]
        y, conv = self.conv.forward(ops.concat(joined))
        return y, self.Cache(deconv, conv, [a.shape[1] for a in joined])

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Array | None]:
        dy, *dfeatures = ops.split(self.conv.backward(dy, cache.conv), cache.channels)
        return self.deconv.backward(dy, cache.deconv), (dfeatures or [None])[0]


class Segmenter:
    """z_K (N, C, h, w), scores q (N, 2), features of K stages, image x (N, 3, H, W), prior f (N, H, W) -> logits (N, 2, H, W)

    q, features and f may each be None: the network without them has the same parts, less their channels.
    """

    class Cache(NamedTuple):
        bottom: list[int]
        stages: list[UpStage.Cache]
        top: list[int]
        conv: Any
        head: Any

    def __init__(
        self, widths: tuple[int, ...], rng: np.random.Generator, dtype: Any,
        use_scores: bool = True, use_prior: bool = True, skip: bool = True,
    ) -> None:  # fmt: skip
        outputs = widths[::-1]
        inputs = (widths[-1] + 2 * use_scores, *outputs)
        self.stages = [UpStage(c, o, o if skip else 0, rng, dtype) for c, o in zip(inputs, outputs, strict=False)]
        self.conv = ConvReLU(outputs[-1] + 3 + use_prior, outputs[-1], 3, pad=1, rng=rng, dtype=dtype)
        self.head = start_small(Conv2d(outputs[-1], 2, 3, pad=1, rng=rng, dtype=dtype))

    def layers(self) -> dict[str, Layer]:
        named: dict[str, Layer] = {}
        for k, stage in enumerate(self.stages):
            named[f"segmenter.stage{len(self.stages) - k}.deconv"] = stage.deconv
            named[f"segmenter.stage{len(self.stages) - k}.conv"] = stage.conv
        return named | {"segmenter.conv": self.conv, "segmenter.score": self.head}

    def forward(
        self, z: Array, q: Array | None, features: list[Array] | None, x: Array, f: Array | None
    ) -> tuple[Array, Cache]:
        return self.finish(self.rise(z, q, features), x, f)

    def rise(self, z: Array, q: Array | None, features: list[Array] | None) -> Risen:
        """The stages, which need neither x nor f: y (N, O, H, W), the channels at the bottom, every stage's cache."""
        bottom = [z] if q is None else [z, ops.broadcast(q, z.shape[2:])]
        y = ops.concat(bottom)
        caches = []
        features = features or [None] * len(self.stages)
        for stage, skip in zip(self.stages, reversed(features), strict=True):
            y, cache = stage.forward(y, skip)
            caches.append(cache)
        return y, [a.shape[1] for a in bottom], caches

    def finish(self, risen: Risen, x: Array, f: Array | None) -> tuple[Array, Cache]:
        """The last two convolutions."""
        y, bottom, caches = risen
        top = [y, x] if f is None else [y, x, f[:, None]]
        y, conv = self.conv.forward(ops.concat(top))
        logits, head = self.head.forward(y)
        return logits, self.Cache(bottom, caches, [a.shape[1] for a in top], conv, head)

    def backward(self, dlogits: Array, cache: Cache) -> tuple[Array, Array | None, list[Array | None], Array | None]:
        """dz (N, C, h, w), dq (N, 2), dfeatures of stages 1 .. K, df (N, H, W); None for what forward was not given."""
        dy = self.conv.backward(self.head.backward(dlogits, cache.head), cache.conv)
        dy, _, *df = ops.split(dy, cache.top)
        dfeatures = []
        for stage, stage_cache in zip(reversed(self.stages), reversed(cache.stages), strict=True):
            dy, dskip = stage.backward(dy, stage_cache)
            dfeatures.append(dskip)
        dz, *dq = ops.split(dy, cache.bottom)
        # forward: q was repeated at every position, f had one channel
        return dz, ops.spatial_sum(dq[0]) if dq else None, dfeatures, df[0][:, 0] if df else None
