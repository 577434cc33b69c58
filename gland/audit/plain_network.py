"""The joint network again, from the paper's text as docs/equations.md reads it: the definitions of gland/ops/plain.py one after
the other, no backward pass, nothing else of the package but the values of its parameters.

Eq. (3) is taken by its definition: move one element of z_k, see how the score moves. Everything is analytic in
the weights, so a complex step through this file gives the gradient of L, through f and all, without any backward pass.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np

from gland.ops import plain

Array = Any
STAGES = 5
POOL = (2, 2), 2, 0  # window, stride, padding


def conv(x: Array, w: Array, b: Array | None) -> Array:
    """A convolution that keeps the size: zero padding K // 2."""
    return plain.conv(x, w, b, SimpleNamespace(stride=1, pad=w.shape[2] // 2, dilation=1, groups=1))


def double(x: Array, w: Array, b: Array) -> Array:
    """Transposed convolution 2x2 with stride 2: each pixel becomes a 2x2 block.  w (C, O, 2, 2)"""
    size = 2 * x.shape[2], 2 * x.shape[3]
    return plain.conv_x(x, w, SimpleNamespace(stride=2, pad=0, dilation=1, groups=1), size) + b[:, None, None]


class PlainJoint:
    """One image through the joint network. weights: path -> complex array, the package's names."""

    def __init__(self, weights: dict[str, Array], skip: bool = True) -> None:
        self.w, self.skip = weights, skip

    def _conv(self, path: str, x: Array, bias: bool = True) -> Array:
        return conv(x, self.w[path + ".w"], self.w[path + ".b"] if bias else None)

    def classify(self, x: Array) -> tuple[Array, list[Array], list[Array], list[Any]]:
        """Logits a, z_1..z_K, the features before each pool, and for every stage the signs and winners that were met."""
        pooled, features, met = [], [], []
        for k in range(1, STAGES + 1):
            on = []
            for m in (1, 2):
                x = self._conv(f"classifier.stage{k}.conv{m}", x)
                on.append(x.real > 0)
                x = np.where(on[-1], x, 0)
            features.append(x)
            x, winner = plain.max_pool(x, *POOL, False)
            pooled.append(x)
            met.append((on, winner))
        return self._conv("classifier.score", x).mean(axis=(2, 3)), pooled, features, met

    def moved_logits(self, k: int, tz: Array, met: list[Any]) -> Array:
        """How the logits move when z_k moves along each of tz (M, C, h, w): (M, 2)."""
        for stage in range(k + 1, STAGES + 1):
            on, winner = met[stage - 1]
            for m in (1, 2):
                tz = np.where(on[m - 1], self._conv(f"classifier.stage{stage}.conv{m}", tz, bias=False), 0)
            tz = plain.max_pool_t(tz, winner, *POOL)
        return self._conv("classifier.score", tz, bias=False).mean(axis=(2, 3))

    def eq3(self, x: Array, l: int, score: str) -> tuple[list[Array], list[Array]]:
        """f_k = d score / d z_k for every k, one element of z_k after the other, and z_k."""
        a, pooled, _, met = self.classify(x)
        (q,), g = plain.softmax(a), []
        for k, z in enumerate(pooled, 1):
            ta = self.moved_logits(k, np.eye(z.size, dtype=complex).reshape(z.size, *z.shape[1:]), met)
            margin = ta[:, l] - ta[:, 1 - l]
            moved = margin if score == "margin" else q[l] * (ta[:, l] - sum(q[m] * ta[:, m] for m in (0, 1)))
            g.append(moved.reshape(z.shape))
        return g, pooled

    def prior(self, x: Array, l: int, kind: str, score: str) -> Array:
        f: Array = 0
        for g, z in zip(*self.eq3(x, l, score)):
            v = g * z if kind == "gradient-activation" else g
            c = np.where(v.real > 0, v, 0).sum(axis=1, keepdims=True) / v.shape[1]
            f = f + plain.upsample_bilinear(c / c.ravel()[c.real.argmax()], x.shape[2:]) / STAGES
        return f

    def segment(self, x: Array, f: Array) -> tuple[Array, Array]:
        """Class logits (1, 2) and segmentation logits (1, 2, H, W)."""
        a, pooled, features, _ = self.classify(x)
        y = plain.concat([pooled[-1], plain.broadcast(plain.softmax(a), pooled[-1].shape[2:])])
        for k in range(STAGES, 0, -1):
            path = f"segmenter.stage{k}"
            y = double(y, self.w[path + ".deconv.w"], self.w[path + ".deconv.b"])
            y = self._conv(path + ".conv", plain.concat([y, features[k - 1]]) if self.skip else y)
            y = np.where(y.real > 0, y, 0)
        y = self._conv("segmenter.conv", plain.concat([y, x, f]))
        return a, self._conv("segmenter.score", np.where(y.real > 0, y, 0))


def joint_loss(
    weights: dict[str, Array], images: Array, masks: Array, labels: Array, lam: float, reading: str,
    kind: str = "gradient", score: str = "margin", priors: Array | None = None, skip: bool = True,
) -> Any:  # fmt: skip
    """Eq. (5) of a batch. priors: maps f to hold still (f detached); None computes them (f exact)."""
    net = PlainJoint(weights, skip)
    n_ = len(images)
    loss_class = loss_segmentation = 0
    for n in range(n_):
        x = images[n : n + 1]
        f = net.prior(x, labels[n], kind, score) if priors is None else priors[n : n + 1, None]
        a, s = net.segment(x, f)
        loss_class -= np.log(plain.softmax(a)[0, labels[n]]) / n_
        (p_gland, p_background), f = plain.softmax(s)[0], f[0, 0]
        gland, background = masks[n] * f, 1 - masks[n]
        if reading == "soft-target":
            background = 1 - masks[n] * f
        elif reading == "balanced-weight":
            gland = gland / ((masks[n] * f).sum() / masks[n].sum())
        loss_segmentation -= (gland * np.log(p_gland) + background * np.log(p_background)).mean() / n_
    return lam * loss_class + (1 - lam) * loss_segmentation
