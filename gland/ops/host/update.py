"""The solvers' updates on the host, of flat arrays, a cache-sized piece at a time."""

from typing import Any

import numpy as np

from gland.ops.host import arena
from gland.ops.host.threads import PIECE, by_strips, count_threads, strip_rows

Array = Any


def nesterov(dw: Array, v: Array, momentum: float, factor: Array | None = None) -> Array:
    size = strip_rows(v.size, 1, PIECE // 2)
    buffers = arena.empty((count_threads(), size), v.dtype)
    ahead = arena.empty(v.shape, v.dtype)

    def work(thread: int, at: slice) -> None:
        g = np.multiply(dw[at], 1 if factor is None else factor, out=buffers[thread, : len(dw[at])])
        v[at] *= momentum
        v[at] += g
        np.multiply(v[at], momentum, out=ahead[at])
        ahead[at] += g

    by_strips(work, v.size, size)
    return ahead


def adam_update(
    w: Array,
    dw: Array,
    m: Array,
    s: Array,
    rate: float | Array,
    betas: tuple[float, float],
    epsilon: float,
    decay: float,
    factor: Array | None = None,
) -> None:
    beta1, beta2 = betas
    size = strip_rows(w.size, 1, PIECE // 2)
    buffers = arena.empty((count_threads(), 2, size), w.dtype)

    def work(thread: int, at: slice) -> None:
        g, step = buffers[thread, :, : len(w[at])]
        np.multiply(dw[at], 1 if factor is None else factor, out=g)
        m[at] *= beta1
        m[at] += np.multiply(g, 1 - beta1, out=step)
        s[at] *= beta2
        g *= g
        s[at] += np.multiply(g, 1 - beta2, out=step)
        np.sqrt(s[at], out=step)
        step += epsilon
        np.divide(m[at], step, out=step)
        step += np.multiply(w[at], decay, out=g)
        step *= rate
        w[at] -= step

    by_strips(work, w.size, size)


def sgd_update(
    w: Array, dw: Array, v: Array, rate: float | Array, momentum: float, decay: float, factor: Array | None = None
) -> None:
    size = strip_rows(w.size, 1, PIECE // 2)
    steps = arena.empty((count_threads(), size), w.dtype)

    def work(thread: int, at: slice) -> None:
        step = steps[thread, : len(w[at])]
        np.multiply(w[at], decay, out=step)
        step += dw[at] if factor is None else dw[at] * factor
        step *= rate
        v[at] *= momentum
        v[at] += step
        w[at] -= v[at]

    by_strips(work, w.size, size)


def tally(totals: Array, losses: Any, mask: Array, label: Array) -> None:
    """totals (7,): the sums over steps of Eq. (5), Eq. (1), Eq. (4), of class and of pixel accuracy; the number of steps; and the
    number, counted from 1, of the first step whose loss was not finite, 0 while there was none. NaN where a network has no
    such part."""
    values = [losses.total, losses.loss_class, losses.loss_segmentation, None, None]
    if losses.logits is not None:
        values[3] = (losses.logits.argmax(axis=1) == label).mean()
    if losses.seg_logits is not None:
        values[4] = ((losses.seg_logits[:, 0] > losses.seg_logits[:, 1]) == (mask > 0)).mean()
    totals[:5] += [np.nan if value is None else float(value) for value in values]
    totals[5] += 1
    if totals[6] == 0 and not np.isfinite(float(losses.total)):
        totals[6] = totals[5]
