"""Eqs. (1), (2), (4) and (5), each a function and the gradient of that function.

logits a (N, 2) of the classes benign, malignant; logits s (N, 2, H, W) of the channels gland, background; S (N, H, W) in
{0, 1}, the gland mask, of any kind of number; f (N, H, W) in [0, 1], the prior; J = N H W, the number of pixels. Two departures
from the paper hold for all: a batch takes the mean over its images (the paper's batch is 1), and L_s is the mean over pixels
where the paper has the sum, since at 224 x 224 pixels the sum is 34,779 at P = 0.5 beside an L_c of 0.69, and lambda = 1/2 does
not balance those.

Everything is computed from log-probabilities, so nothing overflows and no logarithm of 0 is taken.
"""

from typing import Any

import numpy as np

from gland import ops
from gland.ops import device

Array = Any


@ops.fused(device.loss.class_loss)
def class_loss(logits: Array, label: Array) -> Array:
    """Eqs. (1), (2):  L_c = -(1/N) sum_n log Q_y,  Q = softmax(a).   label y (N,) in {0, 1}"""
    return -(_one_hot(label, logits) * ops.log_softmax(logits)).sum() / len(logits)


@ops.fused(device.loss.class_loss_grad)
def class_loss_grad(logits: Array, label: Array) -> Array:
    """dL_c/da = (1/N) (Q - y), y one-hot."""
    return (ops.softmax(logits) - _one_hot(label, logits)) / len(logits)


@ops.fused(device.loss.soft_target_loss)
def soft_target_loss(logits: Array, mask: Array, f: Array) -> Array:
    """Eq. (4), its minus read as covering the whole sum:

        L_s = -(1/J) sum_j [ S_j f_j log P_g + (1 - S_j f_j) log P_b ]

    Its minimiser is P_g = S f, so with Eq. (6) a pixel is gland only where f > 1/2.
    Departs from paper: mean over pixels; the leading minus, which as typeset covers only the first term and leaves the loss
    unbounded below.
    """
    mask = _binary(mask, logits)
    return _cross_entropy(logits, mask * f, 1 - mask * f)


@ops.fused(device.loss.soft_target_loss_grad)
def soft_target_loss_grad(logits: Array, mask: Array, f: Array) -> tuple[Array, Array]:
    """dL_s/ds_g = (1/J) (P_g - S f) = -dL_s/ds_b;   dL_s/df = (1/J) S (log P_b - log P_g)"""
    mask = _binary(mask, logits)
    log_gland, log_background = _log_probabilities(logits)
    df = mask * (log_background - log_gland) / mask.size
    return _cross_entropy_grad(logits, mask * f, 1 - mask * f), df


@ops.fused(device.loss.weight_loss)
def weight_loss(logits: Array, mask: Array, f: Array) -> Array:
    """Eq. (4), f read as a weight on the gland pixels:

        L_s = -(1/J) sum_j [ S_j f_j log P_g + (1 - S_j) log P_b ]

    Departs from paper: mean over pixels; S f weights the gland term only, since the paper's target S f forbids glands
    wherever f < 1/2.
    """
    mask = _binary(mask, logits)
    return _cross_entropy(logits, mask * f, 1 - mask)


@ops.fused(device.loss.weight_loss_grad)
def weight_loss_grad(logits: Array, mask: Array, f: Array) -> tuple[Array, Array]:
    """dL_s/ds = (1/J) [ w P - t ],  t = (S f, 1 - S),  w = t_g + t_b;   dL_s/df = -(1/J) S log P_g"""
    mask = _binary(mask, logits)
    log_gland, _ = _log_probabilities(logits)
    return _cross_entropy_grad(logits, mask * f, 1 - mask), -mask * log_gland / mask.size


@ops.fused(device.loss.balanced_weight_loss)
def balanced_weight_loss(logits: Array, mask: Array, f: Array) -> Array:
    """Eq. (4), f read as a weight that averages one over each image's gland pixels:

        L_s = -(1/J) sum_j [ S_j (f_j / m) log P_g + (1 - S_j) log P_b ],   m = sum_j S_j f_j / sum_j S_j  per image

    Departs from paper: as weight_loss, and divided by m, since f averages well below 1 and would starve the gland class.
    An image whose f vanishes on every gland pixel weighs them all 1.
    """
    mask = _binary(mask, logits)
    weight, _, _ = _balanced(mask, f)
    return _cross_entropy(logits, mask * weight, 1 - mask)


@ops.fused(device.loss.balanced_weight_loss_grad)
def balanced_weight_loss_grad(logits: Array, mask: Array, f: Array) -> tuple[Array, Array]:
    """dL_s/ds as for weight_loss with f / m in f's place;   with e_j = -(1/J) S_j log P_g, and G = sum_j S_j per image,

    dL_s/df_j = (1/m) [ e_j - (S_j / G) sum_i e_i f_i / m ]
    """
    mask = _binary(mask, logits)
    weight, m, usable = _balanced(mask, f)
    log_gland, _ = _log_probabilities(logits)
    e = -mask * log_gland / mask.size
    glands = np.maximum(mask.sum(axis=(1, 2), keepdims=True).real, 1)
    df = (e - mask / glands * (e * weight).sum(axis=(1, 2), keepdims=True)) / m
    return _cross_entropy_grad(logits, mask * weight, 1 - mask), df * usable


def joint_loss(loss_class: Array, loss_segmentation: Array, lam: float) -> Array:
    """Eq. (5):  L = lambda L_c + (1 - lambda) L_s"""
    return lam * loss_class + (1 - lam) * loss_segmentation


SEGMENTATION_LOSSES = {
    "balanced-weight": (balanced_weight_loss, balanced_weight_loss_grad),
    "weight": (weight_loss, weight_loss_grad),
    "soft-target": (soft_target_loss, soft_target_loss_grad),
}


def _one_hot(label: Array, logits: Array) -> Array:
    """(N, L) bool. Raises ValueError where a label is no class."""
    if label.shape != logits.shape[:1] or not np.isin(label, np.arange(logits.shape[1])).all():
        raise ValueError(f"label must be {len(logits)} whole numbers from 0 to {logits.shape[1] - 1}")
    return np.arange(logits.shape[1]) == label[:, None]


def _binary(mask: Array, logits: Array) -> Array:
    """The mask S, of any kind of number, in the logits' precision. Raises ValueError where it is no mask."""
    if mask.shape != (len(logits), *logits.shape[2:]) or not ((mask == 0) | (mask == 1)).all():
        raise ValueError(f"mask must have the shape {(len(logits), *logits.shape[2:])} and hold nothing but 0 and 1")
    return mask.real.astype(logits.real.dtype, copy=False)


def _log_probabilities(logits: Array) -> tuple[Array, Array]:
    """log P_g and log P_b from d = s_g - s_b:  log P_g = min(d, 0) - log(1 + exp(-|d|)),  log P_b = log P_g - d"""
    d = logits[:, 0] - logits[:, 1]
    below = d * (d.real < 0)
    log_gland = below - np.log1p(np.exp(2 * below - d))
    return log_gland, log_gland - d


def _cross_entropy(logits: Array, gland: Array, background: Array) -> Array:
    """-(1/J) sum_j [ t_g log P_g + t_b log P_b ] with weights t = (gland, background), each (N, H, W)"""
    log_gland, log_background = _log_probabilities(logits)
    return -(gland * log_gland + background * log_background).sum() / gland.size


def _cross_entropy_grad(logits: Array, gland: Array, background: Array) -> Array:
    """(1/J) [ w P - t ], w = t_g + t_b; the two channels' gradients sum to zero"""
    log_gland, _ = _log_probabilities(logits)
    ds = np.empty_like(logits)
    ds[:, 0] = ((gland + background) * np.exp(log_gland) - gland) / gland.size
    ds[:, 1] = -ds[:, 0]
    return ds


def _balanced(mask: Array, f: Array) -> tuple[Array, Array, Array]:
    """f / m; m (N, 1, 1), the mean of f over the image's gland pixels; and whether there is such a mean, else the weight is 1."""
    inside = (mask * f).sum(axis=(1, 2), keepdims=True)
    glands = mask.sum(axis=(1, 2), keepdims=True)
    usable = inside.real > 0
    m = (inside + ~usable) / (glands + (glands.real == 0))
    return f / m * usable + ~usable, m, usable
