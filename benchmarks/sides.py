"""Our side and PyTorch's of what benchmarks/cpu.py times: the same weights, the same input, results to compare."""

import gc
from collections.abc import Callable
from typing import Any, NamedTuple

import clock
import numpy as np

from gland import networks
from gland.networks.base import Objective
from gland.training.solver import SGD

try:
    import torch
    import torch_networks
except ImportError:
    torch = None

RATE, MOMENTUM, DECAY = 1e-4, 0.9, 5e-4
CHECKED_RATE = 1e-2  # while results are compared: weights then move by more than their rounding
TOLERANCE = 1e-2  # of a result's size: float32, and a near tie in a pool may fall either way
TRIALS = 3  # calls of every PyTorch variant, of which the fastest enters the comparison


class Case(NamedTuple):
    """What is timed; side in pixels."""

    network: str
    work: str  # "train", "exact" (train with the prior's own gradient), "prior" or "infer"
    batch: int
    side: int

    @property
    def name(self) -> str:
        return f"{self.network}-{self.work}-{self.batch}"


class Batch(NamedTuple):
    """x (N, 3, H, W), mask (N, H, W), label (N,)"""

    x: np.ndarray
    mask: np.ndarray
    label: np.ndarray


class Mismatch(Exception):
    """The two sides do not compute the same. The message says where."""


Results = dict[str, np.ndarray]
Run = tuple[Callable[[], Any], Callable[[], Results]]  # what is timed, and what is compared


def build(name: str, width: int, side: int, dtype: Any = np.float32) -> Any:
    """One of our networks; AlexNet has six times as many channels in its first layer as the others.

    Its biases are not 0, as if it had been trained: otherwise a place whose window is all zero gives exactly 0 in PyTorch
    and sometimes 1e-9 by Winograd's algorithm, and the rectifier's derivatives there differ.
    """
    if name == "alexnet":
        network = networks.AlexNet(6 * width, side, dtype=dtype)
    else:
        network = networks.UNet(width, dtype=dtype) if name == "unet" else networks.MultiLoss(name, width, dtype=dtype)
    rng = np.random.default_rng(1)
    for path, value in network.parameters().items():
        if path.endswith(".b"):
            value[...] = 0.05 * rng.standard_normal(value.shape)
    return network


def batch_of(count: int, side: int, dtype: Any = np.float32) -> Batch:
    """Noise: nothing that is timed depends on what an image shows."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((count, side, side, 3)).astype(dtype).transpose(0, 3, 1, 2)
    return Batch(x, (rng.random((count, side, side)) < 0.5).astype(dtype), np.arange(count) % 2)


def ours(case: Case, network: Any, batch: Batch) -> Run:
    """Our side of a case."""
    if case.work == "infer":
        return lambda: network.predict(batch.x), lambda: _named(network.predict(batch.x)._asdict())
    if case.work == "prior":
        logits, cache = network.classifier.forward(batch.x)
        size = batch.x.shape[2:]
        return (
            lambda: network.compute_prior(logits, batch.label, cache, size),
            lambda: {"f": network.compute_prior(logits, batch.label, cache, size)[0]},
        )
    solver = SGD(network, MOMENTUM, DECAY)
    reading = {"prior_gradient": "exact"} if case.work == "exact" else {}

    def gradients() -> float:
        network.zero_grad()
        return network.loss_and_grad(*batch, Objective(**reading)).total

    def step(rate: float = RATE) -> None:
        gradients()
        solver.step(rate)

    def compute() -> Results:
        start = {name: value.copy() for name, value in network.parameters().items()}
        found = {"loss": np.asarray(gradients())}
        found |= {f"gradient of {name}": grad.copy() for name, grad in network.gradients().items()}
        solver.step(CHECKED_RATE)
        step(CHECKED_RATE)
        return found | _changes(start, network.parameters())

    return step, compute


def theirs(case: Case, network: Any, batch: Batch, channels_last: bool, optimiser: str) -> Run:
    """PyTorch's side of a case, starting from the present weights of network."""
    twin = torch_networks.twin(network, channels_last=channels_last)
    x, mask, label = (twin.tensor(a) for a in batch)
    if case.work == "infer":
        return lambda: twin.predict(x), lambda: _named({k: v.numpy() for k, v in twin.predict(x).items()})
    if case.work == "prior":
        logits, pooled, _ = twin.classify(x)
        call = lambda: twin.prior(logits, label, pooled, x.shape[2:])  # noqa: E731
        return call, lambda: {"f": call().numpy()}
    weights = list(twin.weights.values())
    solver = torch.optim.SGD(weights, RATE, momentum=MOMENTUM, weight_decay=DECAY, **{optimiser: True})
    reading = {"prior_gradient": "exact"} if case.work == "exact" else {}

    def gradients() -> Any:
        solver.zero_grad()
        value = twin.loss(x, mask, label, **reading)
        value.backward()
        return value

    def step() -> None:
        gradients()
        solver.step()

    def compute() -> Results:
        start = {name: value.copy() for name, value in twin.values().items()}
        solver.param_groups[0]["lr"] = CHECKED_RATE
        found = {"loss": gradients().detach().numpy()}
        found |= {f"gradient of {name}": grad.copy() for name, grad in twin.gradients().items()}
        solver.step()
        step()
        solver.param_groups[0]["lr"] = RATE
        return found | _changes(start, twin.values())

    return step, compute


def _changes(start: Results, end: Results) -> Results:
    """How two steps moved every parameter: rate, momentum and decay enter it."""
    return {f"change of {name}": end[name] - start[name] for name in start}


def best(case: Case, network: Any, batch: Batch, expected: Results) -> tuple[str, Callable[[], Any]]:
    """The fastest of PyTorch's variants; the results of every one are compared with ours."""
    best = (np.inf, "", lambda: None)
    for channels_last in (False, True):
        for optimiser in ("foreach", "fused") if case.work in ("train", "exact") else ("",):
            call, compute = theirs(case, network, batch, channels_last, optimiser)
            label = ", ".join(filter(None, ["channels_last" if channels_last else "contiguous", optimiser]))
            check(f"{case.name}, PyTorch {label}", expected, compute(), network.parameters())
            seconds = min(clock.turns({"torch": call}, TRIALS)["torch"])
            best = min(best, (seconds, label, call), key=lambda found: found[0])
            del call, compute
            gc.collect()
    return best[1:]


def check(where: str, expected: Results, found: Results, parameters: Results | None = None) -> None:
    """Raises Mismatch where a result differs by more than TOLERANCE of its size, both as 2-norms.

    parameters: what the changes are changes of; they cannot be known better than these are rounded.
    """
    for name, value in found.items():
        size = np.linalg.norm(value.ravel())
        difference = np.linalg.norm((expected[name] - value).ravel())
        rounded = (parameters or {}).get(name.removeprefix("change of "), np.zeros(1))
        rounding = np.finfo(np.float32).eps * np.linalg.norm(rounded.ravel())
        if not difference <= TOLERANCE * size + rounding + 1e-12:
            ratio = difference / max(size, 1e-12)
            raise Mismatch(f"{where}: {name} differs by {ratio:.2g} of its size, at most {TOLERANCE:g} allowed")


def _named(found: dict[str, Any]) -> Results:
    return {name: found[name] for name in ("q", "p_gland", "f") if found.get(name) is not None}
