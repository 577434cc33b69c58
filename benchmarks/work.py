"""How much work a network does, counted from its layers, and where our step spends its time.

A layer's forward pass, input gradient and weight gradient are each counted alike: 2 operations for a product and a sum,
by the direct algorithm (Winograd does fewer; its GFLOP/s may exceed the machine's peak), and the bytes of x, w and y,
each moved once, the least that must move.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from gland import layers, ops

WATCHED = (
    layers.Conv2d, layers.ConvReLU, layers.Deconv2d, layers.Linear, layers.MaxPool2d, layers.LocalResponseNorm
)  # fmt: skip


class Call(NamedTuple):
    """A layer met in a forward pass."""

    path: str
    layer: Any
    x: np.ndarray
    y: np.ndarray

    @property
    def operations(self) -> float:
        """Of one pass. Every weight meets every output element (a deconvolution: input element) of its channel once."""
        if not isinstance(self.layer, (layers.Conv2d, layers.Deconv2d, layers.Linear)):
            return float(self.y.size)
        met = self.x if isinstance(self.layer, layers.Deconv2d) else self.y
        return 2.0 * met.size / met.shape[1] * self.layer.w.size

    @property
    def bytes(self) -> int:
        """Of one pass."""
        return self.x.nbytes + self.y.nbytes + sum(getattr(self.layer, name).nbytes for name in self.layer.names)


def watch(network: Any, run: Callable[[], Any]) -> list[Call]:
    """Every watched layer that run() calls, in order, with its input and output."""
    paths = {id(layer): path for path, layer in network.layers.items()}
    calls: list[Call] = []

    def watched(forward):
        def call(self, x):
            y, cache = forward(self, x)
            calls.append(Call(paths.get(id(self), type(self).__name__), self, x, y))
            return y, cache

        return call

    before = [(kind, kind.__dict__["forward"]) for kind in WATCHED if "forward" in kind.__dict__]
    try:
        for kind, forward in before:
            kind.forward = watched(forward)
        run()
    finally:
        for kind, forward in before:
            kind.forward = forward
    return calls


class Work(NamedTuple):
    """Operations, and bytes that must move."""

    operations: float
    bytes: float


def step_work(network: Any, calls: list[Call], prior_gradient: str = "detached") -> Work:
    """A training step: forward, both gradients, Eq. (3)'s pass, the second-order pass if exact, and the update."""
    passes = []
    for i, call in enumerate(calls):
        above = getattr(network, "use_prior", False) and _above_z1(calls, i)
        extra = 0 if not above else 1 if prior_gradient == "detached" else 3
        passes.append((3 if call.layer.names else 2) - (i == 0) + extra)  # the image needs no gradient
    operations, bytes_ = _total(calls, passes)
    return Work(operations, bytes_ + 5 * network.flat.nbytes)  # parameter, gradient, velocity read; two of them written


def forward_work(network: Any, calls: list[Call]) -> Work:
    """A prediction, Eq. (3)'s pass included."""
    prior = getattr(network, "use_prior", False)
    return _total(calls, [2 if prior and _above_z1(calls, i) else 1 for i in range(len(calls))])


def prior_work(calls: list[Call]) -> Work:
    """Eq. (3)'s pass alone."""
    return _total(calls, [int(_above_z1(calls, i)) for i in range(len(calls))])


def _total(calls: list[Call], passes: list[int]) -> Work:
    pairs = list(zip(passes, calls, strict=True))
    return Work(sum(n * call.operations for n, call in pairs), float(sum(n * call.bytes for n, call in pairs)))


def _above_z1(calls: list[Call], i: int) -> bool:
    """In the classifier, between the first pool's output and the class scores."""
    pools = [j for j, call in enumerate(calls) if isinstance(call.layer, layers.MaxPool2d)]
    return pools[0] < i and not calls[i].path.startswith("segmenter")


@contextmanager
def op_times() -> Iterator[dict[str, float]]:
    """Seconds spent in each operation of gland.ops while the context lasts; inner operations count for the outer one."""
    times: dict[str, float] = {}
    names = [n for n, f in vars(ops).items() if callable(f) and getattr(f, "__module__", "") == "gland.ops"]
    names = [n for n in names if n[0].islower() and n[0] != "_"]
    before = {name: getattr(ops, name) for name in names}
    depth = 0

    def timed(name, function):
        def call(*args, **kwargs):
            nonlocal depth
            depth += 1
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                depth -= 1
                if depth == 0:
                    times[name] = times.get(name, 0.0) + time.perf_counter() - start

        return call

    try:
        for name, function in before.items():
            setattr(ops, name, timed(name, function))
        yield times
    finally:
        for name, function in before.items():
            setattr(ops, name, function)
