"""Eqs. (1), (2), (4) and (5) against the paper's sums written as loops, their gradients against the complex step."""

import math

import numpy as np
import pytest

from gland import loss
from gland.gradcheck import check_function

READINGS = sorted(loss.SEGMENTATION_LOSSES)
RNG = np.random.default_rng(0)
LOGITS = RNG.standard_normal((2, 2, 4, 5))
MASK = (RNG.random((2, 4, 5)) > 0.4).astype(float)
F = RNG.random((2, 4, 5))


def looped(reading, logits, mask, f):
    """-(1/J) sum_j [ t_g log P_g + t_b log P_b ], pixel by pixel, with math's own functions."""
    total = 0.0
    for n, i, j in np.ndindex(*mask.shape):
        glands = [f[n, k, l] for k in range(4) for l in range(5) if mask[n, k, l]]
        g, b, s = math.exp(logits[n, 0, i, j]), math.exp(logits[n, 1, i, j]), mask[n, i, j]
        if reading == "soft-target":
            gland, background = s * f[n, i, j], 1 - s * f[n, i, j]
        else:
            mean = sum(glands) / len(glands) if reading == "balanced-weight" else 1
            gland, background = s * f[n, i, j] / mean, 1 - s
        total += gland * math.log(g / (g + b)) + background * math.log(b / (g + b))
    return -total / mask.size


@pytest.mark.parametrize("reading", READINGS)
def test_eq4_matches_a_plain_loop(reading):
    value = loss.SEGMENTATION_LOSSES[reading][0](LOGITS, MASK, F)
    assert value == pytest.approx(looped(reading, LOGITS, MASK, F), rel=1e-13)


def test_eqs_1_and_2_match_a_plain_loop():
    logits, label = RNG.standard_normal((3, 2)), np.array([0, 1, 1])
    total = 0.0
    for a, y in zip(logits, label, strict=True):
        total -= math.log(math.exp(a[y]) / (math.exp(a[0]) + math.exp(a[1])))
    assert loss.class_loss(logits, label) == pytest.approx(total / 3, rel=1e-13)


def test_eq5_weighs_by_lambda():
    assert loss.joint_loss(2.0, 10.0, 0.25) == 0.25 * 2 + 0.75 * 10


@pytest.mark.parametrize("reading", READINGS)
def test_eq4_gradients_in_the_logits_and_in_f(reading):
    value, grad = loss.SEGMENTATION_LOSSES[reading]
    check_function(lambda s: value(s, MASK, F), lambda s: grad(s, MASK, F)[0], LOGITS).assert_ok()
    check_function(lambda f: value(LOGITS + 0j, MASK, f), lambda f: grad(LOGITS, MASK, f)[1], F).assert_ok()


def test_eq1_gradient():
    logits, label = RNG.standard_normal((3, 2)), np.array([1, 0, 1])
    check_function(lambda a: loss.class_loss(a, label), lambda a: loss.class_loss_grad(a, label), logits).assert_ok()


@pytest.mark.parametrize("reading", READINGS)
def test_huge_logits_neither_overflow_nor_take_log_of_zero(reading):
    value, grad = loss.SEGMENTATION_LOSSES[reading]
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        for sign in (1, -1):
            logits = sign * 1e4 * np.sign(LOGITS)
            assert np.isfinite(value(logits, MASK, F))
            assert all(np.isfinite(g).all() for g in grad(logits, MASK, F))


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("mask", [np.zeros_like(MASK), np.ones_like(MASK)], ids=["no gland", "all gland"])
@pytest.mark.parametrize("f", [np.zeros_like(F), np.ones_like(F)], ids=["f = 0", "f = 1"])
def test_empty_and_full_masks_and_priors_are_finite_and_still_right(reading, mask, f):
    value, grad = loss.SEGMENTATION_LOSSES[reading]
    assert np.isfinite(value(LOGITS, mask, f))
    check_function(lambda s: value(s, mask, f), lambda s: grad(s, mask, f)[0], LOGITS).assert_ok()
    assert np.isfinite(grad(LOGITS, mask, f)[1]).all()


def test_balanced_weights_average_one_over_the_glands():
    # with P = 1/2 everywhere the loss is log 2 per pixel, whatever f is
    value = loss.balanced_weight_loss(np.zeros_like(LOGITS), MASK, F)
    assert value == pytest.approx(math.log(2))
    assert loss.weight_loss(np.zeros_like(LOGITS), MASK, F) < value
    assert loss.balanced_weight_loss(LOGITS, MASK, 7 * F) == pytest.approx(loss.balanced_weight_loss(LOGITS, MASK, F))


def test_f_of_one_makes_every_reading_the_ordinary_cross_entropy():
    values = {loss.SEGMENTATION_LOSSES[r][0](LOGITS, MASK, np.ones_like(F)).round(13) for r in READINGS}
    assert len(values) == 1


def test_the_minimiser_of_the_soft_target_is_s_times_f():
    p = MASK * F * 0.98 + 0.01
    logits = np.stack([np.log(p), np.log(1 - p)], axis=1)
    ds, _ = loss.soft_target_loss_grad(logits, np.ones_like(p), p)
    assert np.abs(ds).max() < 1e-16


MISTAKES = {
    "the sum's gradient for the mean": lambda s: loss.weight_loss_grad(s, MASK, F)[0] * MASK.size,
    "sign": lambda s: -loss.weight_loss_grad(s, MASK, F)[0],
    "mask inverted": lambda s: loss.weight_loss_grad(s, 1 - MASK, F)[0],
    "channels exchanged": lambda s: loss.weight_loss_grad(s, MASK, F)[0][:, ::-1],
    "another reading": lambda s: loss.soft_target_loss_grad(s, MASK, F)[0],
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_planted_mistake_in_the_gradient_is_caught(mistake):
    assert not check_function(lambda s: loss.weight_loss(s, MASK, F), mistake, LOGITS).ok
