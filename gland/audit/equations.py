"""Eqs. (1), (2), (4), (5) and (6): each function and its gradient against the formula in 50 digits and a complex step."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from gland import layers, loss, networks, prior
from gland.audit import plain
from gland.audit.evidence import Section
from gland.audit.plain import decimals
from gland.gradcheck import complex_step
from gland.networks.multiloss import MultiLoss, Prediction

Array = Any
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
        yield key, partial(eq4, reading, key, formula)
    yield "Eq. 5", eq5
    yield "Eq. 6", eq6


def eq1() -> Section:
    formula = r"L_c = - \sum_l y_l \log Q_l"
    section = Section("Eq. 1", "Eq. 1: the class loss", formula, [loss.class_loss], [loss.class_loss_grad])
    section.notes = "The gradient by hand is dL_c/da = Q - y. A batch takes the mean over its images."
    a, label = 2 * np.random.default_rng(1).standard_normal((5, 2)), np.array([0, 1, 1, 0, 1])
    value, da = loss.class_loss(a, label), loss.class_loss_grad(a, label)
    section.compare("formula", "the loss of five images, in 50 digits", value, plain.class_loss(decimals(a), label))
    section.compare("formula", "(Q - y) / N, in 50 digits", da, plain.class_loss_grad(decimals(a), label))
    section.gradient("every logit", da, complex_step(lambda v: loss.class_loss(v, label), a))
    sure = np.array([[800.0, -800.0]])
    section.compare("formula", "logits of +-800: no overflow, L_c = 1600", loss.class_loss(sure, np.array([1])), 1600.0)
    return section


def eq2() -> Section:
    cls, formula = layers.Softmax, r"Q_l = \frac{\exp(a_l)}{\sum_m \exp(a_m)}"
    section = Section("Eq. 2", "Eq. 2: softmax", formula, [cls.forward], [cls.input_grad])
    section.notes = (
        "Here in the place where Eq. 3 uses it: the derivative of one score, and the derivative of that derivative."
    )
    rng = np.random.default_rng(2)
    a, l, rows = 1.5 * rng.standard_normal((4, 2)), np.array([0, 1, 1, 0]), np.arange(4)
    section.compare("formula", "Q of four images, in 50 digits", cls().forward(a)[0], plain.softmax(decimals(a)))
    sure, first = np.array([[20.0, -20.0]]), np.array([0])
    product = plain.softmax(decimals(sure)).prod()
    section.compare(
        "formula", "dQ_l/da where 1 - Q_l is 4e-18, in 50 digits",
        prior.probability_score_grad(sure, first), np.array([[product, -product]]),
    )  # fmt: skip
    scores: dict[str, Callable[[Array], Array]] = {
        "probability": lambda v: cls().forward(v)[0][rows, l].sum(),
        "margin": lambda v: (v[rows, l] - v[rows, 1 - l]).sum(),
    }
    for name, score in scores.items():
        grad, curvature = prior.SCORES[name]
        section.gradient(f"dQ_l/da, score {name}", grad(a, l), complex_step(score, a))
        ta = rng.standard_normal(a.shape)

        def moved(v: Array, ta: Array = ta, grad: Callable[..., Array] = grad) -> Array:
            return (ta * grad(v, l)).sum()

        by_hand, numeric = curvature(a, l, ta), complex_step(moved, a)
        if name == "margin":
            both = float(np.abs(by_hand).max() + np.abs(numeric).max())
            section.add("second", "the margin is linear: no curvature", both)
        else:
            section.compare("second", "the gradient of <ta, dQ_l/da>", by_hand, numeric)
    return section


def example(rng: np.random.Generator) -> tuple[Array, Array, Array]:
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
    a, s, v = decimals(logits), decimals(mask), decimals(f)
    plainly = getattr(plain, reading.replace("-", "_") + "_loss")(a, s, v)
    section.compare("formula", "the loss of three images, in 50 digits", value(logits, mask, f), plainly)
    ds, df = gradient(logits, mask, f)
    if reading == "balanced-weight":
        plain_ds, _ = plain.weight_loss_grad(a, s, plain.balanced(s, v))
    else:
        plain_ds, plain_df = getattr(plain, reading.replace("-", "_") + "_loss_grad")(a, s, v)
        section.compare("formula", "dL/df in closed form, in 50 digits", df, plain_df)
    section.compare("formula", "dL/ds in closed form, in 50 digits", ds, plain_ds)
    section.gradient("dL/ds, every element", ds, complex_step(lambda x: value(x, mask, f), logits))
    section.gradient("dL/df, every element", df, complex_step(lambda x: value(logits.astype(complex), mask, x), f))
    finite = all(np.isfinite(d).all() for d in gradient(logits, mask, f * 0))
    section.unchanged("f = 0 everywhere gives finite gradients", finite)
    return section


def eq5() -> Section:
    formula = r"L = \lambda L_c + (1 - \lambda) L_s"
    section = Section("Eq. 5", "Eq. 5: the joint loss", formula, [loss.joint_loss], [MultiLoss.loss_and_grad])
    section.notes = (
        "The gradient's two weights are applied in loss_and_grad; the joint gradient below shows that they are."
    )
    for lam, loss_class, loss_segmentation in ((0.5, 0.7, 1.9), (0.2, 0.3, 4.0)):
        l, c, s = plain.exact([lam, loss_class, loss_segmentation])
        ours = loss.joint_loss(loss_class, loss_segmentation, lam)
        section.compare("formula", f"lambda {lam}", ours, l * c + (1 - l) * s)

        def joint_loss(both: Array, lam: float = lam) -> Array:
            return loss.joint_loss(both[0], both[1], lam)

        d = complex_step(joint_loss, np.array([loss_class, loss_segmentation]))
        section.compare("gradient", f"dL/dL_c = lambda = {lam}", d[0], lam)
        section.compare("gradient", f"dL/dL_s = 1 - lambda = {1 - lam}", d[1], 1 - lam)
    return section


def eq6() -> Section:
    title, formula = (
        "Eq. 6: gland where its probability is the larger",
        r"\hat{S}_j = \operatorname{arg} \max \{ P_g(x_j), P_b(x_j) \}",
    )
    section = Section("Eq. 6", title, formula, [MultiLoss.predict, Prediction.gland_mask])
    section.notes = "P_g > P_b is the same as P_g > 1/2 and as s_g > s_b. It has no gradient. Ties count as background."
    rng = np.random.default_rng(6)
    net = networks.MultiLoss(width=1, seed=6, dtype=np.float64)
    image = rng.standard_normal((1, 3, 32, 64))
    ours = net.predict(image).gland_mask()
    logits = np.asarray(net.forward(image).seg_logits)[0].tolist()
    by_loop = [[p > q for p, q in zip(*lines)] for lines in zip(*logits)]
    changed = int((ours[0] != np.array(by_loop)).sum())
    section.add("formula", f"{ours.size} pixels, {int(ours.sum())} of them gland: pixels that differ", changed)
    section.add("formula", "both classes occur among them", 0 if 0 < ours.sum() < ours.size else np.inf)
    tie = Prediction(None, np.full((1, 1, 1), 0.5), None, ())
    section.claim("a tie is background", not tie.gland_mask().any())
    return section
