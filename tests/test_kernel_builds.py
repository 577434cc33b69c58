"""Every kernel compiles for every architecture, and keeps its variables in registers."""

import kernel_builds
import pytest

from gland.ops.device import launch

needs_compiler = pytest.mark.skipif(
    kernel_builds.compiler() is None,
    reason="neither nvidia-cuda-nvrtc (pip install 'gland[test]' on Linux) nor nvcc is installed",
)


@needs_compiler
@pytest.mark.parametrize("arch", kernel_builds.ARCHITECTURES)
@pytest.mark.parametrize("file", launch.files())
def test_compiles_without_spills(file, arch):
    usages = kernel_builds.usage(launch.source(file), arch)
    print(kernel_builds.table(usages))
    assert [u.kernel for u in usages] == launch.source(file).instances
    assert not [u for u in usages if u.spilled], "these spill"
    assert all(u.shared <= 48 << 10 for u in usages)


@needs_compiler
def test_a_spill_would_be_seen():
    text = """
    extern "C" __global__ void __launch_bounds__(1024) wide(float* y, int n) {
      float a[96];
      for (int i = 0; i < 96; ++i) a[i] = y[i * 1024 + threadIdx.x];
      for (int k = 0; k < n; ++k)
    #pragma unroll
        for (int i = 0; i < 96; ++i) a[i] = a[i] * a[(i + 7) % 96] + a[(i * 5 + 1) % 96];
      for (int i = 0; i < 96; ++i) y[i * 1024 + threadIdx.x] = a[i];
    }"""
    assert kernel_builds.usage(launch.parse("wide", text), 80)[0].spilled > 0


@needs_compiler
def test_a_compile_error_is_the_compilers_own():
    with pytest.raises(kernel_builds.CompileError, match="undefined_name"):
        kernel_builds.usage(launch.parse("wrong", 'extern "C" __global__ void f(int* y) { *y = undefined_name; }'), 80)
