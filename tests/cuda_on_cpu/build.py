"""g++ builds of kernels/*.cu: a library to call from Python, or a program that replays launches under a checker.

Builds are kept by the hash of everything that goes into them, so a second run of the tests compiles nothing.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("GLAND_KERNEL_CACHE", HERE.parents[1] / "build" / "cuda_on_cpu"))
GXX = os.environ.get("CXX", "g++")
MISSING = None if shutil.which(GXX) else f"{GXX} is not installed: the kernels cannot be run on the processor"

_COMMON = [
    "-std=c++17", "-fPIC", "-ffp-contract=off", "-fno-gnu-unique", "-fno-threadsafe-statics", "-fmax-errors=5",
    "-Wall", "-Wextra", "-Wno-unknown-pragmas", "-Wno-unused-function", "-Wno-unused-variable",
    "-Wno-sign-compare", "-Wno-parentheses",
]  # fmt: skip
# mode: flags for the kernel text, flags for runtime and main
MODES = {
    "library": (["-O2"], ["-O2"]),
    "values": (["-O1"], ["-O2"]),
    "memory": (
        ["-O1", "-g1", "-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all"],
        ["-O2", "-DCUDA_ASAN"],
    ),
    "races": (["-O1", "-fsanitize=thread", "-fno-tree-loop-distribute-patterns"], ["-O2", "-DCUDA_SHADOW"]),
}  # fmt: skip
_LINK = {"memory": ["-fsanitize=address,undefined"]}


class BuildError(RuntimeError):
    """g++ refused the kernel; the message is its own."""


def build(text: str, instances: list[str], mode: str) -> Path:
    """A shared library (mode "library") or a replay program of a kernel file's whole text."""
    if mode == "library":
        return _cached("kernels.so", mode, _unit(text, instances), ["runtime.cpp"], ["-shared"])
    sources = ["runtime.cpp", "replay.cpp"] + (["shadow.cpp"] if mode == "races" else [])
    return _cached("replay", mode, _unit(text, instances), sources, _LINK.get(mode, []))


def _unit(text: str, instances: list[str]) -> str:
    entries = "".join(f"CUDA_ENTRY({e})\n" for e in instances)
    return (
        f'#include "cuda.h"\n#include "entries.h"\nnamespace {{\n{_shared(text)}\n}}\nnamespace cuda {{\n'
        f"extern const Entry cuda_entries[] = {{\n{entries}}};\nextern const int cuda_entry_count = {len(instances)};\n}}\n"
    )


def _shared(text: str) -> str:
    """`extern __shared__ float s[];` -> a pointer to the launch's dynamic shared memory; other __shared__ variables announced."""
    text = re.sub(
        r"extern\s+__shared__\s+(?:(?:__align__|alignas)\s*\(\w+\)\s*)?([\w ]+?)\s*(\w+)\s*\[\s*\]\s*;",
        r"\1* \2 = static_cast<\1*>(cuda::dynamic_shared());",
        text,
    )
    return re.sub(r"__shared__\s[^;]+;", _announced, text)


def _announced(declaration: re.Match) -> str:
    """`__shared__ T a[4][8], b;` and behind it, on the same line, a call that says where a and b lie."""
    names = re.findall(r"(\w+)\s*(?:\[[^\]]*\]\s*)*(?=[,;])", declaration[0])
    calls = [f'static const bool {n}_known = cuda::shared_variable("{n}", &{n}, sizeof {n});' for n in names]
    return f"{declaration[0]} {' '.join(calls)}"


def _cached(name: str, mode: str, unit: str, sources: list[str], link: list[str]) -> Path:
    key = hashlib.sha256("\0".join([_fingerprint(), mode, unit, *sources, *link]).encode()).hexdigest()[:24]
    target = CACHE / key / name
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target.parent / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the tests' worker processes want the same builds at the same time
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=target.parent) as folder:
                os.replace(_compile(Path(folder), mode, unit, sources, link), target)
    return target


def _compile(folder: Path, mode: str, unit: str, sources: list[str], link: list[str]) -> Path:
    (folder / "kernels.cpp").write_text(unit)
    kernel_flags, runtime_flags = MODES[mode]
    _gxx([*_COMMON, *kernel_flags, f"-I{HERE}", "-c", "kernels.cpp", "-o", "kernels.o"], folder)
    objects = [str(_runtime(s, mode)) for s in sources]
    _gxx([*link, "kernels.o", *objects, "-o", "out"], folder)
    return folder / "out"


@lru_cache(None)
def _runtime(source: str, mode: str) -> Path:
    """The object of one of the runtime's files, kept as the builds are."""
    key = hashlib.sha256("\0".join([_fingerprint(), mode, source]).encode()).hexdigest()[:24]
    target = CACHE / f"{key}-{Path(source).stem}.o"
    if not target.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        part = CACHE / f"{key}-{os.getpid()}.part"
        _gxx([*_COMMON, *MODES[mode][1], "-c", str(HERE / source), "-o", str(part)], CACHE)
        os.replace(part, target)
    return target


def _gxx(arguments: list[str], folder: Path) -> None:
    done = subprocess.run([GXX, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(done.stderr)


@lru_cache(None)
def _fingerprint() -> str:
    version = subprocess.run([GXX, "--version"], capture_output=True, text=True, check=True).stdout
    texts = (p.read_text() for p in sorted(HERE.glob("*.cpp")) + sorted(HERE.glob("*.h")))
    return hashlib.sha256("\0".join([version, repr(MODES), repr(_COMMON), *texts]).encode()).hexdigest()
