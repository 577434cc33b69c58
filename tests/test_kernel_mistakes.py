"""Mistakes planted in our own kernels, each of which a named check must report."""

import re
from typing import NamedTuple

import pytest
from cuda_on_cpu import MISSING
from kernel_workload import recorded

from gland.ops.device import launch

pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))


class Mistake(NamedTuple):
    """kernels/FILE.cu, or a header that it includes, with `right` replaced by `wrong`; the check's mode and its report."""

    file: str
    right: str
    wrong: str
    mode: str
    report: str


BOUNDS = "AddressSanitizer: (heap-buffer-overflow|global-buffer-overflow|use-after-poison|unknown-crash)|out of bounds"
RACE = "race: byte .* with no barrier between"

MISTAKES = {
    "missing barrier before the products of a tile": Mistake(
        "conv", "    __syncthreads();\n    if (k + BK", "    if (k + BK", "races", f"{RACE}|uninitialised"
    ),
    "missing barrier after the products of a tile": Mistake(
        "conv_w", "(as, bs, sum);\n    __syncthreads();", "(as, bs, sum);", "races", RACE
    ),
    "missing barrier in a sum over a block": Mistake(
        "clip_factor", "= v;\n  __syncthreads();", "= v;", "races", f"{RACE}|uninitialised"
    ),
    "missing barrier between the rows of a column sum": Mistake(
        "sums", "= sum;\n  __syncthreads();", "= sum;", "races", f"{RACE}|uninitialised"
    ),
    "missing barrier between two sums over a block": Mistake(
        "segmentation_loss", "  __syncthreads();  // a second", "  // a second", "races", RACE
    ),
    "barrier that some threads do not reach": Mistake(
        "sums", "  __syncthreads();\n  if (threadIdx.y > 0 || c >= C) return;",
        "  if (threadIdx.y > 0 || c >= C) return;\n  __syncthreads();", "values", "barrier divergence",
    ),
    "threads of a block that leave before its barrier": Mistake(
        "conv_x", "if (m0 >= m_all) return;", "if (m0 + int(threadIdx.x) >= m_all) return;", "values",
        "barrier divergence: .* have exited",
    ),
    "warp operation whose mask leaves lanes out": Mistake(
        "linear", "__shfl_down_sync(0xffffffffu", "__shfl_down_sync(0x0000ffffu", "values", "mask 0000ffff leaves it out"
    ),
    "wrong guard: one row of places too many": Mistake(
        "conv", "if (m >= m_all", "if (m > m_all", "memory", BOUNDS
    ),
    "wrong guard: the row below the image": Mistake(
        "conv", "unsigned(h) < unsigned(height)", "unsigned(h) <= unsigned(height)", "memory", BOUNDS
    ),
    "wrong guard: one element too many in every loop": Mistake(
        "relu", "i < (n)", "i <= (n)", "memory", BOUNDS
    ),
    "out of bounds: a row of shared memory too many": Mistake(
        "sums", "i < 8; ++i) sum += sums[i]", "i <= 8; ++i) sum += sums[i]", "memory", BOUNDS
    ),
    "out of bounds: a window over the lower edge": Mistake(
        "avg_pool", "h < min(h0 + s.KH, s.H)", "h < h0 + s.KH", "memory", BOUNDS
    ),
    "out of bounds: padding is read": Mistake(
        "max_pool", "if (h < 0 || h >= s.H) continue;", "if (h >= s.H) continue;", "memory", BOUNDS
    ),
    "overlapping writes: two splits into one sum": Mistake(
        "conv_w", "dw += (long long)split * m_all * s.O + group * o;", "dw += group * o;", "races", f"{RACE}"
    ),
    "overlapping writes: parts of a column sum": Mistake(
        "sums", "partial[(part * B + image) * C + c] = scale", "partial[image * C + c] = scale", "races", RACE
    ),
    "overlapping writes: a row that runs into the next": Mistake(
        "softmax", "for (int l = 0; l < L; ++l) y[row * L + l] /= sum;", "for (int l = 0; l <= L; ++l) y[row * L + l] /= sum;",
        "races", f"{RACE}|stray",
    ),
    "overlapping writes: channels of a joined piece": Mistake(
        "concat", "whole[i / c * C + start + i % c] = piece[i]", "whole[i / c * c + start + i % c] = piece[i]",
        "values", "whole differs",
    ),
    "int overflow: an interpolated position": Mistake(
        "upsample_bilinear", "(2LL * i + 1) * n - out", "(long long)((2 * i + 1) * n) - out", "memory", "signed integer overflow"
    ),
    "int overflow: the nearest pixel": Mistake(
        "upsample_nearest", "(long long)(at / inner % out) * n / out", "(at / inner % out) * n / out", "memory",
        "signed integer overflow",
    ),
    "missing barrier between a tile's loading and its product": Mistake(
        "muon", "    __syncthreads();\n    for (int k = 0;", "    for (int k = 0;", "races", f"{RACE}|uninitialised"
    ),
    "wrong guard: a column beyond the matrix": Mistake(
        "muon", "return j0 + j < n ? q[", "return j0 + j < 64 ? q[", "memory", BOUNDS
    ),
    "unwritten shared memory is read": Mistake(
        "clip_factor", "if (threadIdx.x % 32 == 0) warps", "if (threadIdx.x == 0) warps", "races", "uninitialised"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_planted_mistake_is_reported(name):
    mistake = MISTAKES[name]
    source = launch.source(mistake.file)
    assert source.text.count(mistake.right) >= 1, f"{mistake.file}.cu no longer has: {mistake.right}"
    few = [e for e in source.instances if "double" not in e and "true" not in e]  # the others compile for seconds
    broken = source._replace(text=source.text.replace(mistake.right, mistake.wrong), instances=few)
    report = recorded().of(mistake.file, few).replay(mistake.mode, broken)
    assert report is not None and re.search(mistake.report, report), report
