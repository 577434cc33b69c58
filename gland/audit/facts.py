"""Facts about the paper's equations that the software must show: each with a number that is computed here, and now."""

from collections.abc import Callable, Iterator
from math import log, sqrt

import numpy as np

from gland import loss, ops, prior
from gland.audit import readings
from gland.audit.evidence import Section, Tolerance
from gland.audit.image import START, Descent, fresh, painted, started, window
from gland.audit.joint import batch, network


def sections() -> Iterator[tuple[str, Callable[[], Section]]]:
    for fact in (
        sign,
        vanishing,
        last_layer,
        minimiser,
        unbounded,
        sum_or_mean,
        starving,
        self_confirming,
        skip,
        table1,
        momentum,
    ):
        yield fact.__name__.replace("_", " "), fact


def _section(key: str, title: str, formula: str = "") -> Section:
    return Section(key, title, formula)


def _claim(section: Section, what: str, holds: bool) -> None:
    section.add("fact", what, 0 if holds else np.inf, Tolerance(0.0, "the statement holds or it does not"))


def sign() -> Section:
    section = _section(
        "sign",
        "With two classes |f| is not class-specific; its sign is",
        r"\frac{\partial Q_1}{\partial z} = - \frac{\partial Q_2}{\partial z}",
    )
    images_, _, _ = batch()
    net = network()
    logits, cache = net.classifier.forward(images_)
    benign, malignant = (
        net.classifier.pooling_gradients(prior.probability_score_grad(logits, np.full(2, l)), cache)[0] for l in (0, 1)
    )
    gap = max(np.abs(a + b).max() / np.abs(a).max() for a, b in zip(benign, malignant))
    section.add("fact", "largest |f_benign + f_malignant| / |f_benign| over all z_k", gap, Tolerance(1e-12, "rounding"))
    signed, absolute = [], []
    for maps in (benign, malignant):
        signed.append(prior.combine(maps, cache.pooled, (32, 32), "gradient")[0].ravel())
        absolute.append(readings.absolute_prior(maps, cache.pooled, (32, 32)).ravel())
    section.add(
        "fact",
        "f made from |f_k| is the same for both classes",
        float(np.abs(absolute[0] - absolute[1]).max()),
        Tolerance(1e-12, "rounding"),
    )
    section.numbers += [
        ("relative size of f_benign + f_malignant", f"{gap:.1e}"),
        ("correlation of the two classes' f, from the positive part", f"{np.corrcoef(signed)[0, 1]:.2f}"),
        ("the same from |f_k|", f"{np.corrcoef(absolute)[0, 1]:.2f}"),
    ]
    return section


def vanishing() -> Section:
    section = _section(
        "vanishing",
        "Eq. 3's magnitude vanishes as the classifier grows sure; the margin's does not",
        r"\frac{\partial Q_l}{\partial a_m} = Q_l (\delta_{l m} - Q_m)",
    )
    images_, _, _ = batch()
    net = network()
    unit, cache = net.classifier.forward(images_[:1])
    direction = np.array([[1.0, -1.0]])
    found = []
    for margin in (0.45, 5.0, 24.0, 200.0):
        a = direction * margin / 2
        q = float(ops.softmax(a)[0, 0])
        for dtype in (np.float64, np.float32):
            grad = prior.probability_score_grad(a.astype(dtype), np.array([0]))
            size = max(float(np.abs(g).max()) for g in net.classifier.pooling_gradients(grad.astype(float), cache)[0])
            found.append((margin, q, dtype, size))
            section.numbers.append(
                (
                    f"largest |dQ/dz_k| at 1 - Q = {np.exp(-margin) / (1 + np.exp(-margin)):.1e}, "
                    f"{np.dtype(dtype).name}",
                    f"{size:.2e}",
                )
            )
    size = {(m, d): s for m, _, d, s in found}
    ends = f"{size[0.45, np.float64]:.2g} and {size[24.0, np.float64]:.1e}"
    section.numbers.insert(0, ("largest |dQ/dz_k| at Q = 0.61 and at 1 - Q = 4e-11", ends))
    ratio = size[24.0, np.float64] / size[0.45, np.float64]
    expected = (lambda s: s(24) / s(0.45))(lambda m: 1 / (2 + np.exp(m) + np.exp(-m)))
    section.add(
        "fact",
        "the ratio of two magnitudes is that of Q (1 - Q)",
        abs(ratio / expected - 1),
        Tolerance(1e-6, "1 - Q is left with nine digits at Q = 1 - 4e-11"),
    )
    _claim(section, "in float32 it is exactly zero at a margin of 200", size[200.0, np.float32] == 0)
    maps = []
    for score in prior.SCORES.values():
        g, _ = net.classifier.pooling_gradients(score.grad(direction * 0.225, np.array([0])), cache)
        maps.append(prior.combine(g, cache.pooled, (32, 32), "gradient")[0])
    # f does not change when g is scaled, so <u, g> = 0, and with two classes the curvature acts along g alone
    df = np.random.default_rng(17).standard_normal((1, *images_.shape[2:]))
    g, sent = net.classifier.pooling_gradients(prior.probability_score_grad(unit, np.array([0])), cache)
    u, _ = prior.combine_grad(df, prior.combine(g, cache.pooled, images_.shape[2:], "gradient")[2], "gradient")
    ta = net.classifier.second_order(u, sent, cache)
    bent = float(np.abs(prior.probability_score_curvature(unit, np.array([0]), ta)).max())
    section.add(
        "fact",
        "so the score's curvature contributes nothing to the joint gradient",
        bent / max(float(np.abs(v).max()) for v in u),
        Tolerance(1e-12, "rounding"),
    )
    section.add(
        "fact",
        "after division by the maximum both scores give the same f",
        float(np.abs(maps[0] - maps[1]).max()),
        Tolerance(1e-12, "rounding"),
    )
    return section


def last_layer() -> Section:
    section = _section(
        "last layer",
        "The last pooling layer's derivative is the same everywhere, so its map is constant",
        r"a = \frac{1}{H W} \sum_{i j} w z_{K i j} + b, \quad \frac{\partial a}{\partial z_{K i j}} = \frac{w}{H W}",
    )
    section.notes = (
        "The logits are a mean over positions of a 1x1 convolution, so no position of z_K counts more than another. "
        "Divided by its maximum, its map is 1 "
        "and adds 1/K to f wherever no map is negative. Times the activation (gradient-activation) the last layer "
        "has a map of its own."
    )
    x, _, label = window(START)
    net = started()
    logits, cache = net.classifier.forward(x.astype(np.float64))
    g, _ = net.classifier.pooling_gradients(prior.margin_score_grad(logits, label), cache)
    spread = [
        float(np.ptp(prior.combine(g[4:], cache.pooled[4:], g[4].shape[2:], kind)[1][0])) for kind in prior.PRIORS
    ]
    section.numbers.append(
        (
            "largest minus smallest value of z_5's map: gradient, gradient-activation",
            f"{spread[0]:.1g}, {spread[1]:.2g}",
        )
    )
    section.add("fact", "the gradient's map varies by", spread[0], Tolerance(1e-5, "rounding of float32 weights"))
    return section


def minimiser() -> Section:
    section = _section(
        "minimiser",
        "Eq. 4's minimiser is P_g = S f, so Eq. 6 keeps gland only where f > 1/2",
        r"\arg \min_{P_g} L_s = S f",
    )
    f = np.linspace(0.02, 0.98, 48).reshape(1, 6, 8)
    mask = np.ones_like(f)
    low, high = np.full(f.shape, -20.0), np.full(f.shape, 20.0)
    for _ in range(60):  # bisection on the sign of dL/ds_g, pixel by pixel
        middle = (low + high) / 2
        logits = np.stack([middle, -middle], axis=1)
        rising = loss.soft_target_loss_grad(logits, mask, f)[0][:, 0] > 0
        low, high = np.where(rising, low, middle), np.where(rising, middle, high)
    p = ops.softmax(logits)[:, 0]
    section.add(
        "fact",
        "largest |P_g - S f| at the minimum",
        float(np.abs(p - f).max()),
        Tolerance(1e-12, "sixty bisections of an interval of 40 reach 3e-17; then rounding"),
    )
    kept = p[0] > 0.5
    _claim(section, "Eq. 6 keeps exactly the gland pixels with f > 1/2", bool((kept == (f[0] > 0.5)).all()))
    x, glands, label = window(START)
    share = float((started().forward(x, label).f[glands > 0] > 0.5).mean())
    section.numbers += [
        ("largest |P_g - S f|", f"{np.abs(p - f).max():.1e}"),
        ("gland pixels of two images with f > 1/2", f"{share:.0%}"),
    ]
    return section


def unbounded() -> Section:
    section = _section(
        "unbounded",
        "Typeset literally, Eq. 4 is unbounded below",
        r"- \sum_j S_j f_j \log P_g + \sum_j (1 - S_j f_j) \log P_b",
    )
    f = np.full((1, 1, 1), 0.7)
    values = []
    for margin in (1000.0, 100.0, 10.0, 1.0):
        logits = np.array([margin, 0.0]).reshape(1, 2, 1, 1)
        values.append(float(readings.literal_loss(logits, np.ones_like(f), f)))
        section.numbers.append((f"its value at s_g - s_b = {margin:g}, S f = 0.7", f"{values[-1]:.3g}"))
    slope = (values[0] - values[1]) / 900
    section.add(
        "fact",
        "it falls by 1 - S f for every unit of margin, without end",
        abs(slope + 0.3),
        Tolerance(1e-9, "rounding"),
    )
    logits, mask, f3 = np.zeros((1, 2, 2, 2)), np.ones((1, 2, 2)), np.full((1, 2, 2), 0.7)
    _claim(
        section, "read as minus the whole sum it is never negative", float(loss.soft_target_loss(logits, mask, f3)) >= 0
    )
    return section


def sum_or_mean() -> Section:
    section = _section(
        "sum or mean", "As a sum over 224 x 224 pixels, L_s drowns L_c", r"\lambda L_c + (1 - \lambda) L_s"
    )
    pixels = 224 * 224
    mask = np.zeros((1, 224, 224))
    value = float(loss.soft_target_loss(np.zeros((1, 2, 224, 224)), mask, mask)) * pixels
    loss_class = float(loss.class_loss(np.zeros((1, 2)), np.array([0])))
    section.add(
        "fact",
        "L_s at P = 1/2 is 50,176 ln 2 = 34,779",
        abs(value - pixels * log(2)) / value,
        Tolerance(1e-12, "rounding"),
    )
    _claim(section, "which rounds to 34,779", round(value) == 34779)
    net, (x, mask, label) = fresh(), window(START)
    share = []
    for scale in (1, mask[0].size):
        run = net.forward(x, label)
        net.zero_grad()
        net.backward(run, loss.class_loss_grad(run.logits, label), np.zeros_like(run.seg_logits), None)
        class_part = np.linalg.norm(net.flat_grad)
        net.zero_grad()
        dseg = loss.soft_target_loss_grad(run.seg_logits, mask, run.f)[0] * scale
        net.backward(run, np.zeros_like(run.logits), dseg, None)
        share.append(class_part / (class_part + np.linalg.norm(net.flat_grad)))
    section.numbers += [
        ("L_s as a sum over 224 x 224 pixels, and L_c, at P = Q = 1/2", f"{value:,.0f} and {loss_class:.2f}"),
        ("share of L_c in the gradient's norm, lambda 1/2, mean over 64 x 64 pixels", f"{share[0]:.1%}"),
        ("the same with the sum", f"{share[1]:.2%}"),
    ]
    return section


def starving() -> Section:
    section = _section(
        "starving",
        "Read as a weight, f starves the gland class while its mean is below 1",
        r"P_g = \frac{\sum S f}{\sum S f + \sum (1 - S)}",
    )
    x, mask, label = window(START)
    f, mask = started().forward(x, label).f.astype(float), mask.astype(float)
    truth = mask.mean()

    def best_constant(weight):
        return (mask * weight).sum() / ((mask * weight).sum() + (1 - mask).sum())

    m = (mask * f).sum(axis=(1, 2), keepdims=True) / mask.sum(axis=(1, 2), keepdims=True)
    weighted, balanced = best_constant(f), best_constant(f / m)
    # the formula is not taken on trust: at the constant that it names, the loss's own gradient must vanish
    for name, p, gradient in (
        ("weight", weighted, loss.weight_loss_grad),
        ("balanced-weight", balanced, loss.balanced_weight_loss_grad),
    ):
        logits = np.zeros((2, 2, *mask.shape[1:]))
        logits[:, 0] = log(p / (1 - p))
        section.add(
            "fact",
            f"dL/ds summed over pixels vanishes there, {name}",
            abs(float(gradient(logits, mask, f)[0][:, 0].sum())),
            Tolerance(1e-10, "rounding"),
        )
    section.add(
        "fact",
        "balanced, the best constant P_g is the share of gland pixels",
        abs(balanced - truth),
        Tolerance(1e-12, "rounding"),
    )
    _claim(section, "weighted by f it is smaller", weighted < truth)
    section.numbers += [
        ("mean f over gland pixels of two images", ", ".join(f"{v:.2f}" for v in m.ravel())),
        (
            "share of gland pixels; the best constant P_g with weight f; with f / m",
            f"{truth:.2f}; {weighted:.2f}; {balanced:.2f}",
        ),
    ]
    return section


def self_confirming() -> Section:
    section = _section(
        "self-confirming",
        "Differentiated, f is pushed up wherever the decoder is already right",
        r"\frac{\partial L_s}{\partial f} = S \log \frac{P_b}{P_g}",
    )
    net, (x, mask, label) = started(), window(START)
    run = net.forward(x, label)
    _, df = loss.soft_target_loss_grad(run.seg_logits, mask, run.f)
    p = ops.softmax(run.seg_logits)
    gland = mask > 0
    agree = float(((df < 0) == (p[:, 0] > p[:, 1]))[gland].mean())
    section.add(
        "fact",
        "gland pixels where descent raises f are those where P_g > P_b; share that disagrees",
        1 - agree,
        Tolerance(0.0, "a sign is a sign"),
    )
    vectors = []
    for prior_gradient in ("detached", "exact"):
        net.zero_grad()
        net.loss_and_grad(x, mask, label, 0.5, "soft-target", prior_gradient)
        vectors.append(net.flat_grad.astype(float))
    a, b = vectors
    cosine = a @ b / sqrt((a @ a) * (b @ b))
    section.numbers += [
        (
            "gland pixels where descent raises f: the decoder has them right already",
            f"{float((df < 0)[gland].mean()):.0%}",
        ),
        ("cosine of the gradients with f detached and exact", f"{cosine:.3f}"),
        ("norm of their difference over the detached norm", f"{np.linalg.norm(b - a) / np.linalg.norm(a):.2f}"),
    ]
    return section


def skip() -> Section:
    section = _section("skip", "Without skip connections the mirrored decoder learns slowly")
    _, images = painted()
    accuracy = {}
    for on in (True, False):
        accuracy[on] = float(((started(skip=on).predict(images.x).p_gland > 0.5) == images.mask).mean())
    section.numbers.append(
        (
            f"pixel accuracy on two unseen images after {START} steps, with and without",
            f"{accuracy[True]:.2f} and {accuracy[False]:.2f}",
        )
    )
    section.notes = "Measured in miniature, and without a verdict: so few steps are at the mercy of rounding."
    return section


def wilson(k: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % interval of a share. Source: Wilson 1927."""
    p = k / n
    middle, half = p + z * z / (2 * n), z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


def table1() -> Section:
    section = _section("Table 1", "Table 1's class accuracies fit 15/18 and 16/18: 6 % can be one image")

    def fits(n, percent):
        return [k for k in range(n + 1) if round(100 * k / n) == percent]

    sizes = [n for n in range(1, 41) if fits(n, 83) and fits(n, 89)]
    section.add(
        "fact",
        "smallest test set whose accuracies round to 83 % and 89 %, against 18",
        abs(sizes[0] - 18),
        Tolerance(0.0, "a count"),
    )
    _claim(section, "there they are 15 and 16 images", fits(18, 83) == [15] and fits(18, 89) == [16])
    for k in (15, 16):
        low, high = wilson(k, 18)
        section.numbers.append((f"{k}/18 = {k / 18:.1%}, 95 % interval", f"{low:.0%} to {high:.0%}"))
    section.numbers.append(("sizes up to 40 that fit both figures", ", ".join(map(str, sizes))))
    return section


def momentum() -> Section:
    section = _section(
        "momentum",
        "Batch 1 with momentum 0.99 needs a tiny step",
        r"v \leftarrow \mu v + \eta g, \quad \sum_t \mu^t = \frac{1}{1 - \mu}",
    )
    paper = readings.Reading("paper", "", losses=(readings.summed_loss, readings.summed_loss_grad))
    net, steps = fresh(), 40
    descent = Descent(net, 1e-4, 0.99)
    x, _, label = window(START)
    with readings.overflowing():
        for step in range(steps):
            one = [v[step % 2 : step % 2 + 1] for v in window(step)]
            descent.step(lambda one=one: readings.gradient(net, paper, *one))
        theirs, ours = (float(loss.class_loss(n.forward(x, label).logits, label)) for n in (net, started()))
    section.notes = "The two losses are measured without a verdict: training that diverges is at the mercy of rounding."
    section.numbers += [
        (
            f"L_c after {steps} steps: batch 1, momentum 0.99, rate 1e-4, sum over pixels (ln 2 = 0.693)",
            f"{theirs:.3g}",
        ),
        (f"L_c after {START} steps: batch 2, momentum 0.9, rate 1e-2, mean over pixels", f"{ours:.3g}"),
    ]
    for mu, factor in ((0.99, 100), (0.9, 10)):
        v = 0.0
        for _ in range(5000):
            v = mu * v + 1e-2 * 3.0
        section.compare(
            "fact",
            f"momentum {mu}: under a constant gradient a step grows to {factor} rate g",
            v,
            factor * 1e-2 * 3.0,
            Tolerance(1e-9, "5,000 steps; what is left is 0.99^5000 and rounding"),
        )
    return section
