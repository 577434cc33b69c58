"""Every kernel at sizes just below what an int can index: blocks from all over the grid, over memory that is only reserved.

The undefined-behaviour sanitizer sees an index that overflows, and 16 GiB on either side of every array are forbidden.
"""

import numpy as np
import pytest
from cuda_on_cpu import MISSING
from cuda_on_cpu.recording import Recording, huge

from gland import ops
from gland.networks.base import Matrix
from gland.ops import Geometry
from gland.ops.device import launch, prior, solver

pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))

C = 64
H, W = 5_000, 6_656  # C H W: 2.13e9 elements
DTYPES = (np.float32, np.float64)


def image(dtype, *shape):
    n, c, h, w = shape
    return huge((n, h, w, c), dtype).transpose(0, 3, 1, 2)


def weights(dtype, *shape):
    o, c, kh, kw = shape
    return huge((kh, kw, c, o), dtype).transpose(3, 2, 0, 1)


def convolutions(dtype):
    for c, o in ((C, 32), (32, C)):
        x, y, w, geo = image(dtype, 1, c, H, W), image(dtype, 1, o, H, W), weights(dtype, o, c, 3, 3), Geometry(1, 1)
        ops.conv(x, w, huge((o,), dtype), geo)
        ops.conv_x(y, w, geo, (H, W))
    # the weight gradient sums over places: few of them, and very many channels
    ops.conv_w(image(dtype, 1, 1 << 20, 45, 45), image(dtype, 1, 8, 45, 45), Geometry(), (1, 1))
    ops.conv_w(image(dtype, 1, 8, 45, 45), image(dtype, 1, 1 << 20, 45, 45), Geometry(), (1, 1))


def windows(dtype):
    x, y = image(dtype, 1, C, H, W), image(dtype, 1, C, H // 2, W // 2)
    _, argmax = ops.max_pool(x, (2, 2), 2, 0, False)
    ops.max_pool_x(y, argmax, (2, 2), 2, 0, (H, W))
    ops.max_pool_t(x, argmax, (2, 2), 2, 0)
    ops.avg_pool_x(ops.avg_pool(x, (2, 2), 2, 0), (2, 2), 2, 0, (H, W))
    ops.upsample_bilinear(y, (H, W))
    ops.upsample_bilinear_x(x, (H // 2, W // 2))
    ops.upsample_nearest(y, (H, W))
    ops.upsample_nearest_x(x, (H // 2, W // 2))


def pointwise(dtype):
    x = image(dtype, 1, C, H, W)
    ops.add(x, x)
    ops.multiply(x, x)
    ops.relu_x(x, ops.relu(x))
    ops.channel_add(x, huge((C,), dtype))
    ops.channel_window_sum(x, 5)
    ops.broadcast(huge((1, C), dtype), (H, W))
    ops.concat([image(dtype, 1, 24, H, W), image(dtype, 1, 40, H, W)])
    ops.split(x, [24, 40])
    ops.softmax(image(dtype, 1, 2, 32 * H, W))
    ops.log_softmax(image(dtype, 1, 2, 32 * H, W))
    solver.clip_factor(huge((1 << 24,), dtype), 1.0)
    scalar = huge((1,), dtype)
    n = launch.MAX_ELEMENTS
    launch.kernel("fill", "fill", dtype).over(n, huge((n,), dtype), n, 1.0)
    ops.sgd_update(huge((n,), dtype), huge((n,), dtype), huge((n,), dtype), scalar, 0.9, 0.0, scalar)
    # the last matrix of very many; its square has to be small, as one block goes through all of it
    solver.straighten(huge((n,), dtype), [Matrix(40, 33, n - 40 * 33)], (3.0, -4.0, 2.0))
    ops.nesterov(huge((n,), dtype), huge((n,), dtype), 0.9, scalar)
    ops.adam_update(*(huge((n,), dtype) for _ in range(4)), scalar, (0.9, 0.999), 1e-8, 0.0, scalar)


def products(dtype):
    x, w = huge((2, 1 << 20), dtype), huge((2_000, 1 << 20), dtype)
    y = huge((2, 2_000), dtype)
    ops.linear(x, w, None)
    ops.linear_x(y, w)
    ops.linear_w(x, y)
    ops.channel_sum(image(dtype, 1, 1 << 20, 45, 45))


def priors(dtype):
    g, c = image(dtype, 1, C, H, W), image(dtype, 1, 1, H, W)
    place = huge((1,), np.int64)
    prior.gradient_activation(g, g)
    prior.gradient_activation_grad(c, g, g)
    prior.normalise(image(dtype, 1, 1, 32 * H, 2 * W), place)
    # one block an image, so that very many images are a short run
    c, place = huge((1 << 20, 1, 45, 45), dtype), huge((1 << 20,), np.int64)
    prior.peak(c)
    prior.normalise_grad(c, c, place)
    prior.one_hot(huge((1 << 30,), np.int64), huge((1 << 30, 1), dtype))


WORK = (convolutions, windows, pointwise, products, priors)


@pytest.fixture(scope="module")
def recorded():
    with Recording() as recording:
        for work in WORK:
            for dtype in DTYPES:
                work(dtype)
    return recording


FILES = [file for file in launch.files() if file not in ("class_loss", "segmentation_loss", "tally")]


@pytest.mark.parametrize("file", FILES)
def test_no_index_overflows(recorded, file):
    assert recorded.of(file).launches
    assert recorded.of(file).replay("memory", launch.source(file)) is None


@pytest.mark.parametrize(
    "file, right, wrong",
    [
        ("relu", "y[i] = x[i] <= 0", "y[i * 2 / 2] = x[i] <= 0"),
        ("max_pool", "x[((e.image * s.H + h) * s.W + w) * s.C", "x[((e.image * s.H + h) * s.W + w) * (s.C + 1)"),
        ("concat", "whole[i / c * C + start", "whole[i / c * 2 * C / 2 + start"),
    ],
)  # fmt: skip
def test_an_index_that_overflows_is_reported(recorded, file, right, wrong):
    source = launch.source(file)
    assert right in source.text
    report = recorded.of(file).replay("memory", source._replace(text=source.text.replace(right, wrong)))
    assert report is not None and ("signed integer overflow" in report or "SEGV" in report), report


def test_one_element_more_would_overflow_and_is_refused(monkeypatch):
    n = 2**31 - 1
    x, y = huge((n,), np.float32), huge((n,), np.float32)
    relu = launch.kernel("relu", "relu", np.float32)
    with pytest.raises(launch.InputError, match="reduce --batch"):
        relu.over(n, x, y, n)
    monkeypatch.setattr(launch, "MAX_ELEMENTS", n)
    with Recording() as recording:
        relu.over(n, x, y, n)
    assert "signed integer overflow" in recording.replay("memory", launch.source("relu"))
