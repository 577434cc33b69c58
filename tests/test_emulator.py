"""The emulator itself: what a GPU defines it computes, and what a GPU leaves undefined it reports."""

import re
from collections import namedtuple

import numpy as np
import pytest
from cuda_on_cpu import MISSING, ORDERS, BuildError, KernelError, emulated, thread_order
from cuda_on_cpu.build import build
from cuda_on_cpu.emulator import compiled_signature
from cuda_on_cpu.recording import Recording

from gland.ops.device import launch

pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))

TEXT = r"""
extern "C" __global__ void places(int* y) {
  int b = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  int t = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  y[b * int(blockDim.x * blockDim.y * blockDim.z) + t] = b * 1000 + t;
}
extern "C" __global__ void shuffles(const float* x, float* down, float* up, float* across, float* one, unsigned* votes) {
  int t = threadIdx.x;
  float v = x[t];
  down[t] = __shfl_down_sync(0xffffffffu, v, 3);
  up[t] = __shfl_up_sync(0xffffffffu, v, 2, 8);
  across[t] = __shfl_xor_sync(0xffffffffu, v, 5);
  one[t] = __shfl_sync(0xffffffffu, v, 7);
  votes[t] = __ballot_sync(0xffffffffu, v > 0);
}
extern "C" __global__ void half_warps(const float* x, float* y) {
  int t = threadIdx.x;
  float v = x[t];
  if (t < 16) for (int by = 8; by; by /= 2) v += __shfl_xor_sync(0x0000ffffu, v, by);
  else v = __shfl_sync(0xffff0000u, v, 31);
  y[t] = v;
}
template <typename T> __global__ void reversed(const T* x, T* y, int n) {
  __shared__ T table[4][8], extra;
  extern __shared__ T more[];
  int t = threadIdx.x;
  table[t / 8][t % 8] = x[t];
  more[t] = x[t];
  if (t == 0) extra = 100;
  __syncthreads();
  int s = n - 1 - t;
  y[t] = table[s / 8][s % 8] + more[s] + extra;
}
// the left neighbour's value of the step before, 5 times: two barriers a step
extern "C" __global__ void march(int* y) {
  __shared__ int cells[32];
  int t = threadIdx.x, v = t;
  for (int step = 0; step < 5; ++step) {
    cells[t] = v;
    __syncthreads();
    v = cells[(t + 31) % 32];
    __syncthreads();
  }
  y[t] = v;
}
extern "C" __global__ void unwritten(float* y) {
  __shared__ float s[32];
  y[threadIdx.x] = s[threadIdx.x];
}
extern "C" __global__ void two_lines(int* y) {
  if (threadIdx.x < 16) __syncthreads();
  else
    __syncthreads();
  y[threadIdx.x] = 1;
}
extern "C" __global__ void some_leave(int* y) { if (threadIdx.x < 5) return; __syncthreads(); y[threadIdx.x] = 1; }
extern "C" __global__ void lane_left(int* y) {
  if (threadIdx.x == 5) return;
  y[threadIdx.x] = __shfl_down_sync(0xffffffffu, 1, 1);
}
extern "C" __global__ void left_out(int* y) { y[threadIdx.x] = __shfl_sync(0x0000ffffu, 1, 0); }
extern "C" __global__ void stuck(int* y) { if (threadIdx.x < 16) __syncthreads(); else __syncwarp(); y[threadIdx.x] = 1; }
// instances: touch<int>
// what the checkers must tell apart, by `how`: 0 is right
template <typename T> __global__ void touch(const T* __restrict__ x, T* __restrict__ y, int n, int how) {
  __shared__ T s[32];
  int t = threadIdx.x, i = blockIdx.x * 32 + t;
  s[t] = x[i];
  if (how != 1) __syncthreads();
  int v = s[31 - t];
  if (how == 2) v += x[i + n];
  if (how == 3) s[t] = v;                        // the neighbour may not have read it yet
  if (how == 4) v += s[t + 40];
  if (how == 5) v = v * 1000 + 2147480000;
  if (how == 6) const_cast<T*>(x)[i] = v;
  y[how == 7 ? t : how == 8 ? i + 1 : i] = v;
}
struct Mixed { unsigned char a; int b; bool c; double d; float e, f; long long g; };
extern "C" __global__ void fields(Mixed s, double* y) {
  y[0] = s.a, y[1] = s.b, y[2] = s.c, y[3] = s.d, y[4] = s.e, y[5] = s.f, y[6] = double(s.g);
}
// lanes of a warp exchange through shared memory: __syncwarp is enough inside a warp, not between warps
extern "C" __global__ void by_warp(int* y, int other) {
  __shared__ int s[64];
  int t = threadIdx.x;
  s[t] = t;
  __syncwarp();
  y[t] = s[t ^ other];
}
"""
SOURCE = launch.parse("emulator", TEXT, (launch.KERNELS / "common.cuh").read_text())


def kernel(expression):
    return launch.Kernel(SOURCE, expression)


@pytest.fixture(params=ORDERS)
def order(request):
    with thread_order(request.param, seed=7):
        yield request.param


def zeros(n, dtype=np.int32):
    return emulated(np.zeros(n, dtype))


def test_every_thread_of_every_block_runs_once(order):
    y = zeros(12 * 24)
    kernel("places")((3, 2, 2), (4, 3, 2), y)
    assert np.array_equal(y.reshape(12, 24), np.arange(12)[:, None] * 1000 + np.arange(24))


def test_warp_operations(order):
    x = np.random.default_rng(0).standard_normal(64).astype(np.float32)
    down, up, across, one = (zeros(64, np.float32) for _ in range(4))
    votes = zeros(64, np.uint32)
    kernel("shuffles")(1, 64, emulated(x), down, up, across, one, votes)
    lane, warp = np.arange(64) % 32, np.arange(64) // 32 * 32
    assert np.array_equal(down, x[warp + np.where(lane + 3 < 32, lane + 3, lane)])
    assert np.array_equal(up, x[warp + np.where(lane % 8 >= 2, lane - 2, lane)])
    assert np.array_equal(across, x[warp + (lane ^ 5)])
    assert np.array_equal(one, x[warp + 7])
    assert [int(v) for v in votes[::32]] == [sum(int(x[w + i] > 0) << i for i in range(32)) for w in (0, 32)]


def test_warp_operations_of_half_a_warp(order):
    x, y = np.arange(32, dtype=np.float32), zeros(32, np.float32)
    kernel("half_warps")(1, 32, emulated(x), y)
    assert (y[:16] == x[:16].sum()).all() and (y[16:] == 31).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shared_memory_static_and_dynamic(order, dtype):
    x, y = np.arange(32, dtype=dtype), zeros(32, dtype)
    name = {np.float32: "float", np.float64: "double"}[dtype]
    kernel(f"reversed<{name}>")(2, 32, emulated(x), y, 32, shared=32 * x.itemsize)
    assert np.array_equal(y, 2 * x[::-1] + 100)


def test_barriers_in_a_loop(order):
    y = zeros(32)
    kernel("march")(3, 32, y)
    assert np.array_equal(y, (np.arange(32) - 5) % 32)


def test_shared_memory_starts_as_not_a_number(order):
    y = zeros(32, np.float32)
    kernel("unwritten")(1, 32, y)
    assert np.isnan(y).all()


@pytest.mark.parametrize(
    "name, message",
    [
        ("two_lines", r"barrier divergence: thread 0 waits at line \d+, thread 16 at line \d+"),
        ("some_leave", "barrier divergence: 27 threads wait at line .*, 5 have exited"),
        ("lane_left", "for lane 5, which has exited"),
        ("left_out", "mask 0000ffff leaves it out"),
        ("stuck", "deadlock"),
    ],
)
def test_what_a_gpu_leaves_undefined_is_reported(name, message):
    with pytest.raises(KernelError, match=message):
        kernel(name)(1, 32, zeros(32))
    y = zeros(32)
    kernel("march")(1, 32, y)  # and the emulator works on afterwards
    assert y[5] == 0


@pytest.mark.parametrize("grid, block", [(1, 2048), (1, (32, 32, 2)), (1, (1, 1, 128)), ((1, 70_000), 1)])
def test_launches_beyond_the_limits_of_a_gpu_are_reported(grid, block):
    with pytest.raises(KernelError, match=r"a block of|a grid of"):
        kernel("places")(grid, block, zeros(4))


def test_atomics_do_not_exist():
    text = 'extern "C" __global__ void count(int* y) { atomicAdd(y, 1); }'
    with pytest.raises(BuildError, match="atomicAdd"):
        build(text, ["count"], "library")


def test_the_parsed_signature_is_the_compilers():
    assert compiled_signature(kernel("touch<int>")) == "pi4 Pi4 i4 i4 "
    assert compiled_signature(kernel("reversed<double>")) == "pf8 Pf8 i4 "
    assert compiled_signature(kernel("fields")) == "V40 Pf8 "


def test_a_struct_arrives_field_by_field():
    values = 200, -5, True, 0.1, 0.5, -0.25, 2**40
    y = zeros(7, np.float64)
    with Recording() as recording:
        kernel("fields")(1, 1, namedtuple("Mixed", "a b c d e f g")(*values), y)
    assert y.tolist() == list(values)
    for mode in ("values", "memory", "races"):
        assert recording.replay(mode, SOURCE) is None


def touched(how):
    with Recording() as recording:
        kernel("touch<int>")(2, 32, emulated(np.arange(64, dtype=np.int32)), zeros(64 if how != 8 else 65)[:64], 64, 0)
    launches = recording.launches
    recording.launches = [launches[0]._replace(values=[*launches[0].values[:3], np.int32(how)])]
    return recording


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("mode", ["values", "memory", "races"])
def test_the_checkers_pass_a_correct_kernel(mode, order):
    assert touched(0).replay(mode, SOURCE, order) is None


@pytest.mark.parametrize(
    "how, mode, report",
    [
        (1, "races", "uninitialised|race: .* of s"),
        (2, "memory", "AddressSanitizer"),
        (2, "races", "stray: "),
        (3, "races", "race: .* of s .* with no barrier between"),
        (4, "memory", "index 40 out of bounds|AddressSanitizer"),
        (5, "memory", "signed integer overflow"),
        (6, "races", "a write to x, which the kernel declares const"),
        (7, "races", "race: .* y written by thread 0 of block 0 and written by thread 0 of block 1"),
        (8, "memory", "AddressSanitizer"),
        (8, "values", "y differs from the recorded result"),
    ],
)
def test_each_checker_finds_its_fault(how, mode, report):
    found = touched(how).replay(mode, SOURCE)
    assert found is not None and re.search(report, found), found


@pytest.mark.parametrize("other, clean", [(1, True), (32, False)])
def test_a_warp_barrier_orders_one_warp_only(other, clean):
    with Recording() as recording:
        kernel("by_warp")(1, 64, zeros(64), 1)
    launch_ = recording.launches[0]
    y = (np.arange(64) ^ other).astype(np.int32)
    recording.launches = [launch_._replace(values=[launch_.values[0], np.int32(other)], results=[y, None])]
    report = recording.replay("races", SOURCE)
    assert (report is None) if clean else "of s" in report
