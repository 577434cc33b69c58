"""Every kernel compiled for every architecture, without a GPU: `python tests/kernel_builds.py` prints the table.

The compiler is NVRTC (the package nvidia-cuda-nvrtc, part of the `test` extra on Linux), called with what CuPy would pass;
without it nvcc, if there is one.
"""

import ctypes
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from gland.ops.device import launch

ARCHITECTURES = (75, 80, 86, 89, 90)
_FTZ = "-ftz=true"  # CuPy asks for it too
_ENTRY = re.compile(
    r"Compiling entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
    r".*?Used (\d+) registers([^\n]*)",
    re.S,
)


class Usage(NamedTuple):
    """What one kernel instance takes on one architecture; shared, stack and spilled in bytes."""

    kernel: str
    arch: int
    registers: int
    shared: int
    stack: int
    spilled: int


class CompileError(RuntimeError):
    """The compiler's own message."""


@lru_cache(None)
def _nvrtc() -> ctypes.CDLL | None:
    for package, folder in (("nvidia.cu13", "lib"), ("nvidia.cuda_nvrtc", "lib")):
        try:
            spec = importlib.util.find_spec(package)
        except ModuleNotFoundError:
            continue
        for place in spec.submodule_search_locations if spec else ():
            for path in sorted(Path(place, folder).glob("libnvrtc.so*")):
                return ctypes.CDLL(str(path))
    return None


def compiler() -> str | None:
    """Which compiler `usage` takes, by name; None if there is neither."""
    if _nvrtc() is not None:
        major, minor = ctypes.c_int(), ctypes.c_int()
        _nvrtc().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
        return f"NVRTC {major.value}.{minor.value}"
    return "nvcc" if shutil.which("nvcc") else None


def usage(source: launch.Source, arch: int) -> list[Usage]:
    """Compile all instances of a kernel file for sm_ARCH. Raises CompileError."""
    names, log = _by_nvrtc(source, arch) if _nvrtc() is not None else _by_nvcc(source, arch)
    found = []
    for symbol, stack, stores, loads, registers, rest in _ENTRY.findall(log):
        shared = re.search(r"(\d+) bytes smem", rest)
        spilled = int(stores) + int(loads)
        found.append(Usage(names[symbol], arch, int(registers), int(shared[1]) if shared else 0, int(stack), spilled))
    return sorted(found, key=lambda u: source.instances.index(u.kernel))


def _by_nvrtc(source: launch.Source, arch: int) -> tuple[dict[str, str], str]:
    lib, program = _nvrtc(), ctypes.c_void_p()
    _check(lib.nvrtcCreateProgram(ctypes.byref(program), source.text.encode(), b"kernels.cu", 0, None, None))
    try:
        for e in source.instances:
            _check(lib.nvrtcAddNameExpression(program, e.encode()))
        options = [*launch.OPTIONS, f"-arch=sm_{arch}", _FTZ, "--ptxas-options=-v"]
        texts = (ctypes.c_char_p * len(options))(*map(str.encode, options))
        failed = lib.nvrtcCompileProgram(program, len(options), texts)
        size = ctypes.c_size_t()
        _check(lib.nvrtcGetProgramLogSize(program, ctypes.byref(size)))
        log = ctypes.create_string_buffer(size.value)
        _check(lib.nvrtcGetProgramLog(program, log))
        if failed:
            raise CompileError(log.value.decode())
        names = {}
        for e in source.instances:
            symbol = ctypes.c_char_p()
            _check(lib.nvrtcGetLoweredName(program, e.encode(), ctypes.byref(symbol)))
            names[symbol.value.decode()] = e
        return names, log.value.decode()
    finally:
        lib.nvrtcDestroyProgram(ctypes.byref(program))


def _check(status: int) -> None:
    if status:
        raise CompileError(f"NVRTC status {status}")


def _by_nvcc(source: launch.Source, arch: int) -> tuple[dict[str, str], str]:
    """Templates are compiled by taking their addresses, and each symbol is matched to its instance by c++filt."""
    table = ", ".join(f"(void*)static_cast<decltype(&{e})>({e})" for e in source.instances)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernels.cu"
        path.write_text(f"{source.text}\nvoid* instances[] = {{{table}}};\n")
        options = [*launch.OPTIONS, f"-arch=sm_{arch}", _FTZ, "-Xptxas=-v", "-cubin", "-o", f"{folder}/out"]
        done = subprocess.run(["nvcc", *options, path], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CompileError(done.stderr)
    symbols = re.findall(r"Compiling entry function '(\w+)'", done.stderr)
    plain = subprocess.run(["c++filt"], input="\n".join(symbols), capture_output=True, text=True, check=True).stdout
    return {s: _instance(source, line) for s, line in zip(symbols, plain.splitlines())}, done.stderr


def _instance(source: launch.Source, signature: str) -> str:
    """`void conv<float, 64>(float const*, ...)`, or with `(int)64` as older compilers have it -> `conv<float, 64>`."""
    signature = re.sub(r"\((?:int|bool)\)", "", signature)
    return next(e for e in source.instances if re.search(rf"(^|\s){re.escape(e)}(\(|$)", signature))


def table(usages: list[Usage]) -> str:
    """A line a kernel: registers on each architecture, the most shared memory, the most stack, all spills."""
    lines = [f"{'kernel':<40}{''.join(f'sm_{a:<5}' for a in ARCHITECTURES)}{'shared':>8}{'stack':>7}{'spilled':>9}"]
    for kernel in dict.fromkeys(u.kernel for u in usages):
        mine = {u.arch: u for u in usages if u.kernel == kernel}
        registers = "".join(f"{mine[a].registers if a in mine else '-':<8}" for a in ARCHITECTURES)
        shared, stack = (max(getattr(u, f) for u in mine.values()) for f in ("shared", "stack"))
        lines.append(f"{kernel:<40}{registers}{shared:>8}{stack:>7}{sum(u.spilled for u in mine.values()):>9}")
    return "\n".join(lines)


def main() -> int:
    if compiler() is None:
        print("neither nvidia-cuda-nvrtc nor nvcc is installed: nothing was compiled", file=sys.stderr)
        return 2
    usages = [u for f in launch.files() for arch in ARCHITECTURES for u in usage(launch.source(f), arch)]
    print(f"{compiler()}: registers a thread; shared memory, stack and spills in bytes\n{table(usages)}")
    return 1 if any(u.spilled for u in usages) else 0


if __name__ == "__main__":
    sys.exit(main())
