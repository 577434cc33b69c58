"""Launches kept with their arguments and results, to be run again by a program built with a checker in it.

    with Recording() as recording: ...operations on emulated arrays...
    recording.replay("memory", source)      # None, or the checker's report

Modes: "values" (another compiler level and thread order must give the same bits), "memory" (address and undefined-behaviour
sanitizers, poisoned zones around every array), "races" (reads and writes between barriers, inside and between blocks).
"""

import math
import mmap
import struct
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cuda_on_cpu import emulator
from cuda_on_cpu.build import build
from cuda_on_cpu.emulator import ORDERS, EmulatedArray, listening
from gland.ops.device.launch import Kernel, Parameter, Source, register

MAP_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)
SOME = 33  # blocks of a launch on huge arrays
SECONDS = 240  # a replay that takes longer has an endless loop: the longest takes 20 s on a machine with room


class Launch(NamedTuple):
    """One launch: values as converted, arrays copied before it ran; results are the written arrays after it, else None."""

    kernel: Kernel
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared: int
    values: list
    results: list[np.ndarray | None]
    only: int = 0  # how many blocks are replayed, evenly spaced; 0 for all

    def pack(self, order: str) -> bytes:
        """What replay.cpp reads."""
        parts = [_text(self.kernel.expression), struct.pack("<6I", *self.grid, *self.block)]
        parts.append(struct.pack("<IiIII", self.shared, ORDERS.index(order), 1, self.only, len(self.values)))
        for p, value, result in zip(self.kernel.parameters, self.values, self.results, strict=True):
            kind = _kind(p, value)
            parts += [_text(p.name), struct.pack("<IIQ", kind, result is not None, value.nbytes)]
            parts += [value.tobytes()] if kind < 2 else []
            parts += [result.tobytes()] if result is not None else []
        return b"".join(parts)


def _kind(p: Parameter, value: Any) -> int:
    if not p.pointer:
        return 0  # a number, or a struct
    return 3 if isinstance(value, HugeArray) else 1 if isinstance(value, np.ndarray) else 2


def _text(s: str) -> bytes:
    return struct.pack("<I", len(s)) + s.encode()


class HugeArray(EmulatedArray):
    """Zeros, however many: memory that is reserved but not taken. Its launches are recorded and not run."""

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function is np.empty_like:
            return huge(kwargs["shape"], kwargs["dtype"])
        return super().__array_function__(function, types, args, kwargs)


def huge(shape: tuple[int, ...], dtype: Any) -> HugeArray:
    """A huge array of this shape."""
    n = max(1, math.prod(shape))
    memory = mmap.mmap(-1, n * np.dtype(dtype).itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE)
    return np.ndarray(shape, dtype, memory).view(HugeArray)


class Recording:
    """A context that keeps every launch on emulated arrays."""

    def __init__(self) -> None:
        self.launches: list[Launch] = []

    def __enter__(self) -> "Recording":
        self._context = listening(self._keep)
        self._context.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._context.__exit__(*error)

    def _keep(
        self, kernel: Kernel, grid: tuple, block: tuple, values: list, shared: int, run: Callable[[], None]
    ) -> None:
        if any(isinstance(v, HugeArray) for v in values):
            self.launches.append(Launch(kernel, grid, block, shared, values, [None] * len(values), only=SOME))
            return
        before = [v.get() if isinstance(v, EmulatedArray) else v for v in values]
        run()
        after = [
            v.get() if isinstance(v, EmulatedArray) and not p.const else None for p, v in zip(kernel.parameters, values)
        ]
        self.launches.append(Launch(kernel, grid, block, shared, before, after))

    def of(self, file: str, instances: Sequence[str] | None = None) -> "Recording":
        """The launches of the kernels of one file, or of some of its instances."""
        part = Recording()
        for launch in self.launches:
            kernel = launch.kernel
            if kernel.source.file == file and (instances is None or kernel.expression in instances):
                part.launches.append(launch)
        return part

    def replay(self, mode: str, source: Source, order: str = "forward") -> str | None:
        """Run all launches by a program built from source. Returns None, or the report of the first fault.

        Raises BuildError if g++ refuses the source.
        """
        program = build(source.text, source.instances, mode)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "launches"
            packed = [launch.pack(order) for launch in self.launches]
            path.write_bytes(struct.pack("<I", len(packed)) + b"".join(packed))
            try:
                done = subprocess.run([program, path], capture_output=True, text=True, timeout=SECONDS, check=False)
            except subprocess.TimeoutExpired:
                return f"FAULT endless: no end after {SECONDS} s"
        if done.returncode == 0:
            return None
        return done.stderr or f"FAULT crash: exit status {done.returncode}"


register(HugeArray, emulator.run)
