"""Where arrays live: the only file that imports cupy."""

from typing import Any, NamedTuple

import numpy as np

from gland.errors import InputError

Array = Any


class Backend(NamedTuple):
    """Where a run computes."""

    is_device: bool
    name: str

    def to_device(self, x: np.ndarray) -> Array:
        """x where this backend computes."""
        return to_device(x) if self.is_device else x


def is_device_array(x: Array) -> bool:
    """True for anything but a plain numpy array."""
    return type(x) is not np.ndarray


def to_host(x: Array) -> np.ndarray:
    """x as a numpy array; x itself if it is one."""
    return x.get() if is_device_array(x) and hasattr(x, "get") else np.asarray(x)


def to_device(x: np.ndarray) -> Array:
    """x on the device, in the same memory layout."""
    import cupy

    return cupy.asarray(x)


def select(device: str) -> Backend:
    """ "cpu", "gpu", or "auto": the GPU if one can be used. Raises InputError for "gpu" without a usable one."""
    if device == "gpu":
        raise InputError("no GPU can be used yet; choose --device cpu")
    return Backend(False, "the processor")
