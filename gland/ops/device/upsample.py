"""Bilinear and nearest upsampling on the device: first along the height, then along the width, as on the host."""

from gland.ops.device.launch import kernel
from gland.ops.device.memory import Array, empty, nhwc
from gland.ops.layout import Size, nchw


def _axis(name: str, x: Array, n: int, out: int, inner: int, shape: tuple[int, ...]) -> Array:
    """One axis: x (outer, n, inner) -> (outer, out, inner); for an adjoint the other way."""
    y = empty(shape, x)
    kernel(name.removesuffix("_x"), name, x.dtype).over(y.size, x, y, y.size, n, out, inner)
    return y


def _up(name: str, x: Array, size: Size) -> Array:
    x = nhwc(x)
    (n, h, w, c), (oh, ow) = x.shape, size
    y = _axis(name, x, h, oh, w * c, (n, oh, w, c))
    return nchw(_axis(name, y, w, ow, c, (n, oh, ow, c)))


def _down(name: str, dy: Array, size: Size) -> Array:
    dy = nhwc(dy)
    (n, oh, ow, c), (h, w) = dy.shape, size
    dx = _axis(name, dy, h, oh, ow * c, (n, h, ow, c))
    return nchw(_axis(name, dx, w, ow, c, (n, h, w, c)))


def upsample_bilinear(x: Array, size: Size) -> Array:
    return _up("upsample_bilinear", x, size)


def upsample_bilinear_x(dy: Array, size: Size) -> Array:
    return _down("upsample_bilinear_x", dy, size)


def upsample_nearest(x: Array, size: Size) -> Array:
    return _up("upsample_nearest", x, size)


def upsample_nearest_x(dy: Array, size: Size) -> Array:
    return _down("upsample_nearest_x", dy, size)
