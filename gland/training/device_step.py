"""A training step on the device: the batch goes up while the step before computes, and nothing comes back.

Host memory that the device copies from must be pinned, and must stay untouched until the copy is done. So there are two sets of
buffers, used in turn: while the device computes with one batch, the next is copied beside it on a stream of its own.
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from tqdm import tqdm

from gland import backend, ops
from gland.data import Batch
from gland.networks import Losses
from gland.ops.device.graph import Recorded
from gland.training.solver import Solver

Array = Any


class DeviceStep:
    """One step of a phase; call it with a batch and a rate.

    compute(x, mask, label) -> Losses adds the gradient to the network's. totals: what ops.tally adds to.
    """

    def __init__(self, compute: Callable[[Array, Array, Array], Losses], solver: Solver, totals: Array) -> None:
        self.compute, self.solver, self.totals = compute, solver, totals
        self.upload: Upload | None = None
        self._told = False
        why = "dropout is drawn on the host at every step" if solver.network.random else None
        self.run = Recorded(self._work, why)

    def __call__(self, batch: Batch, rate: float) -> None:
        values = [
            batch.images.transpose(0, 2, 3, 1),  # as it lies in memory
            batch.mask,
            batch.malignant,
            np.array([rate], self.solver.network.flat.dtype),
        ]
        if self.upload is None:
            self.upload = Upload(values)
        self.upload(values, self.run.stream)
        self.run()
        if self.run.reason and not self._told:
            tqdm.write(f"No CUDA graph, since {self.run.reason}; each kernel is launched by itself.", file=sys.stderr)
            self._told = True

    @property
    def inputs(self) -> tuple[Array, Array, Array]:
        """The step's own x (N,3,H,W), mask and label, on the device; every batch is copied into them."""
        assert self.upload is not None, "no batch has been uploaded yet"
        x, mask, label, _ = self.upload.arrays
        return x.transpose(0, 3, 1, 2), mask, label

    def _work(self) -> None:
        assert self.upload is not None
        x, mask, label = self.inputs
        losses = self.compute(x, mask, label)
        self.solver.step(self.upload.arrays[3])
        ops.tally(self.totals, losses, mask, label)


class Upload:
    """Host arrays of fixed shapes into the same device arrays, again and again, without waiting."""

    def __init__(self, like: list[np.ndarray]) -> None:
        cp = backend.cupy()
        self.arrays = [backend.to_device(a) for a in like]
        self._sets = [_Set(like) for _ in range(2)]
        self._stream = cp.cuda.Stream(non_blocking=True)
        self._turn = 0

    def __call__(self, values: list[np.ndarray], stream: Any) -> None:
        """Copy values into `arrays`, in stream's order."""
        current, self._turn = self._sets[self._turn], 1 - self._turn
        current.copied.synchronize()  # two uploads ago: done long since, unless the device lags behind
        for pinned, value in zip(current.pinned, values, strict=True):
            pinned[...] = value
        self._stream.wait_event(current.read)
        for there, pinned in zip(current.there, current.pinned, strict=True):
            there.set(pinned, stream=self._stream)
        current.copied.record(self._stream)
        stream.wait_event(current.copied)
        with stream:
            for array, there in zip(self.arrays, current.there, strict=True):
                array[...] = there
        current.read.record(stream)


class _Set:
    """Pinned host arrays, the device arrays that they are copied to, and when both may be used again."""

    def __init__(self, like: list[np.ndarray]) -> None:
        cp = backend.cupy()
        self.pinned = [_pinned(cp, a) for a in like]
        self.there = [backend.to_device(a) for a in like]
        self.copied, self.read = cp.cuda.Event(disable_timing=True), cp.cuda.Event(disable_timing=True)


def _pinned(cp: Any, like: np.ndarray) -> np.ndarray:
    memory = cp.cuda.alloc_pinned_memory(max(like.nbytes, 1))
    return np.frombuffer(memory, like.dtype, like.size).reshape(like.shape)
