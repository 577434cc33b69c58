"""gland/backend.py: where a run computes, what is said where no GPU can be used, and what comes and goes."""

import sys

import numpy as np
import pytest
import standin_cupy
from cuda_on_cpu import MISSING

from gland import backend
from gland.errors import InputError

pytestmark = pytest.mark.skipif(bool(MISSING), reason=str(MISSING))


@pytest.fixture
def cupy(monkeypatch):
    return standin_cupy.install(monkeypatch)


def refuses(text):
    def function(*_, **__):
        raise standin_cupy.CUDARuntimeError(text)

    return function


def test_a_usable_gpu_is_chosen_and_named(cupy):
    assert backend.select("gpu") == backend.select("auto") == (True, "a processor in disguise")
    assert backend.select("cpu") == (False, "the processor")


def said(device="gpu"):
    with pytest.raises(InputError) as caught:
        backend.select(device)
    assert backend.select("auto") == (False, "the processor")
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_without_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    text = said()
    assert "CuPy" in text and "pip install 'cupy-cuda13x" in text and "--device cpu" in text


def test_with_a_cupy_that_does_not_load(monkeypatch, tmp_path):
    story = "\\n====\\nlibcuda.so.1 is missing\\n  a long story\\n"
    (tmp_path / "cupy.py").write_text(f'raise ImportError("{story}")\n')
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert "does not load: libcuda.so.1 is missing" in said()


class Wrong(standin_cupy.RawModule):
    def get_function(self, name):
        return lambda grid, block, args: None


OLD = refuses("cudaErrorInsufficientDriver: CUDA driver version is insufficient")
NO_DEVICE = refuses("cudaErrorNoDevice: no CUDA-capable device is detected")
LACKING = {  # what the CUDA runtime or CuPy does, and what is said of it
    "no driver": ({"getDeviceCount": OLD, "driverGetVersion": lambda: 0}, ["no NVIDIA driver"]),
    "an old driver": ({"getDeviceCount": OLD}, ["knows CUDA 12.4", "CUDA 13.0", "update the driver"]),
    "no device": ({"getDeviceCount": lambda: 0}, ["no CUDA device", "CUDA_VISIBLE_DEVICES"]),
    "no device found": ({"getDeviceCount": NO_DEVICE}, ["no CUDA device", "CUDA_VISIBLE_DEVICES"]),
    "a CUDA that does not start": (
        {"getDeviceCount": refuses("cudaErrorSystemNotReady: system not yet initialized")},
        ["CUDA does not start: cudaErrorSystemNotReady"],
    ),
    "a device that runs no kernel": (
        {"RawModule": refuses("CUDA_ERROR_NO_BINARY_FOR_GPU: no kernel image\nis available")},
        ["no kernel runs on a processor in disguise: CUDA_ERROR_NO_BINARY_FOR_GPU: no kernel image"],
    ),
    "a device that computes wrongly": ({"RawModule": Wrong}, ["computes wrongly"]),
}


@pytest.mark.parametrize("case", LACKING)
def test_what_is_lacking_is_said(cupy, case):
    functions, parts = LACKING[case]
    for name, function in functions.items():
        setattr(cupy if name == "RawModule" else cupy.cuda.runtime, name, function)
    text = said()
    assert all(part in text for part in parts), text


class OutOfMemoryError(MemoryError):
    """As CuPy words it."""

    def __init__(self, size):
        super().__init__(f"Out of memory allocating {size:,} bytes (allocated so far: 5 bytes).")


def test_out_of_memory_says_what_was_asked_what_is_free_and_what_to_reduce(cupy):
    sentence = "5 MiB were asked for, 3 of 8 MiB are free; reduce --batch"
    with pytest.raises(InputError, match=sentence), backend.memory_explained("--batch"):
        raise OutOfMemoryError(5 << 20)


def test_the_hosts_own_lack_of_memory_is_not_the_gpus():
    with pytest.raises(MemoryError), backend.memory_explained("--batch"):
        raise MemoryError("Unable to allocate 5 GiB")


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 3, 1, 2), (3, 2, 0, 1)])
def test_memory_layout_is_kept_on_the_way_up_and_values_on_the_way_down(cupy, axes):
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).transpose(axes)
    there = backend.to_device(x)
    assert backend.is_device_array(there) and not backend.is_device_array(x)
    assert there.strides == x.strides
    assert np.array_equal(backend.to_host(there), x) and backend.to_host(x) is x


def test_a_number_goes_up_as_an_array_without_axes(cupy):
    assert backend.to_device(np.array(2.5)).shape == ()
