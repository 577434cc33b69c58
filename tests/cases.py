"""The operations' cases: shapes, dtypes and memory layouts that Hypothesis chooses."""

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from gland import ops

DTYPES = (np.float64, np.complex128, np.float32)


def normal(rng, shape, dtype=np.float64):
    """Read-only numbers in some memory layout: as indexed, channels-last, or every other element of a larger array."""
    a = rng.standard_normal(shape).astype(dtype)
    if np.dtype(dtype).kind == "c":
        a = a + 1j * rng.standard_normal(shape)
    if len(shape) == 4:
        layout = rng.integers(3)
        if layout == 1:
            a = np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        elif layout == 2:
            a = np.repeat(a, 2, axis=3)[..., ::2]
    a.flags.writeable = False
    return a


@st.composite
def convolutions(draw):
    """x, w, b and a geometry for which there is at least one window, and a generator for more numbers."""
    s = st.integers
    geo = ops.Geometry(draw(s(1, 3)), draw(s(0, 2)), draw(s(1, 2)), draw(s(1, 2)))
    kernel_size = draw(s(1, 3)), draw(s(1, 3))
    n, c, o = draw(s(1, 2)), draw(s(1, 3)) * geo.groups, draw(s(1, 3)) * geo.groups
    size = draw(s(1, 7)), draw(s(1, 7))
    assume(all(z + 2 * geo.pad >= geo.dilation * (k - 1) + 1 for z, k in zip(size, kernel_size, strict=True)))
    rng, dtype = np.random.default_rng(draw(s(0, 99))), draw(st.sampled_from(DTYPES))
    return (
        normal(rng, (n, c, *size), dtype),
        normal(rng, (o, c // geo.groups, *kernel_size), dtype),
        normal(rng, (o,), dtype),
        geo,
        rng,
    )


@st.composite
def poolings(draw):
    """x, kernel_size, stride, pad and ceil_mode for which there is at least one window, and a generator for more numbers."""
    s = st.integers
    kernel_size = draw(s(1, 3)), draw(s(1, 3))
    stride, pad = draw(s(1, 3)), draw(s(0, min(kernel_size) // 2))
    size = draw(s(1, 8)), draw(s(1, 8))
    assume(all(z + 2 * pad >= k for z, k in zip(size, kernel_size, strict=True)))
    rng, dtype = np.random.default_rng(draw(s(0, 99))), draw(st.sampled_from(DTYPES))
    x = np.round(2 * normal(rng, (draw(s(1, 2)), draw(s(1, 3)), *size), dtype))  # whole numbers, so that ties occur
    return x, kernel_size, stride, pad, draw(st.booleans()), rng
