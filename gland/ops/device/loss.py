"""The fused twins of gland/loss.py: each function as one or two kernels instead of many small operations.

A function of gland/loss.py names its twin here, `@ops.fused(device.loss.class_loss)`, which takes its place for device arrays.
Names, arguments and results are the function's own; its docstring holds the equation.
"""

from typing import Any

from gland.ops.device.launch import kernel
from gland.ops.device.memory import Array, contiguous, empty, nhwc
from gland.ops.device.sums import add_splits
from gland.ops.layout import nchw

_PARTS = 64  # blocks that sum one image's pixels
SOFT_TARGET, WEIGHT, BALANCED_WEIGHT = 0, 1, 2  # as in kernels/segmentation_loss.cu


# Eqs. (1), (2)


def class_loss(logits: Array, label: Array) -> Array:
    loss = empty((), logits)
    kernel("class_loss", "class_loss", loss.dtype)(1, 256, contiguous(logits), label, loss, *logits.shape)
    return loss


def class_loss_grad(logits: Array, label: Array) -> Array:
    da = empty(logits.shape, logits)
    kernel("class_loss", "class_loss_grad", da.dtype).over(len(da), contiguous(logits), label, da, *da.shape)
    return da


# Eq. (4)


class _Images:
    """Logits, mask and f as the kernels want them, and for the balanced weight each image's sums of S f and of S."""

    def __init__(self, logits: Array, mask: Array, f: Array, reading: int) -> None:
        self.s, self.mask, self.f, self.reading = nhwc(logits), contiguous(mask), contiguous(f), reading
        self.n, self.pixels = len(logits), mask.shape[1] * mask.shape[2]
        self.parts = min(_PARTS, -(-self.pixels // 256))
        self.sums = self._gland_sums() if reading == BALANCED_WEIGHT else None

    def _gland_sums(self) -> Array:
        partial, sums = empty((self.parts, self.n, 2), self.f), empty((self.n, 2), self.f)
        self.run("gland_sums", self.mask, self.f, partial, self.n, self.pixels)
        add_splits(partial, sums)
        return sums

    def run(self, name: str, *args: Any) -> None:
        kernel("segmentation_loss", name, self.f.dtype)((self.parts, self.n), 256, *args)

    def loss(self) -> Array:
        partial, loss = empty((self.parts, self.n), self.f), empty((), self.f)
        self.run("segmentation_loss", self.s, self.mask, self.f, self.sums, partial, self.n, self.pixels, self.reading)
        add_splits(partial.reshape(-1, 1), loss, scale=1 / self.mask.size)
        return loss

    def grad(self) -> tuple[Array, Array]:
        ds, df, partial = empty(self.s.shape, self.s), empty(self.f.shape, self.f), empty((self.parts, self.n), self.f)
        sizes = self.n, self.pixels, self.reading
        self.run("segmentation_loss_grad", self.s, self.mask, self.f, self.sums, ds, df, partial, *sizes)
        if self.reading == BALANCED_WEIGHT:
            weighted = empty((self.n,), self.f)
            add_splits(partial, weighted)
            finish = kernel("segmentation_loss", "balanced_df", df.dtype)
            finish.over(df.size, df, self.mask, self.sums, weighted, df.size, self.pixels)
        return nchw(ds), df


def soft_target_loss(logits: Array, mask: Array, f: Array) -> Array:
    return _Images(logits, mask, f, SOFT_TARGET).loss()


def soft_target_loss_grad(logits: Array, mask: Array, f: Array) -> tuple[Array, Array]:
    return _Images(logits, mask, f, SOFT_TARGET).grad()


def weight_loss(logits: Array, mask: Array, f: Array) -> Array:
    return _Images(logits, mask, f, WEIGHT).loss()


def weight_loss_grad(logits: Array, mask: Array, f: Array) -> tuple[Array, Array]:
    return _Images(logits, mask, f, WEIGHT).grad()


def balanced_weight_loss(logits: Array, mask: Array, f: Array) -> Array:
    return _Images(logits, mask, f, BALANCED_WEIGHT).loss()


def balanced_weight_loss_grad(logits: Array, mask: Array, f: Array) -> tuple[Array, Array]:
    return _Images(logits, mask, f, BALANCED_WEIGHT).grad()
