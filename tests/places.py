"""Where code runs in the tests: on the emulator always, on CuPy's arrays where there is a GPU (`pytest -m gpu`), on threads."""

from contextlib import contextmanager

import numpy as np
import pytest
from cuda_on_cpu import MISSING, emulated

from gland import backend
from gland.errors import InputError
from gland.ops.host import threads


def _no_gpu() -> str:
    try:
        backend.usable_device()
    except InputError as error:
        return str(error)
    return ""


_reason = _no_gpu()
ON_GPU = pytest.mark.gpu, pytest.mark.skipif(bool(_reason), reason=_reason)
PLACES = (
    pytest.param(emulated, id="emulator", marks=pytest.mark.skipif(bool(MISSING), reason=str(MISSING))),
    pytest.param(backend.to_device, id="cupy", marks=ON_GPU),
)
everywhere = pytest.mark.parametrize("there", PLACES)

TOLERANCE = {np.dtype(np.float64): 1e-11, np.dtype(np.float32): 1e-5}


def assert_close(device, host, tolerance=None):
    """The same numbers within the tolerance of their dtype, relative to the largest; whole numbers exactly."""
    device, host = backend.to_host(device), np.asarray(host)
    assert device.shape == host.shape and device.dtype == host.dtype
    if host.dtype.kind in "iu":
        assert np.array_equal(device, host)
        return
    scale = max(1e-30, np.abs(host).max(initial=0))
    error = np.abs(device - host).max(initial=0) / scale
    assert error <= (tolerance or TOLERANCE[host.dtype]), f"relative error {error:.1e}"


@contextmanager
def on_threads(count):
    """The host's operations by so many threads, and by as many as before afterwards."""
    before = threads.count_threads()
    threads.set_threads(count)
    try:
        yield
    finally:
        threads.set_threads(before)
