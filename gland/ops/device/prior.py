"""The fused twins of gland/prior.py, where the equations stand."""

from gland.ops.device.launch import kernel
from gland.ops.device.memory import Array, contiguous, empty, nhwc
from gland.ops.layout import nchw


def one_hot(l: Array, logits: Array) -> Array:
    y = empty(logits.shape, logits)
    kernel("one_hot", "one_hot", y.dtype).over(y.size, l, y, y.size, y.shape[1])
    return y


def _mean_positive(g: Array, z: Array | None) -> Array:
    n, _, h, w = g.shape
    c = empty((n, 1, h, w), g)
    g, z = nhwc(g), None if z is None else nhwc(z)
    kernel("mean_positive", "mean_positive", c.dtype).over(32 * c.size, g, z, c, c.size, g.shape[3])
    return c


def _mean_positive_grad(dc: Array, g: Array, z: Array | None) -> tuple[Array, Array | None]:
    g, z = nhwc(g), None if z is None else nhwc(z)
    dg, dz = empty(g.shape, g), None if z is None else empty(g.shape, g)
    kernel("mean_positive", "mean_positive_grad", g.dtype).over(
        g.size, contiguous(dc), g, z, dg, dz, g.size, g.shape[3]
    )
    return nchw(dg), None if dz is None else nchw(dz)


def gradient(g: Array, z: Array) -> Array:
    return _mean_positive(g, None)


def gradient_grad(dc: Array, g: Array, z: Array) -> tuple[Array, Array | None]:
    return _mean_positive_grad(dc, g, None)


def gradient_activation(g: Array, z: Array) -> Array:
    return _mean_positive(g, z)


def gradient_activation_grad(dc: Array, g: Array, z: Array) -> tuple[Array, Array | None]:
    return _mean_positive_grad(dc, g, z)


def peak(c: Array) -> Array:
    place = empty((len(c),), c, "int64")
    kernel("peak", "peak", c.dtype)(len(c), 256, contiguous(c), place, c[0].size)
    return place


def normalise(c: Array, peak: Array) -> Array:
    n = empty(c.shape, c)
    kernel("normalise", "normalise", c.dtype).over(c.size, contiguous(c), peak, n, c.size, c[0].size)
    return n


def normalise_grad(dn: Array, c: Array, peak: Array) -> Array:
    dc = empty(c.shape, c)
    kernel("normalise", "normalise_grad", c.dtype)(len(c), 256, contiguous(dn), contiguous(c), peak, dc, c[0].size)
    return dc
