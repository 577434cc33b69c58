"""Arrays whose kernels run on the processor, and the launches that they make."""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np

from cuda_on_cpu.build import build
from gland.ops.device import launch
from gland.ops.device.launch import Kernel, Source

ORDERS = ("forward", "reverse", "random")


class EmulatedArray(np.ndarray):
    """Stands for a device array: gland.ops runs its kernels on it. `.get()` brings it to the host, as CuPy's does."""

    def get(self) -> np.ndarray:
        """A plain array over the same values."""
        return np.array(self, subok=False)

    def __array_function__(self, function, types, args, kwargs):
        """Fresh memory is NaN, or -1: who reads it before it is written is found out."""
        y = super().__array_function__(function, types, args, kwargs)
        if function is np.empty_like:
            np.ndarray.view(y, np.ndarray).reshape(-1).view(np.uint8).fill(0xFF)
        return y

    def set(self, values: np.ndarray) -> None:
        """Copy a host array of the same shape and dtype here, as CuPy's does."""
        if type(values) is not np.ndarray or values.shape != self.shape or values.dtype != self.dtype:
            raise ValueError(f"a host array {self.shape} of {self.dtype} is needed")
        self[...] = values


def emulated(x: np.ndarray) -> EmulatedArray:
    """x "on the device": a copy, in the same memory layout."""
    return np.array(x, order="K", subok=False).view(EmulatedArray)


class KernelError(RuntimeError):
    """What a GPU leaves undefined and the emulator does not: barrier divergence, absent lanes, impossible launches."""


class _Launch(ctypes.Structure):
    _fields_ = (
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared", ctypes.c_size_t),
        ("order", ctypes.c_int),
        ("seed", ctypes.c_uint),
        ("only", ctypes.c_uint),
    )


_state: dict[str, Any] = {"order": 0, "seed": 1, "listener": None}


@contextmanager
def thread_order(order: str, seed: int = 1) -> Iterator[None]:
    """Blocks and threads run forward, in reverse, or shuffled: a correct kernel gives the same bits."""
    before = dict(_state)
    _state.update(order=ORDERS.index(order), seed=seed)
    try:
        yield
    finally:
        _state.update(before)


@contextmanager
def listening(listener: Callable[[Kernel, tuple, tuple, list, int, Callable[[], None]], None]) -> Iterator[None]:
    """listener(kernel, grid, block, values, shared, run) is called for every launch, and calls run() itself."""
    before, _state["listener"] = _state["listener"], listener
    try:
        yield
    finally:
        _state["listener"] = before


def run(kernel: Kernel, grid: tuple, block: tuple, values: list, shared: int) -> None:
    """The runner of EmulatedArray. Raises KernelError."""

    def run_it() -> None:
        run_on(_library(kernel.source), kernel, grid, block, values, shared)

    if _state["listener"] is None:
        run_it()
    else:
        _state["listener"](kernel, grid, block, values, shared, run_it)


def run_on(library: ctypes.CDLL, kernel: Kernel, grid: tuple, block: tuple, values: list, shared: int) -> None:
    """Run a kernel from this build of its file."""
    cells = [_cell(v) for v in values]
    pointers = (ctypes.c_void_p * max(len(cells), 1))(*[ctypes.addressof(c) for c in cells])
    how = _Launch(grid, block, shared, _state["order"], _state["seed"], 0)
    wrong = library.cuda_run(kernel.source.instances.index(kernel.expression), ctypes.byref(how), pointers)
    if wrong is not None:
        raise KernelError(f"{kernel.expression} on a grid of {grid}, blocks of {block}: {wrong.decode()}")


def _cell(value: Any) -> ctypes.Array:
    if isinstance(value, EmulatedArray):
        value = np.uint64(value.__array_interface__["data"][0])
    return ctypes.create_string_buffer(value.tobytes(), max(8, value.nbytes))


@lru_cache(None)
def _loaded(text: str, instances: tuple[str, ...]) -> ctypes.CDLL:
    library = ctypes.CDLL(str(build(text, list(instances), "library")))
    library.cuda_run.restype = library.cuda_signature.restype = ctypes.c_char_p
    return library


def _library(source: Source) -> ctypes.CDLL:
    return _loaded(source.text, tuple(source.instances))


def compiled_signature(kernel: Kernel) -> str:
    """The parameters as the compiler sees them: `pf4 Pf4 i4 ` for (const float*, float*, int)."""
    return _library(kernel.source).cuda_signature(kernel.source.instances.index(kernel.expression)).decode()


launch.register(EmulatedArray, run)
