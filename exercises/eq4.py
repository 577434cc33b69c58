"""Exercise eq4 (60 minutes; balanced_weight_grad is for those who want more): Eq. (4). See docs/backprop/6-eq4.md.

P = softmax of the logits over their two channels, gland and background; S the mask; f the prior; J = N H W pixels.
Three readings of the equation, all as means over the pixels:

    soft target        L = -(1/J) sum_j [ S_j f_j log P_g + (1 - S_j f_j) log P_b ]
    weight             L = -(1/J) sum_j [ S_j f_j log P_g + (1 - S_j) log P_b ]
    balanced weight    as weight, with f_j / m in f_j's place, m = sum_j S_j f_j / sum_j S_j in each image

s (N, 2, H, W) logits   S (N, H, W) in {0, 1}   f (N, H, W)   ->   ds (N, 2, H, W), df (N, H, W)

Check with:  python -m exercises.check eq4
"""

import numpy as np


def log_probabilities(s):
    """log P_g and log P_b, each (N, H, W), without overflow."""
    top = s.real.max(axis=1, keepdims=True)
    log_p = s - top - np.log(np.exp(s - top).sum(axis=1, keepdims=True))
    return log_p[:, 0], log_p[:, 1]


def soft_target(s, mask, f):
    log_gland, log_background = log_probabilities(s)
    return -(mask * f * log_gland + (1 - mask * f) * log_background).sum() / mask.size


def weight(s, mask, f):
    log_gland, log_background = log_probabilities(s)
    return -(mask * f * log_gland + (1 - mask) * log_background).sum() / mask.size


def balanced_weight(s, mask, f):
    m = (mask * f).sum(axis=(1, 2), keepdims=True) / mask.sum(axis=(1, 2), keepdims=True)
    return weight(s, mask, f / m)


def soft_target_grad(s, mask, f):
    """ds, df of soft_target."""
    raise NotImplementedError(
        "ds and df of the soft target: log P_g - log P_b = s_g - s_b, and dL/ds_g is P less its target"
    )


def weight_grad(s, mask, f):
    """ds, df of weight."""
    raise NotImplementedError("ds and df of the weight: now the two terms' weights S f and 1 - S do not add up to one")


def balanced_weight_grad(s, mask, f):
    """ds, df of balanced_weight."""
    raise NotImplementedError(
        "ds and df of the balanced weight: f_j enters through its own quotient, and through m of its image"
    )
