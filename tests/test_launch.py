"""gland/ops/device/launch.py: arguments against the kernel's signature, where kernels run, and that the wheel carries them."""

import re
import subprocess
import sys
import types
import zipfile
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from gland.errors import InputError
from gland.ops.device import launch

ROOT = Path(__file__).parent.parent
TEXT = """
template <typename T> __global__ void scale(const T* __restrict__ x, T* __restrict__ y, int n, T by) { }
// instances: tile<float, 64>; tile<double, 32>
template <typename T, int N> __global__ void __launch_bounds__(N * (4)) tile(T* y, const unsigned char* b, long long big) { }
extern "C" __global__ void quads(float4 *__restrict__ x, bool on, unsigned int n) {}  // __global__ void commented(int n) {}
/* __global__ void gone(int n) {} */
template <bool RELU> __global__ void flag(const double* x) { }
struct Sizes {
  unsigned char a, b;  // a comment; of its own
  int n;
  long long far;
};
struct Clever { int n; Clever(int m) : n(m) {} };
extern "C" __global__ void sized(const float* x, Sizes s) { }
"""
Sizes = namedtuple("Sizes", "a b n far")


class DeviceArray(np.ndarray):
    """What the launcher takes for an array on some device."""


calls: list[tuple] = []
launch.register(
    DeviceArray, lambda kernel, grid, block, values, shared: calls.append((kernel, grid, block, values, shared))
)


def device(x) -> DeviceArray:
    return np.array(x).view(DeviceArray)


@pytest.fixture
def kernel():
    source = launch.parse("test", TEXT)
    calls.clear()
    return lambda expression: launch.Kernel(source, expression)


def floats(n=4):
    return device(np.arange(n, dtype=np.float32))


def test_every_instance_of_every_template_is_known():
    assert launch.parse("test", TEXT).instances == [
        "scale<float>", "scale<double>", "tile<float, 64>", "tile<double, 32>", "quads", "flag<false>", "flag<true>", "sized",
    ]  # fmt: skip


def test_braces_in_a_list_of_instances_stand_for_one_after_the_other():
    text = """// instances: {f, g}<{float, double}, {64, 32}, true>; g<unsigned char, 1, false>
    template <typename T, int N, bool B> __global__ void f(T* y) {}
    template <typename T, int N, bool B> __global__ void g(T* y) {}"""
    four = ["float, 64", "float, 32", "double, 64", "double, 32"]
    assert launch.parse("test", text).instances == [
        *(f"f<{e}, true>" for e in four), *(f"g<{e}, true>" for e in four), "g<unsigned char, 1, false>",
    ]  # fmt: skip


def test_an_integer_template_parameter_needs_its_instances_listed():
    with pytest.raises(ValueError, match="instances"):
        launch.parse("test", "template <typename T, int N> __global__ void f(T* y) {}")


def test_an_instance_that_is_not_listed_is_refused(kernel):
    with pytest.raises(ValueError, match="has no tile<float, 16>"):
        kernel("tile<float, 16>")


def test_the_signature_is_parsed(kernel):
    scale, tile, quads = (kernel(e).parameters for e in ("scale<double>", "tile<double, 32>", "quads"))
    assert [(p.name, p.dtype, p.pointer, p.const, p.restrict) for p in scale] == [
        ("x", np.float64, True, True, True),
        ("y", np.float64, True, False, True),
        ("n", np.int32, False, False, False),
        ("by", np.float64, False, False, False),
    ]
    assert [p.dtype for p in tile] == [np.float64, np.uint8, np.int64]
    assert (quads[0].lanes, quads[0].dtype, quads[1].dtype, quads[2].dtype) == (4, np.float32, np.bool_, np.uint32)


def test_numbers_become_exactly_what_the_signature_says(kernel):
    kernel("scale<float>")((2, 3), 32, floats(), floats(), 4, 0.1, shared=8)
    _, grid, block, values, shared = calls[0]
    assert (grid, block, shared) == ((2, 3, 1), (32, 1, 1), 8)
    assert [(type(v), v) for v in values[2:]] == [(np.int32, 4), (np.float32, np.float32(0.1))]


def test_a_named_tuple_becomes_a_struct_in_the_compilers_layout(kernel):
    kernel("sized")(1, 32, floats(), Sizes(1, 2, -3, 2**40))
    value = calls[0][3][1]
    assert type(value) is np.ndarray and value.size == 1, "CuPy passes nothing else by value"
    assert value.tobytes() == np.array([0x0201, -3], np.int32).tobytes() + np.int64(2**40).tobytes()


@pytest.mark.parametrize(
    "value, error, message",
    [
        ((1, 2, 3, 4), TypeError, r"s is a named tuple of a, b, n, far, not \(1, 2, 3, 4\)"),
        (namedtuple("Other", "a b far n")(1, 2, 3, 4), TypeError, "s is a named tuple of a, b, n, far"),
        (3, TypeError, "s is a named tuple"),
        (Sizes(1, 2, 3.0, 4), TypeError, r"s\.n is an integer, not float"),
        (Sizes(1, 256, 3, 4), InputError, r"s\.b = 256"),
        (Sizes(1, 2, 2**31 - 1, 4), InputError, r"s\.n = 2147483647 is beyond .* reduce --batch"),
    ],
)
def test_a_struct_that_does_not_fit_is_refused(kernel, value, error, message):
    with pytest.raises(error, match=message):
        kernel("sized")(1, 32, floats(), value)
    assert not calls


@pytest.mark.parametrize("kind", ["Clever", "Unknown", "Sizes*"])
def test_what_is_no_struct_of_numbers_by_value_is_not_understood(kind):
    text = TEXT + f'extern "C" __global__ void other(const float* x, {kind} s) {{ }}'
    with pytest.raises(ValueError, match="a type that the launcher does not know"):
        launch.Kernel(launch.parse("test", text), "other")


def test_none_is_a_null_pointer(kernel):
    kernel("tile<float, 64>")(1, 32, floats(), None, 2**40)
    assert calls[0][3][1:] == [np.uint64(0), np.int64(2**40)]


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({0: lambda: device(np.zeros(4))}, TypeError, "x must be float32, not float64"),
        ({0: lambda: device(np.zeros((4, 2), np.float32))[:, 0]}, ValueError, "x is not contiguous"),
        ({0: lambda: np.zeros(4, np.float32)}, TypeError, "arrays of one kind"),
        ({0: lambda: np.zeros(4, np.float32), 1: lambda: np.zeros(4, np.float32)}, TypeError, "not a device array"),
        ({2: lambda: 4.0}, TypeError, "n is an integer, not float"),
        ({2: lambda: "4"}, TypeError, "n is a number, not str"),
        ({2: lambda: 2**31}, InputError, "reduce --batch"),
        ({2: lambda: -(2**31) - 1}, InputError, "n = -2147483649"),
        ({3: lambda: floats()}, TypeError, "by is a number, not DeviceArray"),
    ],
)
def test_an_argument_that_does_not_fit_is_refused(kernel, change, error, message):
    args = [floats(), floats(), 4, 0.5]
    for place, value in change.items():
        args[place] = value()
    with pytest.raises(error, match=message):
        kernel("scale<float>")(1, 32, *args)
    assert not calls


def test_the_number_of_arguments_is_checked(kernel):
    with pytest.raises(TypeError, match="takes 4 arguments, not 3"):
        kernel("scale<float>")(1, 32, floats(), floats(), 4)


def test_overlapping_arrays_are_refused_behind_restrict(kernel):
    both = floats(8)
    with pytest.raises(ValueError, match="x and y overlap"):
        kernel("scale<float>")(1, 32, both[:5], both[4:], 4, 1.0)
    kernel("scale<float>")(1, 32, both[:4], both[4:], 4, 1.0)
    assert len(calls) == 1


def test_vectors_need_whole_aligned_groups(kernel):
    whole = floats(16)
    start = -(whole.__array_interface__["data"][0] // 4) % 4
    kernel("quads")(1, 32, whole[start : start + 8], True, 2)
    for wrong in (whole[start + 1 : start + 9], whole[start : start + 6]):
        with pytest.raises(ValueError, match="aligned groups of 4"):
            kernel("quads")(1, 32, wrong, True, 2)


def test_more_elements_than_an_int_can_count_are_refused(kernel):
    # one element repeated: no memory is needed for the shape, and a view of it says that it is contiguous
    class Huge(DeviceArray):
        size = launch.MAX_ELEMENTS + 1

    launch.register(Huge, lambda *call: calls.append(call))
    x, y = (np.zeros(4, np.float32).view(Huge) for _ in range(2))
    with pytest.raises(InputError, match=r"2,130,706,433 elements .* reduce --batch, --crop or --width"):
        kernel("scale<float>")(1, 32, x, y, 4, 1.0)
    Huge.size = launch.MAX_ELEMENTS
    kernel("scale<float>")(1, 32, x, y, 4, 1.0)
    assert len(calls) == 1


def test_a_striding_grid_cannot_step_over_the_largest_int():
    for threads in (32, 256, 1024):
        grid = launch.blocks(launch.MAX_ELEMENTS, threads)
        assert launch.MAX_ELEMENTS - 1 + grid * threads < 2**31
    assert [launch.blocks(n) for n in (0, 1, 256, 257)] == [0, 1, 1, 2]


def test_an_empty_grid_does_nothing(kernel):
    kernel("scale<float>").over(0, floats(0), floats(0), 0, 1.0)
    assert not calls


def test_template_arguments_are_dtypes_and_numbers():
    assert (
        launch._expression("f", tuple(map(launch._c, (np.float32, np.dtype("f8"), 64, True))))
        == "f<float, double, 64, true>"
    )


def test_headers_are_pasted_and_lines_still_count(tmp_path, monkeypatch):
    (tmp_path / "common.cuh").write_text("// common\n")
    (tmp_path / "half.cuh").write_text("#define HALF 0.5f\n")
    (tmp_path / "k.cu").write_text('#include "half.cuh"\nextern "C" __global__ void k(float* y) { y[0] = HALF; }\n')
    monkeypatch.setattr(launch, "KERNELS", tmp_path)
    text = launch.source.__wrapped__("k").text
    assert (
        text
        == '// common\n#define HALF 0.5f\n\n#line 1 "k.cu"\n\nextern "C" __global__ void k(float* y) { y[0] = HALF; }\n'
    )


@pytest.fixture
def cupy(monkeypatch):
    """A stand-in that keeps what reaches CuPy: its real RawModule needs a device."""
    stand_in, seen = types.ModuleType("cupy"), []

    class Array(np.ndarray):
        __module__ = "cupy"

    class RawModule:
        def __init__(self, code, options, name_expressions):
            seen.append(("module", code, options, tuple(name_expressions)))

        def get_function(self, name):
            function = types.SimpleNamespace(max_dynamic_shared_size_bytes=48 << 10)

            class Function:
                def __setattr__(self, name, value):
                    setattr(function, name, value)

                def __call__(self, grid, block, args, shared_mem):
                    assert shared_mem <= function.max_dynamic_shared_size_bytes
                    seen.append(("launch", name, grid, block, args, shared_mem))

            return Function()

    stand_in.ndarray, stand_in.RawModule, stand_in.seen = Array, RawModule, seen
    monkeypatch.setitem(sys.modules, "cupy", stand_in)
    monkeypatch.setattr(launch, "source", lambda file: launch.parse(file, TEXT))
    for cache in (launch._device_module, launch._device_function):
        cache.cache_clear()
    yield stand_in
    for cache in (launch._device_module, launch._device_function):
        cache.cache_clear()


def test_cupy_arrays_go_to_a_raw_module_compiled_once_a_dtype(cupy):
    x, y = (np.zeros(4, np.float32).view(cupy.ndarray) for _ in range(2))
    scale = launch.Kernel(launch.source("test"), "scale<float>")
    scale.over(4, x, y, 4, 2)
    scale.over(4, x, y, 4, 2)
    scale(1, 32, x, y, 4, 2, shared=100 << 10)
    kinds = [s[0] for s in cupy.seen]
    assert kinds == ["module", "launch", "launch", "launch"]
    assert cupy.seen[0][2:] == (("-std=c++17",), ("scale<float>", "tile<float, 64>"))
    for _, name, grid, block, args, _ in cupy.seen[1:]:
        assert name == "scale<float>" and len(grid) == len(block) == 3
        assert all(isinstance(a, cupy.ndarray | np.generic) for a in args), "CuPy would send a Python number as 8 bytes"


def test_every_kernel_of_the_package_parses():
    assert launch.files()
    for file in launch.files():
        source = launch.source(file)
        assert source.instances, f"{file}.cu has no kernel"
        for expression in source.instances:
            assert launch.Kernel(source, expression).parameters


def test_every_kernel_file_is_in_the_documents_and_says_what_it_must_agree_with():
    document = (ROOT / "docs" / "gpu.md").read_text()
    for file in launch.files():
        assert f"`{file}.cu`" in document
        first, second = (launch.KERNELS / f"{file}.cu").read_text().splitlines()[:2]
        reference = re.search(r"^// .*Reference: (?:[\w, ]+ in )?(gland/[\w/]+\.py)", second)
        assert first.startswith("// ") and (ROOT / reference[1]).is_file(), file
    for path in launch.KERNELS.iterdir():
        assert max(map(len, path.read_text().splitlines())) <= 120, path


def test_the_wheel_carries_the_kernels(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, ROOT],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "No matching distribution found for hatchling" in done.stderr:
        pytest.skip("hatchling, which builds the wheel, cannot be installed here")
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "site")
    code = "from gland.ops.device import launch; print(launch.KERNELS, *launch.files(), launch.source('relu').instances[0])"
    there = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "site", capture_output=True, text=True, check=True
    ).stdout.split()
    assert there == [str((tmp_path / "site" / "gland" / "kernels").resolve()), *launch.files(), "relu<float>"]
