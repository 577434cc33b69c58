"""Facts about the paper's equations that the software must show: each with a number that is computed here, and now."""

from collections.abc import Callable, Iterator
from itertools import product
from math import log
from typing import Any

import numpy as np

from gland import loss, ops, prior
from gland.audit.evidence import Section
from gland.audit.example import batch, network
from gland.audit.paper import facts_training, readings
from gland.audit.paper.image import START, fresh, started, window


def sections() -> Iterator[tuple[str, Callable[[], Section]]]:
    for fact in (sign, vanishing, last_layer, minimiser, unbounded, sum_or_mean, *facts_training.FACTS):
        yield fact.__name__.replace("_", " "), fact


def sign() -> Section:
    formula = r"\frac{\partial Q_1}{\partial z} = - \frac{\partial Q_2}{\partial z}"
    section = Section("sign", "With two classes |f| is not class-specific; its sign is", formula)
    images_, _, _ = batch()
    net = network()
    logits, cache = net.classifier.forward(images_)
    benign, malignant = (
        net.classifier.pooling_gradients(prior.probability_score_grad(logits, np.full(2, l)), cache)[0] for l in (0, 1)
    )
    gap = max(np.abs(a + b).max() / np.abs(a).max() for a, b in zip(benign, malignant))
    section.fact("largest |f_benign + f_malignant| / |f_benign| over all z_k", gap, 1e-12)
    signed, absolute = [], []
    for maps in (benign, malignant):
        signed.append(prior.combine(maps, cache.pooled, (32, 32), "gradient")[0].ravel())
        absolute.append(readings.absolute_prior(maps, cache.pooled, (32, 32)).ravel())
    section.fact(
        "f made from |f_k| is the same for both classes", float(np.abs(absolute[0] - absolute[1]).max()), 1e-12
    )
    section.measured("relative size of f_benign + f_malignant", f"{gap:.1e}")
    section.measured("correlation of the two classes' f, from the positive part", f"{np.corrcoef(signed)[0, 1]:.2f}")
    section.measured("the same from |f_k|", f"{np.corrcoef(absolute)[0, 1]:.2f}")
    return section


def vanishing() -> Section:
    section = Section(
        "vanishing",
        "Eq. 3's magnitude vanishes as the classifier grows sure; the margin's does not",
        r"\frac{\partial Q_l}{\partial a_m} = Q_l (\delta_{l m} - Q_m)",
    )
    images_, _, _ = batch()
    net = network()
    unit, cache = net.classifier.forward(images_[:1])
    direction = np.array([[1.0, -1.0]])
    size: dict[tuple[float, Any], float] = {}
    for margin in (0.45, 5.0, 24.0, 200.0):
        a = direction * margin / 2
        for dtype in (np.float64, np.float32):
            grad = prior.probability_score_grad(a.astype(dtype), np.array([0]))
            maps, _ = net.classifier.pooling_gradients(grad.astype(float), cache)
            size[margin, dtype] = max(float(np.abs(g).max()) for g in maps)
            section.measured(
                f"largest |dQ/dz_k| at 1 - Q = {np.exp(-margin) / (1 + np.exp(-margin)):.1e}, {np.dtype(dtype).name}",
                f"{size[margin, dtype]:.2e}",
            )
    ends = f"{size[0.45, np.float64]:.2g} and {size[24.0, np.float64]:.1e}"
    section.numbers.insert(0, ("largest |dQ/dz_k| at Q = 0.61 and at 1 - Q = 4e-11", ends))
    ratio = size[24.0, np.float64] / size[0.45, np.float64]
    expected = (lambda s: s(24) / s(0.45))(lambda m: 1 / (2 + np.exp(m) + np.exp(-m)))
    section.fact("the ratio of two magnitudes is that of Q (1 - Q)", abs(ratio / expected - 1), 1e-12)
    section.claim("in float32 it is exactly zero at a margin of 200", size[200.0, np.float32] == 0)
    maps = []
    for score, margin in product(prior.SCORES.values(), (0.45, 40.0)):
        g, _ = net.classifier.pooling_gradients(score.grad(direction * margin / 2, np.array([0])), cache)
        maps.append(prior.combine(g, cache.pooled, (32, 32), "gradient")[0])
    # f does not change when g is scaled, so <u, g> = 0, and with two classes the curvature acts along g alone
    df = np.random.default_rng(17).standard_normal((1, *images_.shape[2:]))
    g, sent = net.classifier.pooling_gradients(prior.probability_score_grad(unit, np.array([0])), cache)
    u, _ = prior.combine_grad(df, prior.combine(g, cache.pooled, images_.shape[2:], "gradient")[2], "gradient")
    ta = net.classifier.second_order(u, sent, cache)
    bent = float(np.abs(prior.probability_score_curvature(unit, np.array([0]), ta)).max())
    section.fact(
        "so the score's curvature contributes nothing to the joint gradient",
        bent / max(float(np.abs(v).max()) for v in u),
        1e-12,
    )
    section.fact(
        "after division by the maximum both scores give the same f, however sure the classifier",
        max(float(np.abs(maps[0] - m).max()) for m in maps),
        1e-12,
    )
    return section


def last_layer() -> Section:
    section = Section(
        "last layer",
        "The last pooling layer's derivative is the same everywhere, so its map is constant",
        r"a = \frac{1}{H W} \sum_{i j} w z_{K i j} + b, \quad \frac{\partial a}{\partial z_{K i j}} = \frac{w}{H W}",
    )
    section.notes = (
        "The logits are a mean over positions of a 1x1 convolution, so no position of z_K counts more than another. "
        "Divided by its maximum, its map is 1 and adds 1/K to f wherever no map is negative. Times the activation "
        "(gradient-activation) the last layer has a map of its own."
    )
    x, _, label = window(START)
    net = started()
    logits, cache = net.classifier.forward(x.astype(np.float64))
    g, _ = net.classifier.pooling_gradients(prior.margin_score_grad(logits, label), cache)
    spread = [
        float(np.ptp(prior.combine(g[4:], cache.pooled[4:], g[4].shape[2:], kind)[1][0])) for kind in prior.PRIORS
    ]
    section.measured(
        "largest minus smallest value of z_5's map: gradient, gradient-activation", f"{spread[0]:.1g}, {spread[1]:.2g}"
    )
    section.fact("the gradient's map varies by", spread[0], 1e-5, "rounding of float32 weights")
    return section


def minimiser() -> Section:
    formula = r"\operatorname{arg} \min\limits_{P_g} L_s = S f"
    section = Section("minimiser", "Eq. 4's minimiser is P_g = S f, so Eq. 6 keeps gland only where f > 1/2", formula)
    f = np.linspace(0.02, 0.98, 48).reshape(1, 6, 8)
    mask = np.ones_like(f)
    low, high = np.full(f.shape, -20.0), np.full(f.shape, 20.0)
    for _ in range(60):  # bisection on the sign of dL/ds_g, pixel by pixel
        middle = (low + high) / 2
        logits = np.stack([middle, -middle], axis=1)
        rising = loss.soft_target_loss_grad(logits, mask, f)[0][:, 0] > 0
        low, high = np.where(rising, low, middle), np.where(rising, middle, high)
    p = ops.softmax(logits)[:, 0]
    section.fact(
        "largest |P_g - S f| at the minimum",
        float(np.abs(p - f).max()),
        1e-12,
        "sixty bisections of an interval of 40 reach 3e-17; then rounding",
    )
    kept = p[0] > 0.5
    section.claim("Eq. 6 keeps exactly the gland pixels with f > 1/2", bool((kept == (f[0] > 0.5)).all()))
    x, glands, label = window(START)
    share = float((np.asarray(started().forward(x, label).f)[glands > 0] > 0.5).mean())
    section.measured("largest |P_g - S f|", f"{np.abs(p - f).max():.1e}")
    section.measured("gland pixels of two images with f > 1/2", f"{share:.0%}")
    return section


def unbounded() -> Section:
    formula = r"- \sum_j S_j f_j \log P_g + \sum_j (1 - S_j f_j) \log P_b"
    section = Section("unbounded", "Typeset literally, Eq. 4 is unbounded below", formula)
    f = np.full((1, 1, 1), 0.7)
    values = []
    for margin in (1000.0, 100.0, 10.0, 1.0):
        logits = np.array([margin, 0.0]).reshape(1, 2, 1, 1)
        values.append(float(readings.literal_loss(logits, np.ones_like(f), f)))
        section.measured(f"its value at s_g - s_b = {margin:g}, S f = 0.7", f"{values[-1]:.3g}")
    slope = (values[0] - values[1]) / 900
    section.fact("it falls by 1 - S f for every unit of margin, without end", abs(slope + 0.3), 1e-9)
    logits, mask, f3 = np.zeros((1, 2, 2, 2)), np.ones((1, 2, 2)), np.full((1, 2, 2), 0.7)
    section.claim(
        "read as minus the whole sum it is never negative", float(loss.soft_target_loss(logits, mask, f3)) >= 0
    )
    return section


def sum_or_mean() -> Section:
    section = Section(
        "sum or mean", "As a sum over 224 x 224 pixels, L_s drowns L_c", r"\lambda L_c + (1 - \lambda) L_s"
    )
    pixels = 224 * 224
    mask = np.zeros((1, 224, 224))
    value = float(loss.soft_target_loss(np.zeros((1, 2, 224, 224)), mask, mask)) * pixels
    loss_class = float(loss.class_loss(np.zeros((1, 2)), np.array([0])))
    section.fact("L_s at P = 1/2 is 50,176 ln 2 = 34,779", abs(value - pixels * log(2)) / value, 1e-12)
    section.claim("which rounds to 34,779", round(value) == 34779)
    net, (x, mask, label) = fresh(), window(START)
    share = []
    for scale in (1, mask[0].size):
        passed = net.forward(x, label)
        net.zero_grad()
        net.backward(passed, loss.class_loss_grad(passed.logits, label), np.zeros_like(passed.seg_logits), None)
        class_part = np.linalg.norm(net.flat_grad)
        net.zero_grad()
        dseg = loss.soft_target_loss_grad(passed.seg_logits, mask, passed.f)[0] * scale
        net.backward(passed, np.zeros_like(passed.logits), dseg, None)
        share.append(class_part / (class_part + np.linalg.norm(net.flat_grad)))
    section.measured(
        "L_s as a sum over 224 x 224 pixels, and L_c, at P = Q = 1/2", f"{value:,.0f} and {loss_class:.2f}"
    )
    section.measured("share of L_c in the gradient's norm, lambda 1/2, mean over 64 x 64 pixels", f"{share[0]:.1%}")
    section.measured("the same with the sum", f"{share[1]:.2%}")
    return section
