"""python -m gland.doctor: what this machine has, what a run would need, and what is missing for a GPU."""

import argparse
import contextlib
import ctypes
import importlib.metadata
import os
import platform
import re
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_info

import gland
from gland import backend, console
from gland.doctor import memory
from gland.errors import InputError
from gland.networks import NETWORKS
from gland.ops.device import launch
from gland.ops.host import threads
from gland.training.options import Options, complete, parser

# extra of this package -> CUDA version that the driver must know, first driver that does, and the CuPy package
EXTRAS = {"gpu13": (13000, "580", "cupy-cuda13x"), "gpu": (12000, "525", "cupy-cuda12x")}
DEVICE_PART = ("network", "width", "crop", "batch")


class Driver(NamedTuple):
    """The NVIDIA driver, as it says itself, with or without CuPy."""

    cuda: int  # 13000 for CUDA 13.0
    version: str | None  # "580.65.06"


def driver() -> Driver | None:
    """The installed driver, or None."""
    for name in ("nvcuda.dll",) if os.name == "nt" else ("libcuda.so.1", "libcuda.so"):
        with contextlib.suppress(OSError, AttributeError):
            number = ctypes.c_int()
            if ctypes.CDLL(name).cuDriverGetVersion(ctypes.byref(number)) == 0:
                return Driver(number.value, _driver_version())
    return None


def _driver_version() -> str | None:
    with contextlib.suppress(OSError):
        found = re.search(r"\b(\d{3}\.\d+(?:\.\d+)?)\b", Path("/proc/driver/nvidia/version").read_text())
        return found[1] if found else None
    return None


def advice(found: Driver | None, wrong: str) -> str:
    """What to install, by what the driver can do. wrong: why no GPU can be used now."""
    if found is None:
        return (
            "there is no NVIDIA driver on this machine. With an NVIDIA GPU: install its driver, 580 or newer is best, and then\n"
            f"{_install('gpu13')}. Without one, --device cpu does everything."
        )
    installed = _installed()
    for extra, (cuda, _, package) in EXTRAS.items():
        if found.cuda >= cuda:
            if installed == [package]:
                return f"{package} is installed and fits the driver, but {wrong}."
            first = f"pip uninstall {' '.join(installed)}, then " if installed else ""
            return f"{first}{_install(extra)}, right for this driver."
    return f"the driver is too old. Install {EXTRAS['gpu'][1]} or newer, then {_install('gpu')}."


def _install(extra: str) -> str:
    return f"pip install '{EXTRAS[extra][2]}[ctk]' (this package's extra '{extra}')"


def _installed() -> list[str]:
    return [package for _, _, package in EXTRAS.values() if _version_of(package)]


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        return examine(options)
    except InputError as error:
        print(f"gland.doctor: {error}", file=sys.stderr)
        return 2


def examine(options: argparse.Namespace) -> int:
    """Print everything; 0 if the run that the options describe can be done here on the chosen device, else 1."""
    settings = _settings(options)
    _print("This machine", _host())
    wrong, free = _device()
    _print("The GPU", wrong if isinstance(wrong, list) else [("usable", f"no: {wrong}")])
    need = memory.need(settings)
    _print(f"A run of {' '.join(f'--{name} {getattr(settings, name)}' for name in DEVICE_PART)}", _needs(need))
    if isinstance(wrong, str):
        print(f"\nTo use a GPU: {advice(driver(), wrong)}")
        return 1 if options.device == "gpu" else 0
    if need.total > free:
        print(f"\nThat does not fit: {_mib(free)} are free. Reduce --batch, --crop or --width.")
        return 1 if options.device == "gpu" else 0
    print(f"\nThat fits: {_mib(free)} are free.")
    return 0


def _device() -> tuple[list[tuple[str, str]] | str, int]:
    """What the GPU is, and its free bytes; or why none can be used, and 0."""
    try:
        name = backend.usable_device()
    except InputError as error:
        return str(error), 0
    cp = backend.cupy()
    free, total = backend.free_memory()
    runtime, capability = cp.cuda.runtime, cp.cuda.Device().compute_capability
    return [
        ("usable", f"yes: {name}, compute capability {capability[:-1]}.{capability[-1]}"),
        ("memory", f"{_mib(free)} free of {_mib(total)}"),
        ("driver", _driver_line(driver())),
        ("CuPy", f"{cp.__version__}, made for CUDA {backend.cuda_version(runtime.runtimeGetVersion())}"),
        ("kernels", f"{len(launch.files())} files in {launch.KERNELS}"),
    ], free


def _host() -> list[tuple[str, str]]:
    blas = {
        f"{b['internal_api']} {b['version']}, {b['num_threads']} threads"
        for b in threadpool_info()
        if b["user_api"] == "blas"
    }
    installed = [f"{package} {_version_of(package)}" for package in _installed()]
    return [
        (
            "gland",
            f"{gland.__version__} on Python {platform.python_version()}, {platform.system()} {platform.machine()}",
        ),
        ("NumPy", f"{np.__version__} with {' and '.join(sorted(blas)) or 'a BLAS that does not name itself'}"),
        ("threads", f"{threads.count_threads()} share gland's own operations (GLAND_THREADS changes it)"),
        ("CuPy", ", ".join(installed) or "not installed"),
        ("driver", _driver_line(driver())),
    ]


def _needs(need: memory.Need) -> list[tuple[str, str]]:
    return [
        (
            "parameters",
            f"{need.parameters:,}; with gradients, the solver's state and the batches on their way {_mib(need.fixed)}",
        ),
        ("training step", f"{_mib(need.step)} more at its height, in {need.kernels} kernels"),
        ("whole images", f"{_mib(need.image)} more, of {' x '.join(map(str, memory.WHOLE_IMAGE))} pixels"),
        ("together", f"{_mib(need.total)} of GPU memory, besides what CUDA takes for itself"),
    ]


def _settings(options: argparse.Namespace) -> Options:
    given = [f"--{name}={getattr(options, name)}" for name in DEVICE_PART if getattr(options, name) is not None]
    return complete(parser().parse_args(given))


def _parser() -> argparse.ArgumentParser:
    train = console.program("train")
    description = "What this machine has, what a run would need, and what is missing for a GPU."
    p = argparse.ArgumentParser(prog=console.program("doctor"), description=description)
    p.add_argument("--network", choices=NETWORKS, help=f"as for {train}; default: joint")
    p.add_argument("--width", type=int, metavar="W", help=f"channels of the first stage; default: {train}'s")
    p.add_argument("--crop", type=int, metavar="PX", help=f"training window, pixels; default: {train}'s")
    p.add_argument("--batch", type=int, metavar="N", help="images a step; default: 4")
    p.add_argument(
        "--device", choices=("auto", "cpu", "gpu"), default="auto", help="gpu: exit with 1 if it cannot be used"
    )
    return p


def _print(title: str, lines: list[tuple[str, str]]) -> None:
    print(f"\n{title}")
    for name, text in lines:
        print(f"  {name:<14}{text}")


def _driver_line(found: Driver | None) -> str:
    if found is None:
        return "none"
    return f"{found.version or 'of unknown version'}, knows CUDA up to {backend.cuda_version(found.cuda)}"


def _mib(n: int) -> str:
    return f"{n / 2**20:,.0f} MiB"


def _version_of(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
