"""With a CUDA device: every layer and the joint gradient there against the host, and the same bits a second time."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gland import backend
from gland.audit import layers as layer_audit
from gland.audit.evidence import Section, Tolerance, difference
from gland.audit.example import LAM, batch
from gland.errors import InputError
from gland.networks.base import Objective
from gland.networks.multiloss import MultiLoss

Array = Any
JOINT = Tolerance(1e-2, "float32 through twenty layers; a rectifier near zero may be decided the other way by rounding")


def sections() -> Iterator[tuple[str, Callable[[], Section]]]:
    yield "device", device


def device() -> Section:
    section = Section("device", "Device against host")
    try:
        section.title = f"Device against host: {backend.select('gpu').name}"
    except InputError as error:
        section.skipped = str(error)
        return section
    for subject in layer_audit.SUBJECTS:
        for case in subject.cases:
            _layer(section, f"{subject.name}, {case.what}", case)
    for prior_gradient in ("detached", "exact"):
        _joint(section, prior_gradient)
    return section


def _passes(layer: Any, x: Array, tx: Array, dy: Array, move: Callable[[Array], Array]) -> list[Array]:
    layer.zero_grad()
    y, cache = layer.forward(move(x))
    dx, ty = layer.backward(move(dy), cache), layer.tangent(move(tx), cache)
    layer.second_order(move(tx), move(dy), cache)
    return [backend.to_host(a) for a in (y, dx, ty, *(getattr(layer, "d" + name) for name in layer.names))]


def _layer(section: Section, name: str, case: layer_audit.Case) -> None:
    rng = np.random.default_rng(7)
    layer = case.make(rng, np.float32)
    x, tx = (rng.standard_normal(case.shape).astype(np.float32) for _ in range(2))
    dy = rng.standard_normal(layer.forward(x)[0].shape).astype(np.float32)
    host = _passes(layer, x, tx, dy, lambda a: a)
    for parameter in layer.names:
        for attribute in (parameter, "d" + parameter):
            setattr(layer, attribute, backend.to_device(getattr(layer, attribute)))
    passes = [_passes(layer, x, tx, dy, backend.to_device) for _ in range(2)]
    worst = max(difference(a, b) for a, b in zip(passes[0], host))
    section.add("device", f"{name}: forward, backward, tangent, second order", worst)
    same = all(np.array_equal(a, b) for a, b in zip(*passes))
    section.unchanged(f"{name}: the same bits a second time", same)


def _joint(section: Section, prior_gradient: str) -> None:
    images, mask, label = batch()
    arrays = images.astype(np.float32), mask.astype(np.float32), label
    results = []
    for move in (lambda a: a, backend.to_device, backend.to_device):
        net = MultiLoss(width=4, seed=3)
        net.flatten(device=move is backend.to_device)
        x, mask_there, label_there = (move(a) for a in arrays)
        net.loss_and_grad(x, mask_there, label_there, Objective(LAM, "balanced-weight", prior_gradient))
        results.append({path: backend.to_host(d) for path, d in net.gradients().items()})
    host, once, again = results
    errors = {path: difference(once[path], host[path]) for path in host}
    worst = max(errors, key=lambda path: errors[path])
    section.add("device", f"joint gradient, f {prior_gradient}, worst {worst}", errors[worst], JOINT)
    same = all(np.array_equal(once[path], again[path]) for path in host)
    section.unchanged(f"joint gradient, f {prior_gradient}: the same bits a second time", same)
