"""Eq. (3), the prior's own derivative, and the joint gradient over every parameter tensor, f detached and exact."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gland import loss, ops, prior
from gland.audit import plain, plain_network
from gland.audit.evidence import KINDS, Section, difference
from gland.audit.numeric import STEP, complex_step, scaled_gap
from gland.networks.classifier import Classifier
from gland.networks.multiloss import MultiLoss

Array = Any
NETWORK, NETWORK32 = KINDS["network"], KINDS["network32"]
LAM = 0.3  # not the paper's 0.5, at which an exchange of lambda and 1 - lambda would not show


def network(**options: Any) -> MultiLoss:
    """The smallest joint network, with biases away from zero so that every tensor matters."""
    net = MultiLoss(width=1, seed=3, dtype=np.float64, **options)
    rng = np.random.default_rng(11)
    for path, value in net.parameters().items():
        if path.endswith(".b"):
            value[...] = rng.uniform(0.05, 0.3, value.shape)
    return net


def batch() -> tuple[Array, Array, Array]:
    """Two 32x64 images, one of each class, and their masks. z_5 is 1x2: at 1x1 a map divided by its maximum would
    be constant.
    """
    rng = np.random.default_rng(0)
    images = rng.standard_normal((2, 3, 32, 64))
    return images, (rng.random((2, 32, 64)) < 0.5).astype(float), np.array([0, 1])


def as_complex(net: MultiLoss, **options: Any) -> MultiLoss:
    """The same network with complex parameters of the same values."""
    other = MultiLoss(width=1, seed=3, dtype=np.complex128, **options)
    other.flat[...] = net.flat
    return other


def sections(quick: bool = False) -> Iterator[tuple[str, Callable[[], Section]]]:
    """quick leaves out what only repeats: single elements besides directions, tensor by tensor in each reading."""
    yield "Eq. 3", lambda: eq3(quick)
    for kind in prior.PRIORS:
        yield f"f {kind}", lambda kind=kind: combination(kind)
    yield "joint detached", lambda: joint("detached", quick)
    yield "joint exact", lambda: joint("exact", quick)


def eq3(quick: bool = False) -> Section:
    section = Section(
        "Eq. 3",
        "Eq. 3: the class score's derivative at every pooling layer",
        r"f_k = \frac{\partial Q_l}{\partial z_k}",
        [Classifier.pooling_gradients, prior.probability_score_grad],
        [Classifier.second_order, prior.probability_score_curvature],
    )
    section.notes = (
        "The transcription moves the elements of z_k one by one and looks at the score. The second-order pass is "
        "the gradient of "
        "sum_k <u_k, f_k> in every parameter of the classifier, u_k held still."
    )
    images, _, label = batch()
    net = network(score="probability")
    w = {path: value.astype(complex) for path, value in net.parameters().items()}
    rng = np.random.default_rng(12)
    for score in prior.SCORES:
        grad, curvature = prior.SCORES[score]
        logits, cache = net.classifier.forward(images)
        g, sent = net.classifier.pooling_gradients(grad(logits, label), cache)
        for n, image in enumerate(images[: 1 if quick and score == "margin" else 2]):
            expected, pooled = plain_network.PlainJoint(w).eq3(image.astype(complex), label[n], score)
            for k, (ours, theirs) in enumerate(zip(g, expected), 1):
                section.compare(
                    "formula",
                    f"d {score} / d z_{k}, image {n + 1}, one element after the other",
                    ours[n],
                    theirs.real,
                    NETWORK,
                )
            if score == "probability":
                for k, (ours, theirs) in enumerate(zip(cache.pooled, pooled), 1):
                    section.compare("formula", f"z_{k}, image {n + 1}", ours[n], theirs.real, NETWORK)
        u = [rng.standard_normal(g_k.shape) for g_k in g]
        net.zero_grad()
        ta = net.classifier.second_order(u, sent, cache)
        us, gs = (np.concatenate([v.ravel() for v in vs]) for vs in (u, g))
        section.add(
            "adjoint", f"sum <u_k, f_k> = the {score}'s tangent along u", scaled_gap(us, gs, ta, grad(logits, label))
        )
        net.classifier.backward(curvature(logits, label, ta), cache)
        _second_order(section, net, score, images, label, u)
    return section


def _second_order(section, net, score, images, label, u):
    z = as_complex(net, score=score)
    grad = prior.SCORES[score].grad

    def s():
        logits, cache = z.classifier.forward(images.astype(complex))
        g, _ = z.classifier.pooling_gradients(grad(logits, label), cache)
        return sum((a * b).sum() for a, b in zip(u, g))

    analytic, numeric = {}, {}
    for path, d in net.gradients().items():
        if path.startswith("classifier."):
            analytic[path], numeric[path] = probe(z, path, d, s)
    worst = {path: difference(analytic[path], numeric[path]) for path in analytic if np.abs(numeric[path]).max() > 0}
    where_worst = max(worst, key=worst.get)
    what = f"{score}: {len(worst)} tensors of the classifier, worst {where_worst}"
    section.add("second", what, worst[where_worst], NETWORK)
    zero = [
        path for path in analytic if path not in worst
    ]  # the margin's derivative knows nothing of a score's bias, say
    section.add(
        "second",
        f"{score}: {len(zero)} tensors do not enter",
        max((float(np.abs(analytic[p]).max()) for p in zero), default=0.0),
        NETWORK,
    )


def probe(z: MultiLoss, path: str, d: Array, s: Callable[[], Any], elements: int = 0) -> tuple[Array, Array]:
    """d, and the same by a complex step of s, along one random direction through all of a tensor and for some of
    its elements.
    """
    rng = np.random.default_rng([13, d.size])
    value = z.parameters()[path]
    directions = [rng.standard_normal(d.shape)]
    for place in rng.choice(d.size, min(elements, d.size), replace=False):
        unit = np.zeros(d.size)
        unit[place] = 1
        directions.append(unit.reshape(d.shape))
    analytic, numeric = [], []
    for t in directions:
        before = value.copy()
        value[...] = before + 1j * STEP * t
        numeric.append(np.imag(s()) / STEP)
        value[...] = before
        analytic.append((d * t).sum())
    return np.array(analytic), np.array(numeric)


def combination(kind: str) -> Section:
    reduce, reduce_grad = prior.PRIORS[kind]
    inner = r"g_k" if kind == "gradient" else r"g_k z_k"
    formula = (
        r"f = \frac{1}{K} \sum_k \text{up} \left( \frac{c_k}{\max c_k} \right), \quad c_k = \frac{1}{C} \sum_c \max("
        + inner
        + ", 0)"
    )
    section = Section(
        f"f {kind}", f"The prior f, {kind}", formula, [prior.combine, reduce], [prior.combine_grad, reduce_grad]
    )
    section.notes = "The derivative at the maximum itself carries the whole map's share: every value is divided by it."
    rng = np.random.default_rng(14)
    shapes = [(2, 3, 4, 6), (2, 4, 2, 3), (2, 2, 1, 2)]
    g, z = [rng.standard_normal(s) for s in shapes], [rng.random(s) for s in shapes]
    size = (8, 12)
    f, maps, cache = prior.combine(g, z, size, kind)
    exact = [[plain.exact(v.tolist()) for v in vs] for vs in (g, z)]
    section.compare("formula", "three pooling layers, two images, in fractions", f, plain.combine(*exact, size, kind))
    section.add("state", "0 <= f <= 1", max(0.0, float(f.max()) - 1, -float(f.min())))
    section.add(
        "state", "every map's largest value is 1", max(abs(float(m.max()) - 1) for image in zip(*maps) for m in image)
    )
    df = rng.standard_normal(f.shape)
    dg, dz = prior.combine_grad(df, cache, kind)
    zg, zz = ([v.astype(complex) for v in vs] for vs in (g, z))
    for k in range(3):
        for name, d, own, others in (("g", dg, g, zg), ("z", dz, z, zz)):

            def s(v, k=k, others=others):
                kept, others[k] = others[k], v
                value = (df * prior.combine(zg, zz, size, kind)[0]).sum()
                others[k] = kept
                return value

            numeric = complex_step(s, own[k])
            if d[k] is None:
                section.add("gradient", f"z_{k + 1} does not enter", float(np.abs(numeric).max()))
            else:
                section.compare("gradient", f"df/d{name}_{k + 1}, every element", d[k], numeric)
                section.scatter += list(zip(d[k].ravel().tolist(), numeric.ravel().tolist()))
    return section


def total(net: MultiLoss, reading: str, f: Array | None) -> Any:
    """L by the package's forward functions; f held still where it is given."""
    images, mask, label = batch()
    x = images.astype(net.flat.dtype)
    logits, cache = net.classifier.forward(x)
    if f is None:
        f = net.compute_prior(logits, label, cache, x.shape[2:])[0]
    features = [stage.features for stage in cache.stages] if net.skip else None
    s, _ = net.segmenter.forward(cache.pooled[-1], ops.softmax(logits), features, x, f.astype(x.dtype))
    return loss.joint_loss(loss.class_loss(logits, label), loss.SEGMENTATION_LOSSES[reading][0](s, mask, f), LAM)


VARIANTS = (
    {"reading": "balanced-weight"},
    {"reading": "soft-target", "score": "probability"},
    {"reading": "weight", "prior": "gradient-activation", "skip": False},
)


def joint(prior_gradient: str, quick: bool = False) -> Section:
    exact = r"\frac{d L}{d w}, \quad L = \lambda L_c + (1 - \lambda) L_s(f)"
    detached = r"\frac{\partial L}{\partial w} \text{ with } f \text{ held still}"
    section = Section(
        f"joint {prior_gradient}",
        f"The joint gradient, f {prior_gradient}",
        exact if prior_gradient == "exact" else detached,
        [MultiLoss.loss_and_grad],
        [MultiLoss.backward, MultiLoss._prior_backward],
    )
    section.notes = (
        "Every parameter tensor by a complex step through the package's forward pass: one random direction through "
        "all of it, and "
        "single elements. The transcription's gradient is a complex step through the whole network in plain loops, "
        "where Eq. 3 is taken element by element and there is no backward pass at all."
    )
    for variant in VARIANTS:
        options = {name: value for name, value in variant.items() if name != "reading"}
        _check_joint(section, prior_gradient, variant["reading"], options, quick)
    if prior_gradient == "exact" and not quick:
        rows = layers_against_the_plain_network()
        worst = max(rows, key=lambda row: row[1])
        section.add(
            "formula", f"{len(rows)} layers one by one, against the plain network, worst {worst[0]}", worst[1], NETWORK
        )
    return section


def _check_joint(section, prior_gradient, reading, options, quick):
    images, mask, label = batch()
    net = network(**options)
    label_text = ", ".join([reading, *(f"{k} {v}" for k, v in options.items())])
    result = net.loss_and_grad(images, mask, label, LAM, reading, prior_gradient)
    gradients = {path: d.copy() for path, d in net.gradients().items()}
    f = None if prior_gradient == "exact" else net.forward(images, label).f
    z = as_complex(net, **options)

    def value():
        return total(z, reading, f)

    _tensor_by_tensor(
        section,
        label_text,
        gradients if not (quick and options) else {},
        z,
        value,
        elements=0 if quick or options else 1,
    )
    t = {path: np.random.default_rng([15, i]).standard_normal(d.shape) for i, (path, d) in enumerate(gradients.items())}
    analytic = sum((gradients[path] * t[path]).sum() for path in t)
    for path, parameter in z.parameters().items():
        parameter[...] = parameter.real + 1j * STEP * t[path]
    section.compare(
        "gradient", f"{label_text}: along all parameters at once", analytic, np.imag(value()) / STEP, NETWORK
    )
    if not quick or (prior_gradient == "detached" and not options):
        expected, moved = _plain_along(net, t, reading, options, f)
        section.compare("formula", f"{label_text}: L against the plain network", float(result.total), expected, NETWORK)
        section.compare(
            "formula", f"{label_text}: dL along all parameters, against the plain network", analytic, moved, NETWORK
        )
    net.loss_and_grad(images, mask, label, LAM, reading, prior_gradient)
    twice = np.concatenate([d.ravel() for d in net.gradients().values()])
    once = np.concatenate([d.ravel() for d in gradients.values()])
    section.compare("gradient", f"{label_text}: a second call adds the same again", twice, 2 * once)
    if not options:
        _float32(section, net, prior_gradient, reading, gradients)


def _tensor_by_tensor(section, label_text, gradients, z, value, elements):
    worst, where_worst = -1.0, "none"
    for path, d in gradients.items():
        analytic, numeric = probe(z, path, d, value, elements)
        error = difference(analytic, numeric)
        if not error <= worst:
            worst, where_worst = error, path
        section.scatter += list(zip(analytic.tolist(), numeric.tolist()))
    if gradients:
        section.add("gradient", f"{label_text}: {len(gradients)} tensors, worst {where_worst}", worst, NETWORK)


def _plain_along(net, t, reading, options, f):
    images, mask, label = batch()
    w = {path: value + 1j * STEP * t[path] for path, value in net.parameters().items()}
    names = {"kind": options.get("prior", "gradient"), "score": options.get("score", "margin")}
    value = plain_network.joint_loss(
        w, images.astype(complex), mask, label, LAM, reading, **names, priors=f, skip=options.get("skip", True)
    )
    return value.real, value.imag / STEP


def _float32(section, net, prior_gradient, reading, gradients):
    images, mask, label = batch()
    single = MultiLoss(width=1, seed=3, dtype=np.float32)
    single.flat[...] = net.flat
    single.loss_and_grad(images.astype(np.float32), mask.astype(np.float32), label, LAM, reading, prior_gradient)
    errors = {path: difference(d, gradients[path]) for path, d in single.gradients().items()}
    worst = max(errors, key=errors.get)
    section.add("float32", f"every tensor in float32, worst {worst}", errors[worst], NETWORK32)


def layers_against_the_plain_network() -> list[tuple[str, float]]:
    """For every layer alone, f exact: relative difference to the plain network along one direction of all its
    tensors.
    """
    images, mask, label = batch()
    net = network()
    net.loss_and_grad(images, mask, label, LAM, "balanced-weight", "exact")
    f = net.forward(images, label).f
    gradients, rows = net.gradients(), []
    for i, (path, layer) in enumerate(net.layers.items()):
        t = {p: np.zeros(v.shape) for p, v in net.parameters().items()}
        for name in layer.names:
            t[f"{path}.{name}"] = np.random.default_rng([16, i]).standard_normal(getattr(layer, name).shape)
        # a segmenter's weight does not move f, so f may be held still for it
        _, moved = _plain_along(net, t, "balanced-weight", {}, f if path.startswith("segmenter.") else None)
        rows.append((path, difference(sum((gradients[p] * t[p]).sum() for p in t), moved)))
    return rows
