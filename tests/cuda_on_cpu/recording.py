"""Launches kept with their arguments and results, to be run again by a program built with a checker in it.

    with Recording() as recording: ...operations on emulated arrays...
    recording.replay("memory", source)      # None, or the checker's report

Modes: "values" (another compiler level and thread order must give the same bits), "memory" (address and undefined-behaviour
sanitizers, poisoned zones around every array), "races" (reads and writes between barriers, inside and between blocks).
"""

import struct
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cuda_on_cpu.build import build
from cuda_on_cpu.emulator import ORDERS, EmulatedArray, listening
from gland.ops.launch import Kernel, Source

SECONDS = 60  # a replay that takes longer has an endless loop


class Launch(NamedTuple):
    """One launch: values as converted, arrays copied before it ran; results are the written arrays after it, else None."""

    kernel: Kernel
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared: int
    values: list
    results: list[np.ndarray | None]

    def pack(self, order: str) -> bytes:
        """What replay.cpp reads."""
        parts = [_text(self.kernel.expression), struct.pack("<6I", *self.grid, *self.block)]
        parts.append(struct.pack("<IiII", self.shared, ORDERS.index(order), 1, len(self.values)))
        for p, value, result in zip(self.kernel.parameters, self.values, self.results, strict=True):
            is_array = isinstance(value, np.ndarray)
            kind = 1 if is_array else 2 if p.pointer else 0
            parts += [_text(p.name), struct.pack("<IIQ", kind, result is not None, value.nbytes if kind < 2 else 0)]
            parts += [value.tobytes()] if kind < 2 else []
            parts += [result.tobytes()] if result is not None else []
        return b"".join(parts)


def _text(s: str) -> bytes:
    return struct.pack("<I", len(s)) + s.encode()


class Recording:
    """A context that keeps every launch on emulated arrays, at most `most` for one kernel and one shape of its launch."""

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
        before = [v.get() if isinstance(v, EmulatedArray) else v for v in values]
        run()
        after = [
            v.get() if isinstance(v, EmulatedArray) and not p.const else None for p, v in zip(kernel.parameters, values)
        ]
        self.launches.append(Launch(kernel, grid, block, shared, before, after))

    def of(self, file: str) -> "Recording":
        """The launches of the kernels of one file."""
        part = Recording()
        part.launches = [launch for launch in self.launches if launch.kernel.source.file == file]
        return part

    def replay(self, mode: str, source: Source, order: str = "forward") -> str | None:
        """Run all launches by a program built from source. Returns None, or the report of the first fault.

        Raises BuildError if g++ refuses the source.
        """
        program = build(source.text, source.instances, mode)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "launches"
            path.write_bytes(
                struct.pack("<I", len(self.launches)) + b"".join(launch.pack(order) for launch in self.launches)
            )
            try:
                done = subprocess.run([program, path], capture_output=True, text=True, timeout=SECONDS, check=False)
            except subprocess.TimeoutExpired:
                return f"FAULT endless: no end after {SECONDS} s"
        if done.returncode == 0:
            return None
        return done.stderr or f"FAULT crash: exit status {done.returncode}"
