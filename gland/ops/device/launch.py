"""From a Python call to a kernel: `kernel("relu", "relu", x.dtype).over(y.size, x, y, y.size)`.

The C signature in kernels/*.cu says how every argument is converted, because CuPy would pass a Python int as 8 bytes to an
`int` and a float64 array to a `const float*` without a word. A struct of numbers takes a named tuple of the same fields. The
type of the arrays says where the kernel runs: CuPy's on the device; another array type where the tests have registered it.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gland import backend
from gland.errors import InputError

Array = Any
Dim = int | tuple[int, ...]

_HERE = Path(__file__).resolve()
_INSTALLED = _HERE.parents[2] / "kernels"  # where the wheel puts them
KERNELS = _INSTALLED if _INSTALLED.is_dir() else _HERE.parents[3] / "kernels"
OPTIONS = ("-std=c++17",)
MAX_THREADS = 2**24  # in a grid that strides
MAX_ELEMENTS = 2**31 - MAX_THREADS  # so that `i += threads in the grid` stays an int; kernels/common.cuh

_C = {
    "float": np.float32, "double": np.float64, "int": np.int32, "unsigned": np.uint32, "unsigned int": np.uint32,
    "long long": np.int64, "unsigned long long": np.uint64, "unsigned char": np.uint8, "signed char": np.int8, "bool": np.bool_,
}  # fmt: skip
_LANES = {f"{c}{n}": (c, n) for c in ("float", "double", "int") for n in (2, 4)}
_KERNEL = re.compile(
    r"(?:template\s*<([^>]*)>\s*)?(?:extern\s+\"C\"\s+)?__global__\s+void\s+(?:__launch_bounds__\s*\(.*?\)\s*)?(\w+)\s*\(([^)]*)\)",
    re.S,
)
_STRUCT = re.compile(r"\bstruct\s+(\w+)\s*\{([^{}()]*)\};")  # of members only: no functions, nothing nested
_MEMBERS = re.compile(r"\s*([\w ]+?)\s+(\w+(?:\s*,\s*\w+)*)\s*")  # unsigned char a, b


class Parameter(NamedTuple):
    """One parameter of a kernel, as its C declaration says: `const float4* __restrict__ x`."""

    name: str
    dtype: np.dtype  # with fields for a struct
    lanes: int  # 4 for float4
    pointer: bool
    const: bool
    restrict: bool

    @classmethod
    def parse(cls, text: str, types: dict[str, str], structs: dict[str, np.dtype]) -> "Parameter":
        """types: what each template parameter stands for. Raises ValueError for a type that is not known here."""
        words = re.sub(r"\bconst\b|__restrict__|\*", " ", text).split()
        c = " ".join(words[:-1])
        c, lanes = _LANES.get(types.get(c, c), (types.get(c, c), 1))
        const, pointer = re.search(r"\bconst\b", text) is not None, "*" in text
        if c not in _C and (pointer or c not in structs):
            raise ValueError(f"the kernel parameter '{text}' has a type that the launcher does not know")
        dtype = np.dtype(_C[c]) if c in _C else structs[c]
        return cls(words[-1], dtype, lanes, pointer, const, "__restrict__" in text)


class Source(NamedTuple):
    """A kernel file: its whole text, its structs, and for every kernel its template parameters, parameters and instances."""

    file: str
    text: str
    structs: dict[str, np.dtype]
    kernels: dict[str, tuple[list[str], list[str]]]
    instances: list[str]


def parse(file: str, own: str, common: str = "") -> Source:
    """The source of one file, from its own text and the common text before it.

    A template is instantiated for float and double and both values of every bool; other parameters are listed in the file:
    `// instances: name<{float, double}, {64, 32}>; name<float, 16>`, where braces stand for one after the other.
    """
    lists = [e.strip() for line in re.findall(r"//\s*instances:(.*)", own) for e in line.split(";")]
    listed = [e for text in lists for e in _expanded(text)]
    kernels, instances = {}, []
    for template, name, parameters in _KERNEL.findall(_bare(own)):
        kinds = [t.strip() for t in template.split(",")] if template else []
        kernels[name] = ([k.split()[-1] for k in kinds], [p.strip() for p in parameters.split(",") if p.strip()])
        mine = [e for e in listed if e.split("<")[0] == name]
        instances += mine or [_expression(name, choice) for choice in product(*map(_choices, kinds))]
    return Source(file, f'{common}\n#line 1 "{file}.cu"\n{own}', _structs(common + own), kernels, instances)


def _bare(text: str) -> str:
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.S)


def _expanded(text: str) -> list[str]:
    """`f<{float, double}, {64, 32}>` -> all four."""
    pieces = re.split(r"\{([^}]*)\}", text)
    choices = [re.split(r",\s*", piece) if i % 2 else [piece] for i, piece in enumerate(pieces)]
    return ["".join(choice) for choice in product(*choices)]


def _structs(text: str) -> dict[str, np.dtype]:
    """The structs that can be passed by value, laid out as the compiler does."""
    found = {}
    for name, body in _STRUCT.findall(_bare(text)):
        declared = [_MEMBERS.fullmatch(d) for d in body.split(";") if d.strip()]
        if all(d and d[1] in _C for d in declared):
            fields = [(member, _C[d[1]]) for d in declared if d for member in re.split(r"\s*,\s*", d[2])]
            found[name] = np.dtype(fields, align=True)
    return found


def _choices(kind: str) -> tuple[str, ...]:
    word = kind.split()[0]
    if word in ("typename", "class"):
        return ("float", "double")
    if word == "bool":
        return ("false", "true")
    raise ValueError(f"the template parameter '{kind}' needs a line '// instances: ...'")


def _expression(name: str, arguments: tuple[str, ...]) -> str:
    return f"{name}<{', '.join(arguments)}>" if arguments else name


@lru_cache(None)
def source(file: str) -> Source:
    """kernels/FILE.cu behind kernels/common.cuh and the headers that it includes by name."""
    own, common = (KERNELS / f"{file}.cu").read_text(), (KERNELS / "common.cuh").read_text()
    for line, name in re.findall(r'(#include "([\w.]+)"\n)', own):
        own = own.replace(line, "\n")  # the same number of lines, so that messages point at the right one
        common += (KERNELS / name).read_text()
    return parse(file, own, common)


def files() -> list[str]:
    """The names of all kernel files."""
    return sorted(path.stem for path in KERNELS.glob("*.cu"))


class Kernel:
    """One instance of a kernel; call it with a grid, a block and the kernel's arguments."""

    def __init__(self, source: Source, expression: str) -> None:
        if expression not in source.instances:
            raise ValueError(f"{source.file}.cu has no {expression}; it has {', '.join(source.instances)}")
        self.source, self.expression = source, expression
        name, _, arguments = expression.rstrip(">").partition("<")
        names, parameters = source.kernels[name]
        types = dict(zip(names, [a.strip() for a in arguments.split(",")]))
        self.parameters = [Parameter.parse(p, types, source.structs) for p in parameters]

    def __call__(self, grid: Dim, block: Dim, *args: Any, shared: int = 0) -> None:
        """Run it; shared is the dynamic shared memory in bytes. A grid of nothing does nothing.

        Raises TypeError or ValueError for an argument that does not fit the signature, InputError beyond 2^31 elements.
        """
        grid, block = _three(grid), _three(block)
        run, values = _runner(self, args), self.convert(args)
        if 0 not in grid:
            run(self, grid, block, values, shared)

    def over(self, n: int, *args: Any, threads: int = 256) -> None:
        """Run it with one thread for each of n elements; the kernel strides on where the grid ends."""
        self(blocks(n, threads), threads, *args)

    def convert(self, args: tuple) -> list:
        """The arguments as the signature wants them: arrays checked, numbers as NumPy's, None as a null pointer."""
        if len(args) != len(self.parameters):
            raise TypeError(f"{self.expression} takes {len(self.parameters)} arguments, not {len(args)}")
        values = [_converted(f"{self.expression}: {p.name}", p, a) for p, a in zip(self.parameters, args)]
        _check_overlap(self, args)
        return values


def _converted(where: str, p: Parameter, a: Any) -> Any:
    if p.pointer:
        return _pointer(where, p, a)
    return _number(where, p.dtype, a) if p.dtype.names is None else _struct(where, p.dtype, a)


def _pointer(where: str, p: Parameter, a: Array) -> Any:
    if a is None:
        return np.uint64(0)
    if a.dtype != p.dtype:
        raise TypeError(f"{where} must be {p.dtype}, not {a.dtype}")
    if not a.flags.c_contiguous:
        raise ValueError(f"{where} is not contiguous (shape {a.shape}, strides {a.strides})")
    if a.size > MAX_ELEMENTS:
        raise InputError(
            f"an array of {a.size:,} elements ({where}) is beyond the {MAX_ELEMENTS:,} that the kernels can index; "
            "reduce --batch, --crop or --width"
        )
    if p.lanes > 1 and (a.size % p.lanes or address(a) % (p.lanes * p.dtype.itemsize)):
        raise ValueError(f"{where} is not made of whole, aligned groups of {p.lanes}")
    return a


def _struct(where: str, dtype: np.dtype, a: Any) -> np.ndarray:
    """A named tuple as an array of one element, as CuPy wants what it passes by value (its User Guide, "Custom user types").

    An np.void will not do: CuPy 13 refuses it. The driver copies the bytes in the launch, and into a graph being recorded.
    """
    if getattr(a, "_fields", None) != dtype.names:
        raise TypeError(f"{where} is a named tuple of {', '.join(dtype.names or ())}, not {a!r}")
    return np.array(tuple(_number(f"{where}.{name}", dtype[name], v) for name, v in zip(a._fields, a)), dtype)


def _number(where: str, dtype: np.dtype, a: Any) -> np.generic:
    if not isinstance(a, int | float | np.generic):
        raise TypeError(f"{where} is a number, not {type(a).__name__}")
    if dtype.kind in "iu":
        if not isinstance(a, int | np.integer | np.bool_):
            raise TypeError(f"{where} is an integer, not {type(a).__name__}")
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        if not low <= int(a) <= (MAX_ELEMENTS if dtype == np.int32 else high):
            raise InputError(
                f"{where} = {a} is beyond what an {dtype} can count here; reduce --batch, --crop or --width"
            )
    return dtype.type(a)


def _check_overlap(kernel: Kernel, args: tuple) -> None:
    """What is written behind a __restrict__ pointer must not be reached by another one."""
    spans = [
        (p, address(a), address(a) + a.nbytes) for p, a in zip(kernel.parameters, args) if p.pointer and a is not None
    ]
    for i, (p, start, stop) in enumerate(spans):
        for q, begin, end in spans[i + 1 :]:
            if p.restrict and q.restrict and not (p.const and q.const) and start < end and begin < stop:
                raise ValueError(f"{kernel.expression}: {p.name} and {q.name} overlap in memory")


def address(a: Array) -> int:
    """Where an array's memory starts."""
    return a.data.ptr if hasattr(a.data, "ptr") else a.__array_interface__["data"][0]


def _three(d: Dim) -> tuple[int, int, int]:
    x, y, z = (*((d,) if isinstance(d, int | np.integer) else d), 1, 1)[:3]
    return int(x), int(y), int(z)


def blocks(n: int, threads: int = 256) -> int:
    """How many blocks of so many threads n elements take, at most MAX_THREADS in all: kernels stride over the rest."""
    return min(-(-n // threads), MAX_THREADS // threads)


@lru_cache(None)
def kernel(file: str, name: str, *template: Any) -> Kernel:
    """The kernel NAME of kernels/FILE.cu; template: a dtype for a typename, a bool or an int as it is."""
    return Kernel(source(file), _expression(name, tuple(map(_c, template))))


def _c(argument: Any) -> str:
    if isinstance(argument, bool):
        return "true" if argument else "false"
    if isinstance(argument, int):
        return str(argument)
    dtype = np.dtype(argument)
    return next(c for c, numpy in _C.items() if np.dtype(numpy) == dtype)


Runner = Callable[[Kernel, tuple, tuple, list, int], None]
_runners: dict[type, Runner] = {}


def register(array_type: type, run: Runner) -> None:
    """Arrays of this very type are run by run(kernel, grid, block, converted arguments, bytes of shared memory)."""
    _runners[array_type] = run


def _runner(kernel: Kernel, args: tuple) -> Runner:
    kinds = {type(a) for p, a in zip(kernel.parameters, args) if p.pointer and a is not None}
    if len(kinds) != 1:
        raise TypeError(f"{kernel.expression}: arrays of one kind are needed, not {sorted(k.__name__ for k in kinds)}")
    kind = kinds.pop()
    if kind in _runners:
        return _runners[kind]
    if kind.__module__.split(".")[0] == "cupy":
        return _run_on_device
    raise TypeError(f"{kernel.expression}: {kind.__module__}.{kind.__name__} is not a device array")


def _run_on_device(kernel: Kernel, grid: tuple, block: tuple, values: list, shared: int) -> None:
    _device_function(kernel, shared)(grid, block, tuple(values), shared_mem=shared)


@lru_cache(None)
def _device_function(kernel: Kernel, shared: int) -> Any:
    function = _device_module(kernel.source.file, _group(kernel.expression)).get_function(kernel.expression)
    if shared > 48 << 10:
        function.max_dynamic_shared_size_bytes = shared  # more than 48 KiB has to be asked for
    return function


def _group(expression: str) -> str:
    return re.split("[<,>]", expression + "<")[1].strip()  # the first template argument: float, double or none


@lru_cache(None)
def _device_module(file: str, group: str) -> Any:
    """Compiled by NVRTC for the device at hand, once per file and dtype; CuPy keeps the result on disk."""
    names = [e for e in source(file).instances if _group(e) == group]
    return backend.compile_module(source(file).text, OPTIONS, names)
