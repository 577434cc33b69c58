"""The joint network again, from the paper's text as docs/equations.md reads it: loops over channels and kernel places, no
GEMM, no backward pass, nothing of the package but the values of its parameters.

Eq. (3) is taken by its definition: move one element of z_k, see how the score moves. Everything is analytic in
the weights, so a complex step through this file gives the gradient of L, through f and all, without any backward pass.
"""

from typing import Any

import numpy as np

Array = Any
STAGES = 5


def conv3(x: Array, w: Array, b: Array | None) -> Array:
    """x (..., C, H, W), w (O, C, K, K), zero padding K // 2."""
    k, (h, wd) = w.shape[2], x.shape[-2:]
    p = k // 2
    padded = np.zeros((*x.shape[:-2], h + 2 * p, wd + 2 * p), complex)
    padded[..., p : p + h, p : p + wd] = x
    y = np.zeros((*x.shape[:-3], w.shape[0], h, wd), complex)
    for c in range(w.shape[1]):
        for i in range(k):
            for j in range(k):
                y += w[:, c, i, j, None, None] * padded[..., c, None, i : i + h, j : j + wd]
    return y if b is None else y + b[:, None, None]


def double(x: Array, w: Array, b: Array) -> Array:
    """Transposed convolution 2x2 with stride 2: each pixel becomes a 2x2 block.  w (C, O, 2, 2)"""
    *lead, c_, h, wd = x.shape
    y = np.zeros((*lead, w.shape[1], 2 * h, 2 * wd), complex)
    for c in range(c_):
        for i in (0, 1):
            for j in (0, 1):
                y[..., i::2, j::2] += w[c, :, i, j, None, None] * x[..., c, None, :, :]
    return y + b[:, None, None]


def quarters(x: Array) -> Array:
    """The four pixels of every 2x2 block, along a new first axis."""
    return np.stack([x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)])


def stretch(x: Array, size: tuple[int, int]) -> Array:
    """Bilinear, centres at half-integers, edges repeated: x (h, w) -> size."""

    def taps(n: int, out: int) -> tuple[Array, Array, Array]:
        place = np.minimum(np.maximum((np.arange(out) * 2 + 1) * n / (2 * out) - 0.5, 0), n - 1)
        low = np.floor(place).astype(int)
        return low, np.minimum(low + 1, n - 1), place - low

    top, bottom, a = taps(x.shape[0], size[0])
    left, right, b = taps(x.shape[1], size[1])
    a = a[:, None]
    upper = x[top][:, left] * (1 - b) + x[top][:, right] * b
    lower = x[bottom][:, left] * (1 - b) + x[bottom][:, right] * b
    return upper * (1 - a) + lower * a


def softmax(a: Array) -> list[Array]:
    e = [np.exp(v) for v in a]
    return [v / sum(e) for v in e]


class PlainJoint:
    """One image through the joint network. weights: path -> complex array, the package's names."""

    def __init__(self, weights: dict[str, Array], skip: bool = True) -> None:
        self.w, self.skip = weights, skip

    def _stage_conv(self, k: int, m: int, x: Array) -> Array:
        return conv3(x, self.w[f"classifier.stage{k}.conv{m}.w"], self.w[f"classifier.stage{k}.conv{m}.b"])

    def classify(self, x: Array) -> tuple[Array, list[Array], list[Array], list[Any]]:
        """Logits a, z_1..z_K, the features before each pool, and for every stage the signs and winners that were met."""
        pooled, features, met = [], [], []
        for k in range(1, STAGES + 1):
            on = []
            for m in (1, 2):
                x = self._stage_conv(k, m, x)
                on.append(x.real > 0)
                x = np.where(on[-1], x, 0)
            features.append(x)
            four = quarters(x)
            winner = four.real.argmax(axis=0)
            x = np.take_along_axis(four, winner[None], 0)[0]
            pooled.append(x)
            met.append((on, winner))
        y = conv3(x, self.w["classifier.score.w"], self.w["classifier.score.b"])
        return y.mean(axis=(1, 2)), pooled, features, met

    def moved_logits(self, k: int, tz: Array, met: list[Any]) -> Array:
        """How the logits move when z_k moves along each of tz (M, C, h, w): (M, 2)."""
        for stage in range(k + 1, STAGES + 1):
            on, winner = met[stage - 1]
            for m in (1, 2):
                tz = np.where(on[m - 1], conv3(tz, self.w[f"classifier.stage{stage}.conv{m}.w"], None), 0)
            tz = np.take_along_axis(quarters(tz), winner[None, None], 0)[0]
        return conv3(tz, self.w["classifier.score.w"], None).mean(axis=(2, 3))

    def eq3(self, x: Array, l: int, score: str) -> tuple[list[Array], list[Array]]:
        """f_k = d score / d z_k for every k, one element of z_k after the other."""
        a, pooled, _, met = self.classify(x)
        g = []
        for k, z in enumerate(pooled, 1):
            ta = self.moved_logits(k, np.eye(z.size).reshape(z.size, *z.shape), met)
            if score == "margin":
                moved = ta[:, l] - ta[:, 1 - l]
            else:
                q = softmax(a)
                moved = q[l] * (ta[:, l] - sum(q[m] * ta[:, m] for m in (0, 1)))
            g.append(moved.reshape(z.shape))
        return g, pooled

    def prior(self, x: Array, l: int, kind: str, score: str) -> Array:
        g, pooled = self.eq3(x, l, score)
        f: Array = 0
        for g_k, z_k in zip(g, pooled):
            v = g_k * z_k if kind == "gradient-activation" else g_k
            c = np.where(v.real > 0, v, 0).sum(axis=0) / len(v)
            peak = c.ravel()[c.real.argmax()]
            f = f + stretch(c / peak, x.shape[1:]) / STAGES
        return f

    def segment(self, x: Array, f: Array) -> tuple[Array, Array]:
        """Class logits and segmentation logits (2, H, W)."""
        a, pooled, features, _ = self.classify(x)
        y = pooled[-1]
        q = softmax(a)
        y = np.concatenate([y, *(np.full((1, *y.shape[1:]), q[m]) for m in (0, 1))])
        for k in range(STAGES, 0, -1):
            path = f"segmenter.stage{k}"
            y = double(y, self.w[path + ".deconv.w"], self.w[path + ".deconv.b"])
            if self.skip:
                y = np.concatenate([y, features[k - 1]])
            y = conv3(y, self.w[path + ".conv.w"], self.w[path + ".conv.b"])
            y = np.where(y.real > 0, y, 0)
        y = conv3(np.concatenate([y, x, f[None]]), self.w["segmenter.conv.w"], self.w["segmenter.conv.b"])
        y = np.where(y.real > 0, y, 0)
        return a, conv3(y, self.w["segmenter.score.w"], self.w["segmenter.score.b"])


def joint_loss(
    weights: dict[str, Array], images: Array, masks: Array, labels: Array, lam: float, reading: str,
    kind: str = "gradient", score: str = "margin", priors: Array | None = None, skip: bool = True,
) -> Any:  # fmt: skip
    """Eq. (5) of a batch. priors: maps f to hold still (f detached); None computes them (f exact)."""
    net = PlainJoint(weights, skip)
    n_ = len(images)
    loss_class = loss_segmentation = 0
    for n in range(n_):
        f = net.prior(images[n], labels[n], kind, score) if priors is None else priors[n]
        a, s = net.segment(images[n], f)
        loss_class -= np.log(softmax(a)[labels[n]]) / n_
        p_gland, p_background = softmax(s)
        gland, background = masks[n] * f, 1 - masks[n]
        if reading == "soft-target":
            background = 1 - masks[n] * f
        elif reading == "balanced-weight":
            gland = gland / ((masks[n] * f).sum() / masks[n].sum())
        loss_segmentation -= (gland * np.log(p_gland) + background * np.log(p_background)).mean() / n_
    return lam * loss_class + (1 - lam) * loss_segmentation
