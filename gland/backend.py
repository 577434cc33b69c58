"""Where arrays live: the only file that imports cupy. It says in one sentence what a GPU run lacks, if it lacks something."""

import os
import re
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from gland.errors import InputError

Array = Any
PACKAGES = "pip install 'cupy-cuda13x[ctk]' (driver 580 or newer), or 'cupy-cuda12x[ctk]' (driver 525 or newer)"


class Backend(NamedTuple):
    """Where a run computes."""

    is_device: bool
    name: str

    def to_device(self, x: np.ndarray) -> Array:
        """x where this backend computes."""
        return to_device(x) if self.is_device else x


def cupy() -> types.ModuleType:
    """The module cupy. Raises InputError, with what to install, if it is not there or does not load."""
    try:
        import cupy
    except ModuleNotFoundError as error:
        if error.name != "cupy":
            raise InputError(f"CuPy does not load: {_first_line(error)}; {PACKAGES}") from error
        raise InputError(f"CuPy is not installed: {PACKAGES}") from error
    except ImportError as error:
        raise InputError(f"CuPy is installed but does not load: {_first_line(error)}; {PACKAGES}") from error
    return cupy


def select(device: str) -> Backend:
    """ "cpu", "gpu", or "auto": the GPU if kernels run on it. Raises InputError for "gpu" without a usable one, and where the
    environment's GLAND_THREADS or GLAND_OPS is nothing that they can be."""
    _check_environment()
    host = Backend(False, "the processor" + ", by the definitions of gland/ops/plain.py" * plain_is_asked_for())
    if device == "cpu":
        return host
    try:
        return Backend(True, usable_device())
    except InputError as error:
        if device == "gpu":
            raise InputError(f"--device gpu: no GPU can be used: {error}; or choose --device cpu") from error
        return host


def given_threads() -> int | None:
    """What the environment's GLAND_THREADS says, None where it says nothing that can be."""
    given = os.environ.get("GLAND_THREADS", "")
    return int(given) if re.fullmatch("[1-9][0-9]{0,2}", given) else None


def plain_is_asked_for() -> bool:
    """Whether the environment's GLAND_OPS wants the host's operations by their definitions (gland/ops/plain.py)."""
    return os.environ.get("GLAND_OPS") == "plain"


def _check_environment() -> None:
    if (given := os.environ.get("GLAND_THREADS")) and given_threads() is None:
        raise InputError(f"GLAND_THREADS is {given!r}; it must be a number from 1 to 999, or not be set")
    if (given := os.environ.get("GLAND_OPS")) and not plain_is_asked_for():
        raise InputError(f"GLAND_OPS is {given!r}; it must be plain, or not be set")


def usable_device() -> str:
    """The name of the GPU, once a kernel has been compiled and has run on it. Raises InputError: what is missing."""
    cp = cupy()
    runtime = cp.cuda.runtime
    try:
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        raise InputError(_no_device(runtime, error)) from error
    if count == 0:
        raise InputError("there is no CUDA device; is it hidden by CUDA_VISIBLE_DEVICES?")
    name = runtime.getDeviceProperties(cp.cuda.Device().id)["name"].decode()
    try:
        x = cp.asarray(np.arange(4, dtype=np.float32))
        module = cp.RawModule(code=_TRIAL)
        module.get_function("trial")((1,), (4,), (x,))
        right = np.array_equal(x.get(), [1, 2, 3, 4])
    except Exception as error:  # whatever keeps kernels from running is told in CUDA's own words
        raise InputError(f"no kernel runs on {name}: {_first_line(error)}; {PACKAGES}") from error
    if not right:
        raise InputError(f"{name} computes wrongly: a kernel that adds 1 gave something else; check its driver")
    return name


_TRIAL = 'extern "C" __global__ void trial(float* x) { x[threadIdx.x] += 1; }'


def _no_device(runtime: Any, error: Exception) -> str:
    """What getDeviceCount's failure means."""
    text = _first_line(error)
    if "InsufficientDriver" in text:
        driver, needed = runtime.driverGetVersion(), runtime.runtimeGetVersion()
        if driver == 0:
            return "there is no NVIDIA driver; install one from nvidia.com/drivers"
        return (
            f"the NVIDIA driver knows CUDA {cuda_version(driver)} and CuPy was made for CUDA {cuda_version(needed)}; "
            f"update the driver or {PACKAGES}"
        )
    if "NoDevice" in text:
        return "there is no CUDA device; is it hidden by CUDA_VISIBLE_DEVICES?"
    return f"CUDA does not start: {text}"


def cuda_version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" =")]
    return (lines[0] if lines else type(error).__name__).rstrip(".:")


def is_device_array(x: Array) -> bool:
    """True for anything but a plain numpy array."""
    return type(x) is not np.ndarray


def to_host(x: Array) -> np.ndarray:
    """x as a numpy array; x itself if it is one."""
    return x.get() if is_device_array(x) and hasattr(x, "get") else np.asarray(x)


def to_device(x: np.ndarray) -> Array:
    """x on the device, in the same memory layout. Raises InputError without CuPy."""
    order = np.argsort([-abs(s) for s in x.strides], kind="stable").tolist()  # the axes as they lie in memory
    there = cupy().asarray(np.asarray(x.transpose(order), order="C"))
    return there.transpose(np.argsort(order).tolist())


def free_memory() -> tuple[int, int]:
    """Free and total bytes of the device, blocks that CuPy keeps for reuse counted as free."""
    cp = cupy()
    free, total = cp.cuda.runtime.memGetInfo()
    return free + cp.get_default_memory_pool().free_bytes(), total


@contextmanager
def memory_explained(reduce: str) -> Iterator[None]:
    """Turns the device's running out of memory into an InputError: asked, free, and what to reduce."""
    try:
        yield
    except MemoryError as error:
        asked = re.search(r"allocating ([\d,]+) bytes", str(error))
        if asked is None:  # not the device's
            raise
        free, total = free_memory()
        raise InputError(
            f"the GPU is out of memory: {int(asked[1].replace(',', '')) / 2**20:,.0f} MiB were asked for, "
            f"{free / 2**20:,.0f} of {total / 2**20:,.0f} MiB are free; reduce {reduce}"
        ) from error


def compile_module(text: str, options: tuple[str, ...], names: list[str]) -> Any:
    """Kernels compiled by NVRTC for the device at hand; CuPy keeps the result on disk."""
    return cupy().RawModule(code=text, options=options, name_expressions=names)
