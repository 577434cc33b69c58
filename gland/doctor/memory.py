"""How much memory a run needs on the device, known without one.

The device's own code runs on arrays that stand for device memory: every allocation is counted and no kernel is run, so the
answer is the real sequence of allocations of a training step, at its real sizes. NumPy's memory for them is never touched,
and so never really taken.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from gland import ops
from gland.data.crops import resized
from gland.errors import InputError
from gland.networks import Network, build
from gland.networks.alexnet import AT_ONCE
from gland.ops.device import launch
from gland.training.loop import TOTALS
from gland.training.options import Options
from gland.training.solver import SOLVERS, Solver

Array = Any
WHOLE_IMAGE = (522, 775)  # Warwick-QU's usual size, rows and columns
UPLOADS = 3  # the batch that is computed with, and two that are on their way; gland/training/device_step.py
_GRAIN = 512  # bytes; CuPy's allocator rounds up to it


class Ledger:
    """Bytes that live now, the most there ever were, and the kernels that would have been launched."""

    def __init__(self) -> None:
        self.live = self.peak = self.kernels = 0

    def add(self, n: int) -> None:
        self.live += n
        self.peak = max(self.peak, self.live)


class CountedArray(np.ndarray):
    """Stands for a device array. Its values mean nothing."""

    ledger: Ledger | None = None
    _bytes = 0

    def __array_finalize__(self, parent: Any) -> None:
        # a view's base is another counted array; memory of its own has no base, or NumPy's array that a ufunc made
        if CountedArray.ledger is not None and type(self.base) is not CountedArray:
            self._own, self._bytes = CountedArray.ledger, -(-self.nbytes // _GRAIN) * _GRAIN
            self._own.add(self._bytes)

    def __del__(self) -> None:
        if self._bytes:
            self._own.live -= self._bytes

    def set(self, values: np.ndarray) -> None:
        """A copy from the host, which does not change what is needed."""

    def get(self) -> np.ndarray:
        """Anything of this shape."""
        return np.zeros(self.shape, self.dtype)


def _count_kernel(*launched: Any) -> None:
    if CountedArray.ledger is not None:
        CountedArray.ledger.kernels += 1


launch.register(CountedArray, _count_kernel)


@contextmanager
def counting() -> Iterator[Ledger]:
    """The allocations of counted arrays inside."""
    CountedArray.ledger = ledger = Ledger()
    try:
        with np.errstate(all="ignore"):  # arithmetic on whatever the memory holds
            yield ledger
    finally:
        CountedArray.ledger = None


class Need(NamedTuple):
    """What a run takes on the device, in bytes where nothing else is said."""

    parameters: int  # how many numbers
    fixed: int  # parameters, gradients, the solver's state and the uploaded batches
    step: int  # beside it, at most, during a training step
    image: int  # beside it, at most, while whole images are segmented
    kernels: int  # launches a training step

    @property
    def total(self) -> int:
        """The most at any time; CUDA's own context comes on top."""
        return self.fixed + max(self.step, self.image)


def need(options: Options) -> Need:
    """What a run of these options needs. Raises InputError where it cannot run at all."""
    network = build(options)
    step, inputs, solver = prepare(network, options, CountedArray)
    held = sum(a.nbytes for a in vars(solver).values() if isinstance(a, np.ndarray))
    fixed = 2 * network.flat.nbytes + held + UPLOADS * sum(a.nbytes for a in inputs)
    try:
        with counting() as training:
            step()
        with counting() as image:
            _segment(network, options)
    except MemoryError as error:
        raise InputError(
            "a run of this size is beyond even this machine's address space; reduce --batch, --crop or --width"
        ) from error
    return Need(network.flat.size, fixed, training.peak, image.peak, training.kernels)


def prepare(
    network: Network, options: Options, kind: type[np.ndarray]
) -> tuple[Callable[[], None], tuple[Array, ...], Solver]:
    """A training step of a network moved to arrays of this kind, ready to be called, the batch that it reads, its solver."""
    for layer in network.layers.values():
        for name in layer.names:
            for attribute in (name, "d" + name):
                setattr(layer, attribute, getattr(layer, attribute).view(kind))
    network.flat, network.flat_grad = network.flat.view(kind), network.flat_grad.view(kind)
    network.set_rng(np.random.default_rng(0) if network.random else None)
    solver = SOLVERS[options.solver](network, options.momentum, options.decay, options.clip or None)
    n, crop = options.batch, options.crop
    shapes = ((n, crop, crop, 3), np.float32), ((n, crop, crop), np.float32), ((n,), np.int64), ((1,), np.float32)
    images: Array
    mask: Array
    label: Array
    rate: Array
    images, mask, label, rate = (np.zeros(shape, dtype).view(kind) for shape, dtype in shapes)
    totals: Array
    x, totals = images.transpose(0, 3, 1, 2), np.zeros(TOTALS).view(kind)

    def step() -> None:
        network.zero_grad()
        losses = network.loss_and_grad(x, mask, label, options.objective)
        solver.step(rate)
        ops.tally(totals, losses, mask, label)

    return step, (x, mask, label, rate), solver


def _segment(network: Network, options: Options) -> None:
    if options.network == "alexnet":
        n, h, w = AT_ONCE, options.crop, options.crop
    else:
        n = 1
        h, w = (size + -size % network.multiple for size in resized(WHOLE_IMAGE, network.scale))
    network.forward(np.zeros((n, h, w, 3), np.float32).view(CountedArray).transpose(0, 3, 1, 2))
