"""Eqs. (1), (2), (4), (5) and (6): each function and its gradient against the formula in 50 digits and a complex step."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gland import layers, loss, networks, prior
from gland.audit import plain
from gland.audit.evidence import Section
from gland.audit.numeric import complex_step
from gland.networks.multiloss import MultiLoss, Prediction

READINGS = {
    "soft-target": ("Eq. 4", r"L_s = - \sum_j \left[ S_j f_j \log P_g + (1 - S_j f_j) \log P_b \right]"),
    "weight": ("Eq. 4 w", r"L_s = - \sum_j \left[ S_j f_j \log P_g + (1 - S_j) \log P_b \right]"),
    "balanced-weight": (
        "Eq. 4 b",
        r"L_s = - \sum_j \left[ S_j \frac{f_j}{m} \log P_g + (1 - S_j) \log P_b \right], \quad m = \frac{\sum_j S_j "
        r"f_j}{\sum_j S_j}",
    ),
}


def sections() -> Iterator[tuple[str, Callable[[], Section]]]:
    yield "Eq. 1", eq1
    yield "Eq. 2", eq2
    for reading, (key, formula) in READINGS.items():
        yield key, lambda reading=reading, key=key, formula=formula: eq4(reading, key, formula)
    yield "Eq. 5", eq5
    yield "Eq. 6", eq6


def _pairs(section, d, numeric):
    section.scatter += list(zip(np.ravel(d).tolist(), np.ravel(numeric).tolist()))


def eq1() -> Section:
    section = Section(
        "Eq. 1", "Eq. 1: the class loss", r"L_c = - \sum_l y_l \log Q_l", [loss.class_loss], [loss.class_loss_grad]
    )
    section.notes = "The gradient by hand is dL_c/da = Q - y. A batch takes the mean over its images."
    rng = np.random.default_rng(1)
    a, label = 2 * rng.standard_normal((5, 2)), np.array([0, 1, 1, 0, 1])
    exact = plain.decimals(a.tolist())
    da = loss.class_loss_grad(a, label)
    section.compare(
        "formula",
        "the loss of five images, in 50 digits",
        loss.class_loss(a, label),
        float(plain.class_loss(exact, label.tolist())),
    )
    section.compare("formula", "(Q - y) / N, in 50 digits", da, plain.class_loss_grad(exact, label.tolist()))
    numeric = complex_step(lambda v: loss.class_loss(v, label), a)
    section.compare("gradient", "every logit", da, numeric)
    _pairs(section, da, numeric)
    sure = np.array([[800.0, -800.0]])
    section.compare("formula", "logits of +-800: no overflow, L_c = 1600", loss.class_loss(sure, np.array([1])), 1600.0)
    return section


def eq2() -> Section:
    cls = layers.Softmax
    section = Section(
        "Eq. 2", "Eq. 2: softmax", r"Q_l = \frac{\exp(a_l)}{\sum_m \exp(a_m)}", [cls.forward], [cls.input_grad]
    )
    section.notes = (
        "Here in the place where Eq. 3 uses it: the derivative of one score, and the derivative of that derivative."
    )
    rng = np.random.default_rng(2)
    a, l = 1.5 * rng.standard_normal((4, 2)), np.array([0, 1, 1, 0])
    q, _ = cls().forward(a)
    section.compare(
        "formula", "Q of four images, in 50 digits", q, [plain.softmax_of(v) for v in plain.decimals(a.tolist())]
    )
    rows = np.arange(4)

    def margin(v):
        return (v[rows, l] - v[rows, 1 - l]).sum()

    def probability(v):
        return cls().forward(v)[0][rows, l].sum()

    sure, first = np.array([[20.0, -20.0]]), np.array([0])
    q_0, q_1 = plain.softmax_of(plain.decimals(sure.tolist())[0])
    section.compare(
        "formula", "dQ_l/da where 1 - Q_l is 4e-18, in 50 digits",
        prior.probability_score_grad(sure, first), [[q_0 * q_1, -q_0 * q_1]],
    )  # fmt: skip
    for name, score in (("probability", probability), ("margin", margin)):
        grad, curvature = prior.SCORES[name]
        numeric = complex_step(score, a)
        section.compare("gradient", f"dQ_l/da, score {name}", grad(a, l), numeric)
        _pairs(section, grad(a, l), numeric)
        ta = rng.standard_normal(a.shape)
        numeric = complex_step(lambda v, ta=ta, grad=grad: (ta * grad(v, l)).sum(), a)
        if name == "margin":
            section.add(
                "second",
                "the margin is linear: no curvature",
                float(np.abs(curvature(a, l, ta)).max() + np.abs(numeric).max()),
            )
        else:
            section.compare("second", "the gradient of <ta, dQ_l/da>", curvature(a, l, ta), numeric)
    return section


def example(rng: np.random.Generator) -> tuple[Any, Any, Any]:
    """Logits, a mask and a prior of three 4x5 images; the last image has no gland."""
    logits, f = 2 * rng.standard_normal((3, 2, 4, 5)), rng.random((3, 4, 5))
    mask = (rng.random((3, 4, 5)) < 0.5).astype(float)
    mask[2] = 0
    return logits, mask, f


def eq4(reading: str, key: str, formula: str) -> Section:
    value, gradient = loss.SEGMENTATION_LOSSES[reading]
    section = Section(key, f"Eq. 4 read as {reading}", formula, [value], [gradient])
    section.notes = (
        "A mean over pixels where the paper has the sum. The closed form of the gradient is transcribed as well."
    )
    logits, mask, f = example(np.random.default_rng(4))
    a, s, v = (plain.decimals(x.tolist()) for x in (logits, mask, f))
    of_plain = {
        "soft-target": plain.soft_target_loss,
        "weight": plain.weight_loss,
        "balanced-weight": plain.balanced_weight_loss,
    }
    section.compare(
        "formula", "the loss of three images, in 50 digits", value(logits, mask, f), float(of_plain[reading](a, s, v))
    )
    ds, df = gradient(logits, mask, f)
    if reading == "soft-target":
        plain_ds, plain_df = plain.soft_target_loss_grad(a, s, v)
        section.compare("formula", "dL/df in closed form, in 50 digits", df, plain_df)
    elif reading == "weight":
        plain_ds, plain_df = plain.weight_loss_grad(a, s, v)
        section.compare("formula", "dL/df in closed form, in 50 digits", df, plain_df)
    else:
        plain_ds, _ = plain.weight_loss_grad(a, s, plain.balanced(s, v))
    section.compare("formula", "dL/ds in closed form, in 50 digits", ds, plain_ds)
    for name, d, numeric in (
        ("s", ds, complex_step(lambda x: value(x, mask, f), logits)),
        ("f", df, complex_step(lambda x: value(logits.astype(complex), mask, x), f)),
    ):
        section.compare("gradient", f"dL/d{name}, every element", d, numeric)
        _pairs(section, d, numeric)
    none = gradient(logits, mask, f * 0)
    section.add(
        "state", "f = 0 everywhere gives finite gradients", 0 if all(np.isfinite(d).all() for d in none) else np.inf
    )
    return section


def eq5() -> Section:
    section = Section(
        "Eq. 5",
        "Eq. 5: the joint loss",
        r"L = \lambda L_c + (1 - \lambda) L_s",
        [loss.joint_loss],
        [MultiLoss.loss_and_grad],
    )
    section.notes = (
        "The gradient's two weights are applied in loss_and_grad; the joint gradient below shows that they are."
    )
    for lam, loss_class, loss_segmentation in ((0.5, 0.7, 1.9), (0.2, 0.3, 4.0)):
        expected = plain.Fraction(lam) * plain.Fraction(loss_class) + (1 - plain.Fraction(lam)) * plain.Fraction(
            loss_segmentation
        )
        section.compare(
            "formula", f"lambda {lam}", loss.joint_loss(loss_class, loss_segmentation, lam), float(expected)
        )
        d = np.imag(loss.joint_loss(loss_class + 1e-30j, loss_segmentation, lam)) / 1e-30
        section.compare("gradient", f"dL/dL_c = lambda = {lam}", d, lam)
        d = np.imag(loss.joint_loss(loss_class, loss_segmentation + 1e-30j, lam)) / 1e-30
        section.compare("gradient", f"dL/dL_s = 1 - lambda = {1 - lam}", d, 1 - lam)
    return section


def eq6() -> Section:
    section = Section(
        "Eq. 6",
        "Eq. 6: gland where its probability is the larger",
        r"\hat{S}_j = \arg \max \{ P_g(x_j), P_b(x_j) \}",
        [MultiLoss.predict, Prediction.gland_mask],
    )
    section.notes = "P_g > P_b is the same as P_g > 1/2 and as s_g > s_b. It has no gradient. Ties count as background."
    rng = np.random.default_rng(6)
    net = networks.MultiLoss(width=1, seed=6, dtype=np.float64)
    image = rng.standard_normal((1, 3, 32, 64))
    ours = net.predict(image).gland_mask()
    logits = net.forward(image).seg_logits[0].tolist()
    by_loop = [[p > q for p, q in zip(*lines)] for lines in zip(*logits)]
    changed = int((ours[0] != np.array(by_loop)).sum())
    section.add("formula", f"{ours.size} pixels, {int(ours.sum())} of them gland: pixels that differ", changed)
    section.add("formula", "both classes occur among them", 0 if 0 < ours.sum() < ours.size else np.inf)
    tie = Prediction(None, np.full((1, 1, 1), 0.5), None, ())
    section.claim("a tie is background", not tie.gland_mask().any())
    return section
