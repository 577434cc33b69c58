"""Functions of gland/loss.py, gland/prior.py and gland/solver.py, each as one or two kernels instead of many small operations.

`ops.fused` sends a function here when its first argument is a device array. Names, arguments and results are those of the
function, less a leading underscore; its docstring holds the equation.
"""

import numpy as np

from gland.ops.device_conv import add_splits
from gland.ops.device_memory import contiguous, empty, like, nhwc
from gland.ops.device_update import clip_factor
from gland.ops.launch import kernel
from gland.ops.layout import nchw

__all__ = ["clip_factor"]
_PARTS = 64  # blocks that sum one image's pixels
SOFT_TARGET, WEIGHT, BALANCED_WEIGHT = 0, 1, 2  # as in kernels/segmentation_loss.cu


# Muon


def straighten(g, kernels, polynomial):
    a, b, c = polynomial
    sides, lengths = ([f(k.rows, k.columns) for k in kernels] for f in (min, max))
    tiles, count = -(-max(sides, default=0) // 32), len(kernels)
    table = _table(tuple(kernels), g)
    square, other, r, q, next_q = (empty((sum(n * n for n in sides),), g) for _ in range(5))
    step = empty(g.shape, g)

    def run(name, grid, *args):
        kernel("muon", name, g.dtype)(grid, (32, 8), *args)

    run("gram", (tiles, tiles, count), g, table, square)
    kernel("muon", "begin", g.dtype)(count, 256, table, square, q)
    for _ in range(5):
        run("turn", (tiles, tiles, count), square, None, square, table, r, None, count, b, c)
        run("turn", (tiles, tiles, 2 * count), q, square, r, table, next_q, other, count, a, 1.0)
        run("turn", (tiles, tiles, count), other, None, r, table, square, None, count, a, 1.0)
        q, next_q = next_q, q
    run("finish", (tiles, -(-max(lengths, default=0) // 32), count), g, q, table, step)
    return step


_tables = {}


def _table(kernels, g):
    """kernels/muon.cu's table, made once: a recorded step must not copy from the host."""
    if (kernels, type(g)) not in _tables:
        squares = np.cumsum([0, *(min(k.rows, k.columns) ** 2 for k in kernels)])[:-1]
        rows = [(k.start, k.rows, k.columns, at) for k, at in zip(kernels, squares, strict=True)]
        _tables[kernels, type(g)] = like(np.array(rows, np.int32).reshape(-1, 4), g)
    return _tables[kernels, type(g)]


# Eqs. (1), (2)


def class_loss(logits, label):
    loss = empty((), logits)
    kernel("class_loss", "class_loss", loss.dtype)(1, 256, contiguous(logits), label, loss, *logits.shape)
    return loss


def class_loss_grad(logits, label):
    da = empty(logits.shape, logits)
    kernel("class_loss", "class_loss_grad", da.dtype).over(len(da), contiguous(logits), label, da, *da.shape)
    return da


def one_hot(l, logits):
    y = empty(logits.shape, logits)
    kernel("class_loss", "one_hot", y.dtype).over(y.size, l, y, y.size, y.shape[1])
    return y


# Eq. (4)


class _Images:
    """Logits, mask and f as the kernels want them, and for the balanced weight each image's sums of S f and of S."""

    def __init__(self, logits, mask, f, reading):
        self.s, self.mask, self.f, self.reading = nhwc(logits), contiguous(mask), contiguous(f), reading
        self.n, self.pixels = len(logits), mask.shape[1] * mask.shape[2]
        self.parts = min(_PARTS, -(-self.pixels // 256))
        self.sums = self._gland_sums() if reading == BALANCED_WEIGHT else None

    def _gland_sums(self):
        partial, sums = empty((self.parts, self.n, 2), self.f), empty((self.n, 2), self.f)
        self.run("gland_sums", self.mask, self.f, partial, self.n, self.pixels)
        add_splits(partial, sums)
        return sums

    def run(self, name, *args):
        kernel("segmentation_loss", name, self.f.dtype)((self.parts, self.n), 256, *args)

    def loss(self):
        partial, loss = empty((self.parts, self.n), self.f), empty((), self.f)
        self.run("segmentation_loss", self.s, self.mask, self.f, self.sums, partial, self.n, self.pixels, self.reading)
        add_splits(partial.reshape(-1, 1), loss, scale=1 / self.mask.size)
        return loss

    def grad(self):
        ds, df, partial = empty(self.s.shape, self.s), empty(self.f.shape, self.f), empty((self.parts, self.n), self.f)
        sizes = self.n, self.pixels, self.reading
        self.run("segmentation_loss_grad", self.s, self.mask, self.f, self.sums, ds, df, partial, *sizes)
        if self.reading == BALANCED_WEIGHT:
            weighted = empty((self.n,), self.f)
            add_splits(partial, weighted)
            finish = kernel("segmentation_loss", "balanced_df", df.dtype)
            finish.over(df.size, df, self.mask, self.sums, weighted, df.size, self.pixels)
        return nchw(ds), df


def soft_target_loss(logits, mask, f):
    return _Images(logits, mask, f, SOFT_TARGET).loss()


def soft_target_loss_grad(logits, mask, f):
    return _Images(logits, mask, f, SOFT_TARGET).grad()


def weight_loss(logits, mask, f):
    return _Images(logits, mask, f, WEIGHT).loss()


def weight_loss_grad(logits, mask, f):
    return _Images(logits, mask, f, WEIGHT).grad()


def balanced_weight_loss(logits, mask, f):
    return _Images(logits, mask, f, BALANCED_WEIGHT).loss()


def balanced_weight_loss_grad(logits, mask, f):
    return _Images(logits, mask, f, BALANCED_WEIGHT).grad()


# Section 2.2: from g_k to the maps n_k


def _mean_positive(g, z):
    n, _, h, w = g.shape
    c = empty((n, 1, h, w), g)
    g, z = nhwc(g), None if z is None else nhwc(z)
    kernel("prior", "mean_positive", c.dtype).over(32 * c.size, g, z, c, c.size, g.shape[3])
    return c


def _mean_positive_grad(dc, g, z):
    g, z = nhwc(g), None if z is None else nhwc(z)
    dg, dz = empty(g.shape, g), None if z is None else empty(g.shape, g)
    kernel("prior", "mean_positive_grad", g.dtype).over(g.size, contiguous(dc), g, z, dg, dz, g.size, g.shape[3])
    return nchw(dg), None if z is None else nchw(dz)


def gradient(g, z):
    return _mean_positive(g, None)


def gradient_grad(dc, g, z):
    return _mean_positive_grad(dc, g, None)


def gradient_activation(g, z):
    return _mean_positive(g, z)


def gradient_activation_grad(dc, g, z):
    return _mean_positive_grad(dc, g, z)


def peak(c):
    place = empty((len(c),), c, "int64")
    kernel("prior", "peak", c.dtype)(len(c), 256, contiguous(c), place, c[0].size)
    return place


def normalise(c, peak):
    n = empty(c.shape, c)
    kernel("prior", "normalise", c.dtype).over(c.size, contiguous(c), peak, n, c.size, c[0].size)
    return n


def normalise_grad(dn, c, peak):
    dc = empty(c.shape, c)
    kernel("prior", "normalise_grad", c.dtype)(len(c), 256, contiguous(dn), contiguous(c), peak, dc, c[0].size)
    return dc
