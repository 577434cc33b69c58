"""How windows lie, and how memory does: the logical order of axes, which everybody sees, and that which only gland/ops sees."""

from typing import NamedTuple

import numpy as np

Size = tuple[int, int]


class Geometry(NamedTuple):
    """How a convolution's windows lie: the same stride, zero padding and dilation along both axes."""

    stride: int = 1
    pad: int = 0
    dilation: int = 1
    groups: int = 1

    def output_size(self, size: Size, kernel: Size) -> Size:
        """OH = (H + 2 pad - dilation (KH - 1) - 1) // stride + 1, and OW alike. Raises ValueError where nothing is left."""
        h, w = (
            (n + 2 * self.pad - self.dilation * (k - 1) - 1) // self.stride + 1
            for n, k in zip(size, kernel, strict=True)
        )
        if min(h, w) < 1:
            raise too_small(size, kernel, f"padding {self.pad}, dilation {self.dilation}")
        return h, w


def pooled_size(size: Size, kernel_size: Size, stride: int, pad: int, ceil_mode: bool) -> Size:
    """Number of windows along both axes; with ceil_mode a last window may reach over the edge but must start inside.

    Raises ValueError where no window fits."""

    def count(n: int, k: int) -> int:
        room = n + 2 * pad - k
        windows = -(-room // stride) + 1 if ceil_mode else room // stride + 1
        return windows - 1 if ceil_mode and (windows - 1) * stride >= n + pad else windows

    out = count(size[0], kernel_size[0]), count(size[1], kernel_size[1])
    if min(out) < 1 or min(n + 2 * pad - k for n, k in zip(size, kernel_size, strict=True)) < 0:
        raise too_small(size, kernel_size, f"padding {pad}")
    return out


def too_small(size: Size, kernel_size: Size, more: str) -> ValueError:
    """The error of an input into which no window fits."""
    (h, w), (kh, kw) = size, kernel_size
    return ValueError(f"an input of {h} x {w} pixels is too small for a window of {kh} x {kw} ({more})")


def nhwc(x: np.ndarray) -> np.ndarray:
    """(N,C,H,W) -> C-contiguous (N,H,W,C): a view if the memory is already channels-last, else a copy."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


def nchw(y: np.ndarray) -> np.ndarray:
    """(N,H,W,C) -> the logical view (N,C,H,W)."""
    return y.transpose(0, 3, 1, 2)


def hwio(w: np.ndarray) -> np.ndarray:
    """(O,C,KH,KW) -> C-contiguous (KH,KW,C,O)."""
    return np.ascontiguousarray(w.transpose(2, 3, 1, 0))


def oihw(w: np.ndarray) -> np.ndarray:
    """(KH,KW,C,O) -> the logical view (O,C,KH,KW)."""
    return w.transpose(3, 2, 0, 1)


def strided(buffer: np.ndarray, shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    """A view of a C-contiguous buffer from its first byte on; ten times quicker to make than by NumPy's as_strided."""
    return np.ndarray(shape, buffer.dtype, buffer, 0, strides)


def runs(x: np.ndarray) -> np.ndarray:
    """x with its last axis, contiguous, taken as one element: NumPy copies those in half the time of so many numbers."""
    return x.view(f"V{x.shape[-1] * x.itemsize}")[..., 0]
