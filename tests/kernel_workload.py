"""Launches that reach every instance of every kernel, at sizes where tiles and warps do not come out even.

What they compute is compared with the host elsewhere; here they are recorded, to be run again under the checkers.
"""

from functools import lru_cache

import numpy as np
from cuda_on_cpu import emulated
from cuda_on_cpu.recording import Recording

from gland import ops
from gland.networks.base import Matrix
from gland.networks.multiloss import Losses
from gland.ops import Geometry
from gland.ops.device import loss, prior, solver, update

DTYPES = (np.float32, np.float64)


@lru_cache(None)
def recorded() -> Recording:
    """All of it, once in a process."""
    with Recording() as recording:
        for dtype in DTYPES:
            rng = np.random.default_rng(0)
            for work in WORK:
                work(lambda *shape: emulated(rng.standard_normal(shape).astype(dtype)))  # noqa: B023
    return recording


def convolutions(normal):
    # channels out 40, 20, 5: the three widths of tiles; 136 and 72 values a window: products cut into splits
    for n, c, o, k, geo in (
        (1, 3, 40, 3, Geometry(1, 1)),
        (2, 15, 20, 3, Geometry(2, 1)),
        (1, 34, 5, 2, Geometry(3, 0, 2)),
        (1, 20, 4, 3, Geometry(1, 0)),
        (1, 8, 10, 3, Geometry(1, 2, 2, 2)),
        (2, 80, 2, 1, Geometry()),  # and a weight gradient in splits
        (1, 2, 80, 1, Geometry(2)),
        (1, 20, 5, 1, Geometry()),
        (1, 34, 3, 4, Geometry(2, 1)),
    ):
        x, w, b = normal(n, c, 11, 9), normal(o, c // geo.groups, k, k), normal(o)
        y = ops.conv(x, w, b, geo)
        ops.conv_relu(x, w, None, geo)
        ops.conv_x(y, w, geo, (11, 9))
        ops.conv_w(x, y, geo, (k, k))


def convolutions_by_fours(normal):
    # channels that are multiples of 4, so that four are loaded at once; on tensor cores as well
    for tensor_cores in (False, True):
        ops.use_tf32(tensor_cores)
        for channels in (40, 20, 12):
            x, w, geo = normal(1, channels, 3, 3), normal(channels, channels, 1, 1), Geometry()
            ops.conv(x, w, None, geo)
            ops.conv_x(x, w, geo, (3, 3))
            ops.conv_w(x, x, geo, (1, 1))
    ops.use_tf32(False)


def pools(normal):
    for kernel_size, stride, pad, ceil in (((2, 2), 2, 0, False), ((3, 3), 2, 1, True), ((17, 16), 3, 2, False)):
        x = normal(2, 5, 19, 18)
        y, argmax = ops.max_pool(x, kernel_size, stride, pad, ceil)
        ops.max_pool_x(y, argmax, kernel_size, stride, pad, (19, 18))
        ops.max_pool_t(x, argmax, kernel_size, stride, pad)
        y = ops.avg_pool(x, kernel_size, stride, pad)
        ops.avg_pool_x(y, kernel_size, stride, pad, (19, 18))
    ops.global_avg_pool_x(ops.global_avg_pool(x), (19, 18))


def upsampling(normal):
    for small, large in (((5, 7), (13, 9)), ((1, 4), (6, 4)), ((9, 5), (4, 3))):
        x, dy = normal(2, 3, *small), normal(2, 3, *large)
        ops.upsample_bilinear(x, large)
        ops.upsample_bilinear_x(dy, small)
        ops.upsample_nearest(x, large)
        ops.upsample_nearest_x(dy, small)
    # a row so long that the product of two positions on it is beyond an int
    ops.upsample_bilinear(normal(1, 1, 1, 33_000), (1, 66_000))
    ops.upsample_nearest(normal(1, 1, 1, 33_000), (1, 66_000))


def pointwise(normal):
    a, b = normal(2, 37, 5, 6), normal(2, 37, 5, 6)
    ops.add(a, b)
    ops.multiply(a, b)
    ops.relu_x(b, ops.relu(a))
    ops.channel_add(a, normal(37))
    ops.channel_window_sum(a, 5)
    ops.spatial_sum(ops.broadcast(normal(2, 37), (5, 6)))
    ops.channel_sum(normal(1, 3, 30, 40))
    ops.split(ops.concat([a, normal(2, 2, 5, 6)]), [30, 9])


def vectors(normal):
    x, w = normal(3, 45), normal(7, 45)
    y = ops.linear(x, w, normal(7))
    ops.linear(x, w, None)
    ops.linear_x(y, w)
    ops.linear_w(x, y)
    for logits in (normal(3, 2), normal(2, 2, 7, 9)):
        ops.softmax(logits)
        ops.log_softmax(logits)


def updates(normal):
    w, dw, v = normal(1001), normal(1001), normal(1001)
    ops.sgd_update(w, dw, v, 0.1, 0.9, 1e-4)
    ops.nesterov(dw, v, 0.95)
    ops.adam_update(w, dw, v, abs(normal(1001)), 0.1, (0.9, 0.999), 1e-8, 0.01)
    solver.clip_factor(dw, 3.0)
    solver.straighten(dw, [Matrix(35, 20, 0), Matrix(6, 50, 700)], (1.5, -0.5, 0.1))


def losses(normal):
    logits, label = normal(3, 2), emulated(np.array([1, 0, 1]))
    loss.class_loss(logits, label)
    loss.class_loss_grad(logits, label)
    prior.one_hot(label, logits)
    s, f = normal(3, 2, 21, 17), abs(normal(3, 21, 17))
    mask = (normal(3, 21, 17) > 0).astype(f.dtype)
    for name in ("soft_target_loss", "weight_loss", "balanced_weight_loss"):
        getattr(loss, name)(s, mask, f)
        getattr(loss, name + "_grad")(s, mask, f)
    totals = emulated(np.zeros(8))
    number = normal(1).reshape(())
    update.tally(totals, Losses(number, number, number, logits, s), mask, label)
    update.tally(totals, Losses(number, number, None, logits, None), None, label)


def priors(normal):
    g, z = normal(2, 5, 6, 7), normal(2, 5, 6, 7)
    for c in (prior.gradient(g, z), prior.gradient_activation(g, z)):
        place = prior.peak(c)
        n = prior.normalise(c, place)
        dc = prior.normalise_grad(n, c, place)
        prior.gradient_grad(dc, g, z)
        prior.gradient_activation_grad(dc, g, z)


WORK = [convolutions, convolutions_by_fours, pools, upsampling, pointwise, vectors, updates, losses, priors]
