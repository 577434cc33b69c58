"""A module that stands for cupy where there is no GPU: what gland asks of CuPy, its kernels run on the processor.

While a stream records, nothing is computed: kernels and array operations are kept, and launching the graph runs them again
on the same memory. So a step that reads a number on the host, or copies between host and device, is found out.
"""

import sys
import types
from collections.abc import Callable
from contextlib import contextmanager

import numpy as np
from cuda_on_cpu import EmulatedArray, emulator

from gland.ops.device import launch

recording: list[Callable[[], None]] | None = None
counts = {"get": 0, "set": 0, "kernels": 0, "array operations": 0, "graphs": 0}


class HostTraffic(RuntimeError):
    """CUDA's refusal of a copy between host and device while a stream records."""


def _refuse_while_recording(what):
    if recording is not None:
        raise HostTraffic(f"operation not permitted when stream is capturing: {what}")


def _do(work, keep=True):
    """Run it now, or keep it for the graph."""
    if recording is not None and keep:
        recording.append(work)
    else:
        work()


class ndarray(EmulatedArray):
    """cupy.ndarray; a ufunc never gives a bare number, as in CuPy."""

    def get(self):
        _refuse_while_recording("get")
        counts["get"] += 1
        return np.array(self, subok=False)

    def set(self, values, stream=None):
        _refuse_while_recording("set")
        counts["set"] += 1
        assert type(values) is np.ndarray and values.shape == self.shape and values.dtype == self.dtype
        np.copyto(np.asarray(self), values)

    def __float__(self):
        return float(self.get())

    __bool__ = __int__ = __index__ = None

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        if any(type(a) is np.ndarray and a.ndim for a in inputs):
            raise TypeError("Unsupported type <class 'numpy.ndarray'>")
        counts["array operations"] += 1
        call, plain = getattr(ufunc, method), [np.asarray(a) if isinstance(a, ndarray) else a for a in inputs]
        if out is None:
            with np.errstate(all="ignore"):  # while recording, on whatever the memory holds
                y = np.asarray(call(*plain, **options)).view(ndarray)
            if recording is not None:
                recording.append(lambda: np.copyto(np.asarray(y), call(*plain, **options)))
            return y
        (y,) = out
        _do(lambda: call(*plain, out=np.asarray(y), **options))
        return y

    def __setitem__(self, key, value):
        if type(value) is np.ndarray:
            raise TypeError("Unsupported type <class 'numpy.ndarray'>")
        counts["array operations"] += 1
        _do(lambda: np.asarray(self).__setitem__(key, np.asarray(value)))

    def _copied(self, make):
        y = make().view(ndarray)
        if recording is not None:
            recording.append(lambda: np.copyto(np.asarray(y), np.asarray(self)))
        return y

    def copy(self, order="C"):
        return self._copied(lambda: np.array(self, order=order, subok=False))

    def astype(self, dtype, copy=True):
        return self._copied(lambda: np.asarray(self).astype(dtype))


ndarray.__module__ = "cupy"


def _can_be_passed(a):
    """An array of the device, a number of NumPy's, or by value a NumPy array of one element; np.void only from CuPy 14 on."""
    return isinstance(a, ndarray | np.number | np.bool_) or (type(a) is np.ndarray and a.size == 1)


class RawModule:
    def __init__(self, code, options=(), name_expressions=None):
        self.code, self.names = code, name_expressions

    def get_function(self, name):
        if name == "trial":
            return lambda grid, block, args: np.add(np.asarray(args[0]), 1, out=np.asarray(args[0]))
        assert name in self.names, f"{name} was not named when the module was compiled"
        file = next(f for f in launch.files() if launch.source(f).text == self.code)
        kernel = launch.Kernel(launch.source(file), name)

        def run(grid, block, args, shared_mem=0):
            assert all(type(n) is int for n in (*grid, *block)) and len(grid) == len(block) == 3
            assert all(map(_can_be_passed, args)), "a Python number would be passed as 8 bytes"
            counts["kernels"] += 1
            _do(lambda: emulator.run(kernel, grid, block, list(args), shared_mem))

        return run


class Stream:
    current = 0

    def __init__(self, non_blocking=False):
        pass

    def __enter__(self):
        Stream.current += 1
        return self

    def __exit__(self, *_):
        Stream.current -= 1

    def begin_capture(self):
        global recording
        assert Stream.current, "the recording stream must be the current one"
        recording = []

    def end_capture(self):
        global recording
        work, recording = recording, None
        return Graph(work)

    def wait_event(self, event):
        pass


class Graph:
    def __init__(self, work):
        self.work = work

    def launch(self, stream=None):
        counts["graphs"] += 1
        for work in self.work:
            work()


class Event:
    def __init__(self, disable_timing=False):
        pass

    def record(self, stream=None):
        pass

    def synchronize(self):
        pass


class MemoryPool:
    malloc = None

    def free_bytes(self):
        return 0


@contextmanager
def using_allocator(allocator):
    yield


class CUDARuntimeError(RuntimeError):
    pass


def module() -> types.ModuleType:
    """A fresh module named cupy, one device in it."""
    cp = types.ModuleType("cupy")
    cp.ndarray, cp.RawModule = ndarray, RawModule
    cp.asarray = lambda x: x if isinstance(x, ndarray) else _up(x)
    cp.get_default_memory_pool = MemoryPool
    cp.cuda = types.SimpleNamespace(
        Stream=Stream, Event=Event, MemoryPool=MemoryPool, using_allocator=using_allocator,
        Device=lambda: types.SimpleNamespace(id=0), alloc_pinned_memory=bytearray,
        runtime=types.SimpleNamespace(
            getDeviceCount=lambda: 1, getDeviceProperties=lambda i: {"name": b"a processor in disguise"},
            memGetInfo=lambda: (3 << 20, 8 << 20), driverGetVersion=lambda: 12040, runtimeGetVersion=lambda: 13000,
            CUDARuntimeError=CUDARuntimeError,
        ),
    )  # fmt: skip
    return cp


def _up(x):
    _refuse_while_recording("asarray")
    counts["set"] += 1
    return np.array(x, order="C", subok=False).view(ndarray)


def install(monkeypatch) -> types.ModuleType:
    """cupy is the stand-in until the test ends. The launcher's caches hold modules of one cupy or the other."""
    cp = module()
    monkeypatch.setitem(sys.modules, "cupy", cp)
    launch._device_module.cache_clear()
    launch._device_function.cache_clear()
    counts.update(dict.fromkeys(counts, 0))
    return cp
