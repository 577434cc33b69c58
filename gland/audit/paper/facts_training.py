"""Facts about training on the paper's equations: what weighs on the gland class, what f does to itself, rates and counts."""

from functools import partial
from math import log, sqrt

import numpy as np

from gland import loss, ops
from gland.audit.evidence import Section
from gland.audit.paper import readings
from gland.audit.paper.image import START, Descent, fresh, phantoms, started, window
from gland.networks.base import Objective


def starving() -> Section:
    formula = r"P_g = \frac{\sum S f}{\sum S f + \sum (1 - S)}"
    section = Section("starving", "Read as a weight, f starves the gland class while its mean is below 1", formula)
    x, mask, label = window(START)
    f, mask = np.asarray(started().forward(x, label).f, float), mask.astype(float)
    truth = mask.mean()

    def best_constant(weight: np.ndarray) -> float:
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
        section.fact(
            f"dL/ds summed over pixels vanishes there, {name}",
            abs(float(gradient(logits, mask, f)[0][:, 0].sum())),
            1e-10,
        )
    section.fact("balanced, the best constant P_g is the share of gland pixels", abs(balanced - truth), 1e-12)
    section.claim("weighted by f it is smaller", weighted < truth)
    section.measured("mean f over gland pixels of two images", ", ".join(f"{v:.2f}" for v in m.ravel()))
    section.measured(
        "share of gland pixels; the best constant P_g with weight f; with f / m",
        f"{truth:.2f}; {weighted:.2f}; {balanced:.2f}",
    )
    return section


def self_confirming() -> Section:
    section = Section(
        "self-confirming",
        "Differentiated, f is pushed up wherever the decoder is already right",
        r"\frac{\partial L_s}{\partial f} = S \log \frac{P_b}{P_g}",
    )
    net, (x, mask, label) = started(), window(START)
    passed = net.forward(x, label)
    _, df = loss.soft_target_loss_grad(passed.seg_logits, mask, passed.f)
    p = ops.softmax(passed.seg_logits)
    gland = mask > 0
    agree = float(((df < 0) == (p[:, 0] > p[:, 1]))[gland].mean())
    section.fact(
        "gland pixels where descent raises f are those where P_g > P_b; share that disagrees",
        1 - agree,
        0.0,
        "a sign is a sign",
    )
    vectors = []
    for prior_gradient in ("detached", "exact"):
        net.zero_grad()
        net.loss_and_grad(x, mask, label, Objective(0.5, "soft-target", prior_gradient))
        vectors.append(net.flat_grad.astype(float))
    a, b = vectors
    cosine = a @ b / sqrt((a @ a) * (b @ b))
    section.measured(
        "gland pixels where descent raises f: the decoder has them right already",
        f"{float((df < 0)[gland].mean()):.0%}",
    )
    section.measured("cosine of the gradients with f detached and exact", f"{cosine:.3f}")
    section.measured(
        "norm of their difference over the detached norm", f"{np.linalg.norm(b - a) / np.linalg.norm(a):.2f}"
    )
    return section


def skip() -> Section:
    section = Section("skip", "Without skip connections the mirrored decoder learns slowly")
    _, images = phantoms()
    accuracy = {}
    for on in (True, False):
        accuracy[on] = float((started(skip=on).predict(images.x).gland_mask() == images.mask).mean())
    section.measured(
        f"pixel accuracy on two unseen images after {START} steps, with and without",
        f"{accuracy[True]:.2f} and {accuracy[False]:.2f}",
    )
    section.notes = "Measured in miniature, and without a verdict: so few steps are at the mercy of rounding."
    return section


def wilson(k: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % interval of a share. Source: Wilson 1927."""
    p = k / n
    middle, half = p + z * z / (2 * n), z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


def table1() -> Section:
    section = Section("Table 1", "Table 1's class accuracies fit 15/18 and 16/18: 6 % can be one image")

    def fits(n: int, percent: int) -> list[int]:
        return [k for k in range(n + 1) if round(100 * k / n) == percent]

    sizes = [n for n in range(1, 41) if fits(n, 83) and fits(n, 89)]
    section.fact(
        "smallest test set whose accuracies round to 83 % and 89 %, against 18", abs(sizes[0] - 18), 0.0, "a count"
    )
    section.claim("there they are 15 and 16 images", fits(18, 83) == [15] and fits(18, 89) == [16])
    for k in (15, 16):
        low, high = wilson(k, 18)
        section.measured(f"{k}/18 = {k / 18:.1%}, 95 % interval", f"{low:.0%} to {high:.0%}")
    section.measured("sizes up to 40 that fit both accuracies", ", ".join(map(str, sizes)))
    return section


def momentum() -> Section:
    formula = r"v \leftarrow \mu v + \eta g, \quad \sum_t \mu^t = \frac{1}{1 - \mu}"
    section = Section("momentum", "Batch 1 with momentum 0.99 needs a tiny step", formula)
    paper = readings.Reading("paper", "", losses=(readings.summed_loss, readings.summed_loss_grad))
    net, steps = fresh(), 40
    descent = Descent(net, 1e-4, 0.99)
    x, _, label = window(START)
    with readings.overflowing():
        for step in range(steps):
            one = [v[step % 2 : step % 2 + 1] for v in window(step)]
            descent.step(partial(readings.gradient, net, paper, *one))
        theirs, ours = (float(loss.class_loss(n.forward(x, label).logits, label)) for n in (net, started()))
    section.notes = "The two losses are measured without a verdict: training that diverges is at the mercy of rounding."
    section.measured(
        f"L_c after {steps} steps: batch 1, momentum 0.99, rate 1e-4, sum over pixels (ln 2 = 0.693)", f"{theirs:.3g}"
    )
    section.measured(f"L_c after {START} steps: batch 2, momentum 0.9, rate 1e-2, mean over pixels", f"{ours:.3g}")
    for mu, factor in ((0.99, 100), (0.9, 10)):
        v = 0.0
        for _ in range(5000):
            v = mu * v + 1e-2 * 3.0
        section.fact(
            f"momentum {mu}: under a constant gradient a step grows to {factor} rate g",
            abs(v / (factor * 1e-2 * 3.0) - 1), 1e-9, "5,000 steps; what is left is 0.99^5000 and rounding",
        )  # fmt: skip
    return section


FACTS = (starving, self_confirming, skip, table1, momentum)
