"""Solution of the exercise eq4."""

import numpy as np

from exercises.eq4 import balanced_weight, log_probabilities, soft_target, weight  # noqa: F401, given


def soft_target_grad(s, mask, f):
    log_gland, log_background = log_probabilities(s)
    ds_gland = (np.exp(log_gland) - mask * f) / mask.size
    return np.stack([ds_gland, -ds_gland], axis=1), mask * (log_background - log_gland) / mask.size


def weight_grad(s, mask, f):
    log_gland, _ = log_probabilities(s)
    ds_gland = ((mask * f + 1 - mask) * np.exp(log_gland) - mask * f) / mask.size
    return np.stack([ds_gland, -ds_gland], axis=1), -mask * log_gland / mask.size


def balanced_weight_grad(s, mask, f):
    glands = mask.sum(axis=(1, 2), keepdims=True)
    m = (mask * f).sum(axis=(1, 2), keepdims=True) / glands
    ds, e = weight_grad(s, mask, f / m)  # e = dL/d(f / m)
    return ds, (e - mask / glands * (e * f / m).sum(axis=(1, 2), keepdims=True)) / m
