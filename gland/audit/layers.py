"""Every layer against its formula and against every derivative that its protocol promises."""

from collections.abc import Callable, Iterator

import numpy as np

from gland import layers as package
from gland.audit import plain
from gland.audit.evidence import Section, both_zero
from gland.audit.layer_cases import SUBJECTS, Case, Subject, large
from gland.audit.numeric import along, complex_step, dot, in_complex, replaced, scaled_gap


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
    case = large(cls)
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
    expected = plain.max_pool_x(plain.exact(dy.tolist()), plain.exact(x.tolist()), (3, 3), 2, 1, False)
    section.compare(
        "formula", "zeros and ones, many ties: dx goes to the first winner", layer.input_grad(dy, cache), expected
    )
