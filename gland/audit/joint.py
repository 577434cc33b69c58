"""The joint gradient over every parameter tensor, f detached and exact."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gland import loss, prior
from gland.audit import plain_network
from gland.audit.combination import combination
from gland.audit.eq3 import eq3
from gland.audit.evidence import KINDS, Section, difference
from gland.audit.example import LAM, as_complex, batch, network, probe
from gland.audit.numeric import STEP
from gland.networks.base import Objective
from gland.networks.multiloss import MultiLoss

Array = Any
NETWORK, NETWORK32 = KINDS["network"], KINDS["network32"]


def sections(quick: bool = False) -> Iterator[tuple[str, Callable[[], Section]]]:
    """quick leaves out what only repeats: single elements besides directions, tensor by tensor in each reading."""
    yield "Eq. 3", lambda: eq3(quick)
    for kind in prior.PRIORS:
        yield f"f {kind}", lambda kind=kind: combination(kind)
    yield "joint detached", lambda: joint("detached", quick)
    yield "joint exact", lambda: joint("exact", quick)


def total(net: MultiLoss, reading: str, f: Array | None) -> Any:
    """L by the package's forward functions; f held still where it is given."""
    images, mask, label = batch()
    x = images.astype(net.flat.dtype)
    passed = net.forward(x, label, f=None if f is None else f.astype(x.dtype))
    loss_segmentation = loss.SEGMENTATION_LOSSES[reading][0](passed.seg_logits, mask, passed.f)
    return loss.joint_loss(loss.class_loss(passed.logits, label), loss_segmentation, LAM)


VARIANTS = (
    {"reading": "balanced-weight"},
    {"reading": "soft-target", "eq3_of": "probability"},
    {"reading": "weight", "prior_kind": "gradient-activation", "skip": False},
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
        "all of it, and single elements. The transcription's gradient is a complex step through the whole network in "
        "plain loops, where Eq. 3 is taken element by element and there is no backward pass at all."
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
    result = net.loss_and_grad(images, mask, label, Objective(LAM, reading, prior_gradient))
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
    net.loss_and_grad(images, mask, label, Objective(LAM, reading, prior_gradient))
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
    names = {"kind": options.get("prior_kind", "gradient"), "score": options.get("eq3_of", "margin")}
    value = plain_network.joint_loss(
        w, images.astype(complex), mask, label, LAM, reading, **names, priors=f, skip=options.get("skip", True)
    )
    return value.real, value.imag / STEP


def _float32(section, net, prior_gradient, reading, gradients):
    images, mask, label = batch()
    single = MultiLoss(width=1, seed=3, dtype=np.float32)
    single.flat[...] = net.flat
    single.loss_and_grad(
        images.astype(np.float32), mask.astype(np.float32), label, Objective(LAM, reading, prior_gradient)
    )
    errors = {path: difference(d, gradients[path]) for path, d in single.gradients().items()}
    worst = max(errors, key=errors.get)
    section.add("float32", f"every tensor in float32, worst {worst}", errors[worst], NETWORK32)


def layers_against_the_plain_network() -> list[tuple[str, float]]:
    """For every layer alone, f exact: relative difference to the plain network along one direction of all its tensors."""
    images, mask, label = batch()
    net = network()
    net.loss_and_grad(images, mask, label, Objective(LAM, "balanced-weight", "exact"))
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
