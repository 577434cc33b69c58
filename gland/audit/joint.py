"""The joint gradient over every parameter tensor, f detached and exact."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from gland import loss, prior
from gland.audit import plain_network
from gland.audit.combination import combination
from gland.audit.eq3 import eq3
from gland.audit.evidence import KINDS, Section, difference
from gland.audit.example import LAM, as_complex, batch, network, probe
from gland.gradcheck import STEP
from gland.networks.base import Objective
from gland.networks.multiloss import MultiLoss

Array = Any
Tensors = dict[str, Array]  # by their paths
NETWORK, NETWORK32 = KINDS["network"], KINDS["network32"]


def sections(quick: bool = False) -> Iterator[tuple[str, Callable[[], Section]]]:
    """quick leaves out what only repeats: single elements besides directions, tensor by tensor in each reading."""
    yield "Eq. 3", partial(eq3, quick)
    for kind in prior.PRIORS:
        yield f"f {kind}", partial(combination, kind)
    for prior_gradient in ("detached", "exact"):
        yield f"joint {prior_gradient}", partial(joint, prior_gradient, quick)


def total(net: MultiLoss, reading: str, f: Array | None) -> Any:
    """L by the package's forward functions; f held still where it is given."""
    images, mask, label = batch()
    x = images.astype(net.flat.dtype)
    passed = net.forward(x, label, f=None if f is None else f.astype(x.dtype))
    loss_segmentation = loss.SEGMENTATION_LOSSES[reading][0](passed.seg_logits, mask, passed.f)
    return loss.joint_loss(loss.class_loss(passed.logits, label), loss_segmentation, LAM)


VARIANTS: tuple[tuple[str, dict[str, Any]], ...] = (  # a reading of Eq. (4), options of the network
    ("balanced-weight", {}),
    ("soft-target", {"eq3_of": "probability"}),
    ("weight", {"prior_kind": "gradient-activation", "skip": False}),
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
    for reading, options in VARIANTS:
        _check_joint(section, Objective(LAM, reading, prior_gradient), options, quick)
    if prior_gradient == "exact" and not quick:
        rows = layers_against_the_plain_network()
        place, worst = max(rows, key=lambda row: row[1])
        what = f"{len(rows)} layers one by one, against the plain network, worst {place}"
        section.add("formula", what, worst, NETWORK)
    return section


def _check_joint(section: Section, objective: Objective, options: dict[str, Any], quick: bool) -> None:
    images, mask, label = batch()
    net, reading = network(**options), objective.reading
    words = {"prior_kind": "prior", "eq3_of": "score"}
    name = ", ".join([reading, *(f"{words.get(k, k)} {v}" for k, v in options.items())])
    result = net.loss_and_grad(images, mask, label, objective)
    gradients = {path: d.copy() for path, d in net.gradients().items()}
    f = None if objective.prior_gradient == "exact" else net.forward(images, label).f
    z = as_complex(net, **options)

    def value() -> Any:
        return total(z, reading, f)

    if not (quick and options):
        _tensor_by_tensor(section, name, gradients, z, value, elements=0 if quick or options else 1)
    t = {path: np.random.default_rng([15, i]).standard_normal(d.shape) for i, (path, d) in enumerate(gradients.items())}
    analytic = sum((gradients[path] * t[path]).sum() for path in t)
    for path, parameter in z.parameters().items():
        parameter[...] = parameter.real + 1j * STEP * t[path]
    numeric = np.imag(value()) / STEP
    section.compare("gradient", f"{name}: along all parameters at once", analytic, numeric, NETWORK)
    if not quick or (objective.prior_gradient == "detached" and not options):
        expected, moved = _plain_along(net, t, reading, options, f)
        section.compare("formula", f"{name}: L against the plain network", float(result.total), expected, NETWORK)
        what = f"{name}: dL along all parameters, against the plain network"
        section.compare("formula", what, analytic, moved, NETWORK)
    net.loss_and_grad(images, mask, label, objective)
    twice, once = (np.concatenate([d.ravel() for d in ds.values()]) for ds in (net.gradients(), gradients))
    section.compare("gradient", f"{name}: a second call adds the same again", twice, 2 * once)
    if not options:
        _float32(section, net, objective, gradients)


def _tensor_by_tensor(
    section: Section, name: str, gradients: Tensors, z: MultiLoss, value: Callable[[], Any], elements: int
) -> None:
    errors = {}
    for path, d in gradients.items():
        analytic, numeric = probe(z, path, d, value, elements)
        errors[path] = difference(analytic, numeric)
        section.scatter += zip(analytic.tolist(), numeric.tolist())
    worst = _worst(errors)
    section.add("gradient", f"{name}: {len(gradients)} tensors, worst {worst}", errors[worst], NETWORK)


def _worst(errors: dict[str, float]) -> str:
    """Where the error is largest, or no number."""
    return max(errors, key=lambda path: (errors[path] != errors[path], errors[path]))


def _plain_along(
    net: MultiLoss, t: Tensors, reading: str, options: dict[str, Any], f: Array | None
) -> tuple[float, float]:
    """L by the plain network, and how it moves when the parameters move along t."""
    images, mask, label = batch()
    w = {path: value + 1j * STEP * t[path] for path, value in net.parameters().items()}
    names = {"kind": options.get("prior_kind", "gradient"), "score": options.get("eq3_of", "margin")}
    value = plain_network.joint_loss(
        w, images.astype(complex), mask, label, LAM, reading, **names, priors=f, skip=options.get("skip", True)
    )
    return value.real, value.imag / STEP


def _float32(section: Section, net: MultiLoss, objective: Objective, gradients: Tensors) -> None:
    images, mask, label = batch()
    single = MultiLoss(width=1, seed=3, dtype=np.float32)
    single.flat[...] = net.flat
    single.loss_and_grad(images.astype(np.float32), mask.astype(np.float32), label, objective)
    errors = {path: difference(d, gradients[path]) for path, d in single.gradients().items()}
    worst = _worst(errors)
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
