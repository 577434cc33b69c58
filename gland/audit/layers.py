"""Every layer against its formula and against every derivative that its protocol promises."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from gland import layers as package
from gland.audit import plain
from gland.audit.evidence import Section, both_zero
from gland.audit.numeric import along, complex_step, dot, in_complex, replaced, scaled_gap

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
    return plain.max_pool(_exact(x), layer.kernel, layer.stride, layer.pad, layer.ceil_mode)


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
                lambda x, layer: plain.avg_pool(_exact(x), layer.kernel, layer.stride, layer.pad),
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


def sections() -> Iterator[tuple[str, Callable[[], Section]]]:
    for subject in SUBJECTS:
        yield subject.name, lambda subject=subject: audit(subject)


def audit(subject: Subject) -> Section:
    cls = getattr(package, subject.name)
    passes = [cls.backward, getattr(cls, "weight_grad", None), cls.input_grad, cls.tangent, cls.second_order]
    by_hand = [function for function in passes if function not in (None, package.Layer.second_order)]
    section = Section(subject.name, subject.name, subject.formula, [cls.forward], by_hand)
    section.notes = subject.notes or (cls.__doc__ or "").strip().split("\n\n")[-1]
    for case in subject.cases:
        section.attempt(case.what, lambda case=case: check_case(section, case))
    if subject.name == "MaxPool2d":
        _ties(section)
    if subject.name in ("Conv2d", "ConvReLU"):
        _large(section, cls)
    return section


def check_case(section: Section, case: Case) -> None:
    """All that the layer protocol of gland/layers/base.py promises, on one input."""
    rng = np.random.default_rng(7)
    layer = case.make(rng, np.float64)
    for name in layer.names:  # biases start at zero, which would hide a mistake
        getattr(layer, name)[...] = rng.standard_normal(getattr(layer, name).shape)
    x, tx, other = (rng.standard_normal(case.shape) for _ in range(3))
    y, cache = layer.forward(x)
    layer.forward(other)  # whatever is kept on the layer instead of in the cache is stale from here on
    dy = rng.standard_normal(y.shape)
    kept = [a.copy() for a in (x, tx, dy)]

    def say(text):
        return f"{case.what}: {text}"

    section.compare("formula", say("forward against the plain loops"), y, case.plain(x, layer))
    _first_order(section, say, layer, x, dy, cache)
    ty = layer.tangent(tx, cache)
    z = in_complex(layer)
    section.compare("gradient", say("tangent along tx"), ty, along(lambda v: z.forward(v)[0], x, tx))
    section.add("adjoint", say("<tangent(tx), dy> = <tx, dx>"), scaled_gap(ty, dy, tx, layer.input_grad(dy, cache)))
    _second_order(section, say, layer, x, tx, dy, cache)
    untouched = all(np.array_equal(a, b) for a, b in zip(kept, (x, tx, dy)))
    section.add("state", say("no argument was written into"), 0 if untouched else np.inf)
    _float32(section, say, case, layer, x, tx, dy)


def _first_order(section, say, layer, x, dy, cache):
    z, zx = in_complex(layer), x.astype(complex)
    layer.zero_grad()
    dx = layer.input_grad(dy, cache)
    touched = both_zero(*(getattr(layer, "d" + name) for name in layer.names))
    section.add("state", say("input_grad touches no parameter's gradient"), touched)
    numeric = complex_step(lambda v: dot(z.forward(v)[0], dy), x)
    section.compare("gradient", say("input_grad, every element of dx"), dx, numeric)
    section.scatter += list(zip(dx.ravel().tolist(), numeric.ravel().tolist()))
    section.compare("gradient", say("backward returns the same dx"), layer.backward(dy, cache), numeric)
    for name in layer.names:
        d = getattr(layer, "d" + name).copy()

        def loss(v, name=name):
            with replaced(z, name, v):
                return dot(z.forward(zx)[0], dy)

        numeric = complex_step(loss, getattr(layer, name))
        section.compare("gradient", say(f"backward, every element of d{name}"), d, numeric)
        section.scatter += list(zip(d.ravel().tolist(), numeric.ravel().tolist()))
    once = {name: getattr(layer, "d" + name).copy() for name in layer.names}
    layer.backward(dy, cache)
    for name in layer.names:
        section.compare(
            "gradient", say(f"a second backward adds to d{name}"), getattr(layer, "d" + name), 2 * once[name]
        )


def _second_order(section, say, layer, x, tx, dy, cache):
    """s = <tx, input_grad(dy)> as a function of x and of the parameters, tx and dy held still."""
    z = in_complex(layer)

    def s(v):
        return dot(tx, z.input_grad(dy.astype(complex), z.forward(v)[1]))

    layer.zero_grad()
    ds_dx = layer.second_order(tx, dy, cache)
    numeric = complex_step(s, x)
    if ds_dx is None:
        section.add("second", say("piecewise linear: <tx, dx> does not move with x"), both_zero(numeric))
    else:
        section.compare("second", say("d<tx, dx>/dx"), ds_dx, numeric)
    for name in layer.names:

        def of_parameter(v, name=name):
            with replaced(z, name, v):
                return s(x.astype(complex))

        d, numeric = getattr(layer, "d" + name), complex_step(of_parameter, getattr(layer, name))
        if name == "b":
            section.add("second", say("the bias does not enter <tx, dx>"), both_zero(d, numeric))
        else:
            section.compare("second", say(f"d<tx, dx>/d{name}"), d, numeric)


def _float32(section, say, case, double, x, tx, dy):
    single = case.make(np.random.default_rng(7), np.float32)
    for name in double.names:
        getattr(single, name)[...] = getattr(double, name)
    x32, tx32, dy32 = (a.astype(np.float32) for a in (x, tx, dy))
    results = []
    for layer, (a, ta, da) in ((double, (x, tx, dy)), (single, (x32, tx32, dy32))):
        layer.zero_grad()
        y, cache = layer.forward(a)
        results.append(
            [y, layer.backward(da, cache), layer.tangent(ta, cache), *(getattr(layer, "d" + n) for n in layer.names)]
        )
    names = ["y", "dx", "ty", *("d" + n for n in double.names)]
    for name, expected, got in zip(names, *results):
        section.compare("float32", say(f"{name} in float32"), got, expected)
        if got.dtype != np.float32:
            section.add("float32", say(f"{name} is {got.dtype}, not float32"), np.inf)


def _large(section, cls):
    """A convolution large enough for the fast float32 path, and wide enough for its tiles to end inside the image."""
    case = Case("3x3, 16 to 24 channels on 22x19", _of(cls, 16, 24, 3, pad=1), (2, 16, 22, 19), _conv)
    rng = np.random.default_rng(8)
    layer = case.make(rng, np.float64)
    x, tx = (rng.standard_normal(case.shape) for _ in range(2))
    _float32(section, lambda text: f"{case.what}: {text}", case, layer, x, tx, rng.standard_normal((2, 24, 22, 19)))


def _ties(section):
    """Equal elements are what a rectifier leaves behind: the first of them must get dy."""
    rng = np.random.default_rng(3)
    layer = package.MaxPool2d(3, 2, 1)
    x, dy = rng.integers(0, 2, (1, 2, 5, 6)).astype(float), rng.standard_normal((1, 2, 3, 3))
    _, cache = layer.forward(x)
    expected = plain.max_pool_x(_exact(dy), _exact(x), (3, 3), 2, 1, False)
    section.compare(
        "formula", "zeros and ones, many ties: dx goes to the first winner", layer.input_grad(dy, cache), expected
    )
