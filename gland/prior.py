"""The class-specific spatial prior: Eq. (3), its combination into one map f, and the gradient of f.

Eq. (3) takes the derivative f_k of a class score at every pooling layer z_k. It is an ordinary backward pass that starts
at the score and stops at the pooling layers (`Classifier.pooling_gradients`); this file has its start, the score's own
derivative, and what follows: section 2.2's "upsampling and average pooling all activation maps".

    g_k = d score / d z_k      (N, C_k, H_k, W_k)
    c_k = mean over channels of the positive part of g_k, or of g_k z_k
    n_k = c_k / max c_k        per image, so that every pooling layer counts alike
    f   = mean over k of n_k, upsampled bilinearly to the image      (N, H, W) in [0, 1]

Readings, none of which the paper settles: the positive part is what makes f class-specific, since with two classes
dQ_benign/dz = -dQ_malignant/dz exactly; the division by the maximum takes away Eq. (3)'s vanishing magnitude as the
classifier grows sure.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gland import ops
from gland.ops import device

Array = Any


# Eq. (3)'s start: a score of class l as a function of the logits a (N, L), its derivative, and that derivative's own.


def probability_score_grad(logits: Array, l: Array) -> Array:
    """Eq. (3), literally:  dQ_l/da_m = Q_l (delta_lm - Q_m).   l (N,)  ->  (N, L)

    Right, with all that follows from it, to a margin of 80 between the logits in float32 and 700 in float64; then Q_l (1 - Q_l)
    underflows, and f with it.
    """
    q = ops.softmax(logits)
    one_hot = _one_hot(l, logits)
    return (q * one_hot).sum(axis=1, keepdims=True) * _from_others(q, one_hot)


def probability_score_curvature(logits: Array, l: Array, ta: Array) -> Array:
    """The gradient of <ta, dQ_l/da> in a:  Q_l [ (d_l - Q)(t_l - E t) - Q (t - E t) ],  E t = sum_m Q_m t_m, d_l one-hot."""
    q = ops.softmax(logits)
    one_hot = _one_hot(l, logits)
    q_l = (q * one_hot).sum(axis=1, keepdims=True)
    centred = (q[:, None] * (ta[:, :, None] - ta[:, None])).sum(axis=2)
    return q_l * (_from_others(q, one_hot) * (centred * one_hot).sum(axis=1, keepdims=True) - q * centred)


def _from_others(q: Array, one_hot: Array) -> Array:
    """d_l - Q, its l-th number 1 - Q_l as the sum of all others: as it stands it would be rounded to 0 where Q_l is nearly 1."""
    others = q * (1 - one_hot)
    return one_hot * others.sum(axis=1, keepdims=True) - others


def margin_score_grad(logits: Array, l: Array) -> Array:
    """d(a_l - mean of the other logits)/da. With two classes dQ_l/da is this times Q_l (1 - Q_l), a factor that the division
    by the maximum takes out: the same f, but the factor underflows in float32 where the classifier is very sure."""
    one_hot = _one_hot(l, logits)
    others = logits.shape[1] - 1
    return (one_hot * (1 + 1 / others) - 1 / others).astype(logits.dtype)


def margin_score_curvature(logits: Array, l: Array, ta: Array) -> Array:
    """0: the margin is linear in the logits."""
    return ops.zeros_like(ta)


class Score(NamedTuple):
    """What Eq. (3) differentiates."""

    grad: Callable[[Array, Array], Array]
    curvature: Callable[[Array, Array, Array], Array]


SCORES = {
    "margin": Score(margin_score_grad, margin_score_curvature),
    "probability": Score(probability_score_grad, probability_score_curvature),
}


# From the derivatives g_k to the map f, and back.


class Cache(NamedTuple):
    g: list[Array]
    z: list[Array]
    means: list[Array]  # c_k (N, 1, H_k, W_k)
    peaks: list[Array]  # place of max c_k in each image (N,)


@ops.fused(device.prior.gradient)
def gradient(g: Array, z: Array) -> Array:
    """c = mean over channels of max(g, 0).   g, z (N, C, H, W) -> (N, 1, H, W)"""
    return ops.relu(g).mean(axis=1, keepdims=True)


@ops.fused(device.prior.gradient_grad)
def gradient_grad(dc: Array, g: Array, z: Array) -> tuple[Array, Array | None]:
    """dg = dc / C where g > 0; z does not enter."""
    positive = g.real > 0
    return positive * (dc / g.shape[1]), None


@ops.fused(device.prior.gradient_activation)
def gradient_activation(g: Array, z: Array) -> Array:
    """c = mean over channels of max(g z, 0): what each activation contributes to the score, to first order."""
    return ops.relu(ops.multiply(g, z)).mean(axis=1, keepdims=True)


@ops.fused(device.prior.gradient_activation_grad)
def gradient_activation_grad(dc: Array, g: Array, z: Array) -> tuple[Array, Array | None]:
    """dg = z dc / C,  dz = g dc / C where g z > 0."""
    dp = (ops.multiply(g, z).real > 0) * (dc / g.shape[1])
    return dp * z, dp * g


PRIORS = {
    "gradient": (gradient, gradient_grad),
    "gradient-activation": (gradient_activation, gradient_activation_grad),
}


def combine(g: list[Array], z: list[Array], size: tuple[int, int], kind: str) -> tuple[Array, list[Array], Cache]:
    """f (N, *size) from the derivatives g_k and the activations z_k of every pooling layer; also the maps n_k (N, H_k, W_k)."""
    reduce, _ = PRIORS[kind]
    means = [reduce(g_k, z_k) for g_k, z_k in zip(g, z, strict=True)]
    peaks = [_peak(c) for c in means]
    maps = [_normalise(c, peak) for c, peak in zip(means, peaks, strict=True)]
    f = sum(ops.upsample_bilinear(n, size)[:, 0] for n in maps) / len(maps)
    return f, [n[:, 0] for n in maps], Cache(g, z, means, peaks)


def combine_grad(df: Array, cache: Cache, kind: str) -> tuple[list[Array], list[Array | None]]:
    """df (N, H, W) -> u_k = dL/dg_k and dL/dz_k (None where z does not enter), for every k."""
    _, reduce_grad = PRIORS[kind]
    dg, dz = [], []
    for g, z, c, peak in zip(*cache, strict=True):
        dn = ops.upsample_bilinear_x(df[:, None] / len(cache.g), c.shape[2:])
        u, v = reduce_grad(_normalise_grad(dn, c, peak), g, z)
        dg.append(u)
        dz.append(v)
    return dg, dz


@ops.fused(device.prior.peak)
def _peak(c: Array) -> Array:
    """The place of max c in each image (N,)."""
    return c.real.reshape(len(c), -1).argmax(axis=1)


@ops.fused(device.prior.normalise)
def _normalise(c: Array, peak: Array) -> Array:
    return c / _peak_value(c, peak)


@ops.fused(device.prior.normalise_grad)
def _normalise_grad(dn: Array, c: Array, peak: Array) -> Array:
    # n = c / M, M = c[peak]: every element gets dn / M, and the peak also pays for all, -sum(dn n) / M; M^2 would underflow
    m = _peak_value(c, peak)
    dc = (dn / m).reshape(len(c), -1)
    images = ops.like(np.arange(len(c)), c)
    all_pay = (dn * (c / m)).sum(axis=(1, 2, 3)) / m[:, 0, 0, 0]
    dc[images, peak] -= all_pay * (c.reshape(len(c), -1)[images, peak].real > 0)
    return dc.reshape(c.shape)


def _peak_value(c: Array, peak: Array) -> Array:
    """max c per image (N, 1, 1, 1), or 1 where the map is zero and there is nothing to divide."""
    m = c.reshape(len(c), -1)[ops.like(np.arange(len(c)), c), peak]
    return (m + (m.real == 0))[:, None, None, None]


@ops.fused(device.prior.one_hot)
def _one_hot(l: Array, logits: Array) -> Array:
    return (ops.like(np.arange(logits.shape[1]), logits) == l[:, None]).astype(logits.dtype)
