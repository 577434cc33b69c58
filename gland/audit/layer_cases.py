"""Which layers are audited, on what inputs, and the transcription of each one's formula."""

import copy
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gland import layers
from gland.audit.plain import decimals, exact, local_response_norm, log_softmax, softmax
from gland.ops import plain

Array = Any
Formula = Callable[[Array, Any], Array]  # (x, layer) -> y, in exact numbers


class Case(NamedTuple):
    """A layer, made anew in a dtype, and the shape of an input."""

    what: str
    shape: tuple[int, ...]
    make: Callable[[np.random.Generator, Any], Any]


class Subject(NamedTuple):
    name: str  # in gland.layers
    formula: str
    plain: Formula
    cases: list[Case]


def _case(what: str, shape: tuple[int, ...], cls: type, *args: Any, **options: Any) -> Case:
    drawn = "rng" in inspect.signature(cls).parameters  # its weights
    return Case(
        what, shape, lambda rng, dtype: cls(*args, **options, **({"rng": rng, "dtype": dtype} if drawn else {}))
    )


def _exactly(formula: Formula) -> Formula:
    """formula, given x and the layer's parameters as fractions."""

    def y(x: Array, layer: Any) -> Array:
        layer = copy.copy(layer)
        for name in layer.names:
            setattr(layer, name, exact(getattr(layer, name)))
        return formula(exact(x), layer)

    return y


def _deconv(x: Array, l: Any) -> Array:
    """What a convolution of y would send back to y, were x what it receives; then b is added."""
    return plain.conv_x(x, l.w, l.geo, l.output_size(x.shape[2:])) + l.b[:, None, None]


class _FixedMask:
    """What Dropout draws from, so that every pass of a check sees the same mask."""

    def random(self, shape: tuple[int, ...]) -> Array:
        return np.random.default_rng(5).random(shape)


def _dropout(rng: np.random.Generator, dtype: Any) -> layers.Dropout:
    layer = layers.Dropout(0.3)
    layer.rng = _FixedMask()  # type: ignore[assignment]
    return layer


def _dropped(x: Array, l: Any) -> Array:
    return x * exact((_FixedMask().random(x.shape) >= l.rate) / (1 - l.rate))


def _conv_cases(cls: type) -> list[Case]:
    options = {"stride": 2, "pad": 1, "dilation": 2, "groups": 2}
    return [
        _case("3x3, padding 1", (2, 2, 5, 4), cls, 2, 3, 3, pad=1),
        _case("3x2, stride 2, padding 1, dilation 2, 2 groups", (2, 4, 7, 6), cls, 4, 4, (3, 2), **options),
    ]


SUBJECTS = (
    Subject("Conv2d", r"y_{n o} = b_o + \sum_c w_{o c} \star x_{n c}",
        _exactly(lambda x, l: plain.conv(x, l.w, l.b, l.geo)),
        _conv_cases(layers.Conv2d)),
    Subject("ConvReLU", r"y = \max(b + \sum_c w_c \star x_c, 0)",
        _exactly(lambda x, l: plain.relu(plain.conv(x, l.w, l.b, l.geo))),
        _conv_cases(layers.ConvReLU)),
    Subject("Deconv2d", r"\langle y - b, v \rangle = \langle x, w \star v \rangle \text{ for every } v",
        _exactly(_deconv),
        [_case("2x2, stride 2", (2, 3, 3, 4), layers.Deconv2d, 3, 2, 2, stride=2),
         _case("3x4, stride 3, padding 1, output padding 2", (2, 2, 3, 2), layers.Deconv2d, 2, 3, (3, 4),
               stride=3, pad=1, output_pad=2)]),
    Subject("MaxPool2d", r"y_{i j} = \max\limits_{(u, v) \in \text{window}(i, j)} x_{u v}",
        _exactly(lambda x, l: plain.max_pool(x, l.kernel_size, l.stride, l.pad, l.ceil_mode)[0]),
        [_case("2x2", (2, 2, 4, 6), layers.MaxPool2d, 2),
         _case("3x3, stride 2, padding 1: windows overlap", (2, 2, 6, 5), layers.MaxPool2d, 3, 2, 1),
         _case("3x3, stride 2, ceil mode", (2, 2, 6, 6), layers.MaxPool2d, 3, 2, ceil_mode=True)]),
    Subject("AvgPool2d", r"y_{i j} = \frac{1}{K_H K_W} \sum_{(u, v) \in \text{window}(i, j)} x_{u v}",
        _exactly(lambda x, l: plain.avg_pool(x, l.kernel_size, l.stride, l.pad)),
        [_case("3x2, stride 2, padding 1", (2, 2, 6, 5), layers.AvgPool2d, (3, 2), 2, 1)]),
    Subject("GlobalAvgPool", r"y = \frac{1}{H W} \sum_{i j} x_{i j}",
        _exactly(lambda x, l: plain.global_avg_pool(x)),
        [_case("all positions", (2, 3, 3, 4), layers.GlobalAvgPool)]),
    Subject("Flatten", r"y_{(c H + i) W + j} = x_{c i j}",
        _exactly(lambda x, l: np.array([[v for plane in image for line in plane for v in line] for image in x])),
        [_case("all elements of an image", (2, 3, 2, 4), layers.Flatten)]),
    Subject("UpsampleBilinear",
        r"y_i = (1 - t) x_a + t x_{a+1}, \quad a + t = \left( i + \frac{1}{2} \right) \frac{H}{H'} - \frac{1}{2}",
        _exactly(lambda x, l: plain.upsample_bilinear(x, l.size)),
        [_case("3x4 to 7x8", (2, 2, 3, 4), layers.UpsampleBilinear, (7, 8)),
         _case("1x2 to 4x4", (2, 1, 1, 2), layers.UpsampleBilinear, 4)]),
    Subject("UpsampleNearest", r"y_i = x_{\lfloor i H / H' \rfloor}",
        _exactly(lambda x, l: plain.upsample_nearest(x, l.size)),
        [_case("3x4 to 7x8", (2, 2, 3, 4), layers.UpsampleNearest, (7, 8))]),
    Subject("ReLU", r"y = \max(x, 0)", _exactly(lambda x, l: plain.relu(x)),
        [_case("elementwise", (2, 3, 4, 3), layers.ReLU)]),
    Subject("Linear", r"y = x w^T + b", _exactly(lambda x, l: plain.linear(x, l.w, l.b)),
        [_case("5 to 4", (3, 5), layers.Linear, 5, 4)]),
    Subject("Dropout", r"y = \frac{m}{1 - r} x, \quad m \in \{0, 1\}", _exactly(_dropped),
        [Case("rate 0.3, one fixed mask", (2, 3, 4, 3), _dropout)]),
    Subject("LocalResponseNorm", r"y_c = x_c \left( k + \alpha \sum\limits_{|j - c| \le n / 2} x_j^2 \right)^{-\beta}",
        lambda x, l: local_response_norm(decimals(x), l.n, l.alpha, l.beta, l.k),
        [_case("n 3, alpha 0.2", (2, 5, 2, 3), layers.LocalResponseNorm, 3, 0.2, 0.75, 1.5)]),
    Subject("Softmax", r"y_l = \frac{\exp(x_l)}{\sum_m \exp(x_m)}", lambda x, l: softmax(decimals(x)),
        [_case("3 classes", (2, 3, 2, 3), layers.Softmax)]),
    Subject("LogSoftmax", r"y_l = x_l - \log \sum_m \exp(x_m)", lambda x, l: log_softmax(decimals(x)),
        [_case("3 classes", (2, 3, 2, 3), layers.LogSoftmax)]),
)  # fmt: skip


def large(cls: type) -> Case:
    """A convolution large enough for the fast float32 path, and wide enough for its tiles to end inside the image."""
    return _case("3x3, 16 to 24 channels on 22x19", (2, 16, 22, 19), cls, 16, 24, 3, pad=1)
