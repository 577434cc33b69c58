"""The solvers' updates on the host, of flat arrays, a cache-sized piece at a time."""

import numpy as np

from gland.ops import arena
from gland.ops.threads import PIECE, count_threads, parallel, strip_rows, strips


def nesterov(dw, v, momentum, factor=None):
    size = strip_rows(v.size, 1, PIECE // 2)
    buffers = arena.empty((count_threads(), size), v.dtype)
    ahead = arena.empty(v.shape, v.dtype)

    def work(thread, first, last):
        for at in strips(first, last, size, v.size):
            g = np.multiply(dw[at], 1 if factor is None else factor, out=buffers[thread, : len(dw[at])])
            v[at] *= momentum
            v[at] += g
            np.multiply(v[at], momentum, out=ahead[at])
            ahead[at] += g

    parallel(work, -(-v.size // size))
    return ahead


def adam_update(w, dw, m, s, rate, betas, epsilon, decay, factor=None):
    beta1, beta2 = betas
    size = strip_rows(w.size, 1, PIECE // 2)
    buffers = arena.empty((count_threads(), 2, size), w.dtype)

    def work(thread, first, last):
        for at in strips(first, last, size, w.size):
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

    parallel(work, -(-w.size // size))


def sgd_update(w, dw, v, rate, momentum, decay, factor=None):
    size = strip_rows(w.size, 1, PIECE // 2)
    steps = arena.empty((count_threads(), size), w.dtype)

    def work(thread, first, last):
        for at in strips(first, last, size, w.size):
            step = steps[thread, : len(w[at])]
            np.multiply(w[at], decay, out=step)
            step += dw[at] if factor is None else dw[at] * factor
            step *= rate
            v[at] *= momentum
            v[at] += step
            w[at] -= v[at]

    parallel(work, -(-w.size // size))
