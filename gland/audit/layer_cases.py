"""Which layers are audited, on what inputs, and the transcription of each one's formula."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gland import layers as package
from gland.audit import plain

Array = Any


class Case(NamedTuple):
    """A layer, an input, and the transcription of its formula: nested lists in, nested lists out."""

    what: str
    make: Callable[[np.random.Generator, Any], Any]
    shape: tuple[int, ...]
    plain: Callable[[Any, Any], list]  # (x as an array, layer) -> y


class Subject(NamedTuple):
    name: str
    formula: str
    cases: tuple[Case, ...]
    notes: str = ""


def _exact(array: Array) -> list:
    return plain.exact(array.tolist())


def _conv(x, layer):
    return plain.conv(_exact(x), _exact(layer.w), _exact(layer.b), *layer.geo)


def _deconv(x, layer):
    return plain.deconv(_exact(x), _exact(layer.w), _exact(layer.b), layer.geo.stride, layer.geo.pad, layer.output_pad)


def _max_pool(x, layer):
    return plain.max_pool(_exact(x), layer.kernel_size, layer.stride, layer.pad, layer.ceil_mode)


def _vectors(function):
    return lambda x, layer: plain.over_axis_1(function, plain.decimals(x.tolist()))


def _norm(x, layer):
    constants = layer.n, layer.alpha, layer.beta, layer.k
    return plain.over_axis_1(lambda v: plain.local_response_norm_of(v, *constants), plain.decimals(x.tolist()))


class _FixedMask:
    """What Dropout draws from, so that every pass of a check sees the same mask."""

    def random(self, shape):
        return np.random.default_rng(5).random(shape)


def _dropout(rng, dtype):
    layer = package.Dropout(0.3)
    layer.rng = _FixedMask()
    return layer


def _dropped(x, layer):
    mask = (_FixedMask().random(x.shape) >= layer.rate) / (1 - layer.rate)
    return plain.multiply(_exact(x), _exact(mask))


def _of(cls, *args, **options):
    return lambda rng, dtype: cls(*args, **options, rng=rng, dtype=dtype)


def _bare(cls, *args, **options):
    return lambda rng, dtype: cls(*args, **options)


CONV_CASES = (
    ("3x3, padding 1", (2, 3, 3), {"pad": 1}, (2, 2, 5, 4)),
    (
        "3x2, stride 2, padding 1, dilation 2, 2 groups",
        (4, 4, (3, 2)),
        {"stride": 2, "pad": 1, "dilation": 2, "groups": 2},
        (2, 4, 7, 6),
    ),
)

SUBJECTS = (
    Subject(
        "Conv2d",
        r"y_{n o} = b_o + \sum_c w_{o c} \star x_{n c}",
        tuple(Case(what, _of(package.Conv2d, *a, **o), shape, _conv) for what, a, o, shape in CONV_CASES),
    ),
    Subject(
        "ConvReLU",
        r"y = \max(b + \sum_c w_c \star x_c, 0)",
        tuple(
            Case(what, _of(package.ConvReLU, *a, **o), shape, lambda x, layer: plain.relu(_conv(x, layer)))
            for what, a, o, shape in CONV_CASES
        ),
    ),
    Subject(
        "Deconv2d",
        r"\langle y - b, v \rangle = \langle x, w \star v \rangle \text{ for every } v",
        (
            Case("2x2, stride 2", _of(package.Deconv2d, 3, 2, 2, stride=2), (2, 3, 3, 4), _deconv),
            Case(
                "3x4, stride 3, padding 1, output padding 2",
                _of(package.Deconv2d, 2, 3, (3, 4), stride=3, pad=1, output_pad=2),
                (2, 2, 3, 2),
                _deconv,
            ),
        ),
    ),
    Subject(
        "MaxPool2d",
        r"y_{i j} = \max_{(u, v) \in \text{window}(i, j)} x_{u v}",
        (
            Case("2x2", _bare(package.MaxPool2d, 2), (2, 2, 4, 6), _max_pool),
            Case(
                "3x3, stride 2, padding 1: windows overlap", _bare(package.MaxPool2d, 3, 2, 1), (2, 2, 6, 5), _max_pool
            ),
            Case("3x3, stride 2, ceil mode", _bare(package.MaxPool2d, 3, 2, ceil_mode=True), (2, 2, 6, 6), _max_pool),
        ),
    ),
    Subject(
        "AvgPool2d",
        r"y_{i j} = \frac{1}{K_H K_W} \sum_{(u, v) \in \text{window}(i, j)} x_{u v}",
        (
            Case(
                "3x2, stride 2, padding 1",
                _bare(package.AvgPool2d, (3, 2), 2, 1),
                (2, 2, 6, 5),
                lambda x, layer: plain.avg_pool(_exact(x), layer.kernel_size, layer.stride, layer.pad),
            ),
        ),
    ),
    Subject(
        "GlobalAvgPool",
        r"y = \frac{1}{H W} \sum_{i j} x_{i j}",
        (
            Case(
                "all positions",
                _bare(package.GlobalAvgPool),
                (2, 3, 3, 4),
                lambda x, _: plain.global_avg_pool(_exact(x)),
            ),
        ),
    ),
    Subject(
        "Flatten",
        r"y_{(c H + i) W + j} = x_{c i j}",
        (
            Case(
                "all elements of an image",
                _bare(package.Flatten),
                (2, 3, 2, 4),
                lambda x, _: [[v for plane in image for line in plane for v in line] for image in _exact(x)],
            ),
        ),
    ),
    Subject(
        "UpsampleBilinear",
        r"y_i = (1 - t) x_a + t x_{a+1}, \quad a + t = \left( i + \frac{1}{2} \right) \frac{H}{H'} - \frac{1}{2}",
        (
            Case(
                "3x4 to 7x8",
                _bare(package.UpsampleBilinear, (7, 8)),
                (2, 2, 3, 4),
                lambda x, layer: plain.upsample_bilinear(_exact(x), layer.size),
            ),
            Case(
                "1x2 to 4x4",
                _bare(package.UpsampleBilinear, 4),
                (2, 1, 1, 2),
                lambda x, layer: plain.upsample_bilinear(_exact(x), layer.size),
            ),
        ),
    ),
    Subject(
        "UpsampleNearest",
        r"y_i = x_{\lfloor i H / H' \rfloor}",
        (
            Case(
                "3x4 to 7x8",
                _bare(package.UpsampleNearest, (7, 8)),
                (2, 2, 3, 4),
                lambda x, layer: plain.upsample_nearest(_exact(x), layer.size),
            ),
        ),
    ),
    Subject(
        "ReLU",
        r"y = \max(x, 0)",
        (Case("elementwise", _bare(package.ReLU), (2, 3, 4, 3), lambda x, _: plain.relu(_exact(x))),),
    ),
    Subject(
        "Linear",
        r"y = x w^T + b",
        (
            Case(
                "5 to 4",
                _of(package.Linear, 5, 4),
                (3, 5),
                lambda x, layer: plain.linear(_exact(x), _exact(layer.w), _exact(layer.b)),
            ),
        ),
    ),
    Subject(
        "Dropout",
        r"y = \frac{m}{1 - r} x, \quad m \in \{0, 1\}",
        (Case("rate 0.3, one fixed mask", _dropout, (2, 3, 4, 3), _dropped),),
    ),
    Subject(
        "LocalResponseNorm",
        r"y_c = x_c \left( k + \alpha \sum_{|j - c| \le n / 2} x_j^2 \right)^{-\beta}",
        (Case("n 3, alpha 0.2", _bare(package.LocalResponseNorm, 3, 0.2, 0.75, 1.5), (2, 5, 2, 3), _norm),),
    ),
    Subject(
        "Softmax",
        r"y_l = \frac{\exp(x_l)}{\sum_m \exp(x_m)}",
        (Case("3 classes", _bare(package.Softmax), (2, 3, 2, 3), _vectors(plain.softmax_of)),),
    ),
    Subject(
        "LogSoftmax",
        r"y_l = x_l - \log \sum_m \exp(x_m)",
        (Case("3 classes", _bare(package.LogSoftmax), (2, 3, 2, 3), _vectors(plain.log_softmax_of)),),
    ),
)


def large(cls: type) -> Case:
    """A convolution large enough for the fast float32 path, and wide enough for its tiles to end inside the image."""
    return Case("3x3, 16 to 24 channels on 22x19", _of(cls, 16, 24, 3, pad=1), (2, 16, 22, 19), _conv)
