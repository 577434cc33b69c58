"""Every layer against its formula and against every derivative that its protocol promises."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from gland import layers as package
from gland.audit.evidence import Section, both_zero
from gland.audit.layer_cases import SUBJECTS, Case, Subject, large
from gland.audit.plain import exact
from gland.gradcheck import Comparison, LayerProof
from gland.ops import plain

TEXTS = {  # a comparison of gland.gradcheck, its kind, and how the audit puts it
    "input_grad": ("gradient", "input_grad, every element of dx"),
    "input_grad alone": ("state", "input_grad touches no parameter's gradient"),
    "backward = input_grad": ("gradient", "backward returns the same dx"),
    "backward": ("gradient", "backward, every element of d{name}"),
    "gradients add": ("gradient", "a second backward adds to d{name}"),
    "tangent": ("gradient", "tangent along tx"),
    "adjoint": ("adjoint", "<tangent(tx), dy> = <tx, dx>"),
    "second_order": ("second", "d<tx, dx>/d{name}"),
    "results kept": ("state", "what was returned stays as it was"),
    "arguments kept": ("state", "no argument was written into"),
    "float32": ("float32", "{name} in float32"),
}


def sections() -> Iterator[tuple[str, Callable[[], Section]]]:
    for subject in SUBJECTS:
        yield subject.name, partial(audit, subject)


def audit(subject: Subject) -> Section:
    cls = getattr(package, subject.name)
    passes = [cls.backward, getattr(cls, "weight_grad", None), cls.input_grad, cls.tangent, cls.second_order]
    by_hand = [function for function in passes if function not in (None, package.Layer.second_order)]
    section = Section(subject.name, subject.name, subject.formula, [cls.forward], by_hand)
    section.notes = (cls.__doc__ or "").strip().split("\n\n")[-1]
    for case in subject.cases:
        section.attempt(case.what, partial(_check, section, subject, case))
    if subject.name == "MaxPool2d":
        _ties(section)
    if subject.name in ("Conv2d", "ConvReLU"):
        _large(section, large(cls))
    return section


def _proof(case: Case, seed: int) -> LayerProof:
    rng = np.random.default_rng(seed)
    layer = case.make(rng, np.float64)
    for name in layer.names:  # biases start at zero, which would hide a mistake
        getattr(layer, name)[...] = rng.standard_normal(getattr(layer, name).shape)
    return LayerProof(layer, rng.standard_normal(case.shape), rng, elements=None)


def _check(section: Section, subject: Subject, case: Case) -> None:
    """All that the layer protocol of gland/layers/base.py promises, on one input."""
    proof = _proof(case, 7)
    plainly = subject.plain(proof.x, proof.layer)
    section.compare("formula", f"{case.what}: forward against the plain loops", proof.y, plainly)
    for comparison in proof.comparisons():
        _add(section, case.what, comparison)
    for comparison in proof.float32():
        _add(section, case.what, comparison)


def _add(section: Section, case: str, c: Comparison) -> None:
    kind, text = TEXTS[c.check]
    what = f"{case}: {text.format(name=c.name)}"
    if kind == "state":
        section.unchanged(what, np.array_equal(c.by_hand, c.numeric))
    elif kind == "adjoint":
        section.add(kind, what, abs(c.by_hand - c.numeric) / c.scale if c.scale else np.inf)
    elif kind == "second" and c.by_hand is None:
        section.add(kind, f"{case}: piecewise linear: <tx, dx> does not move with x", both_zero(c.numeric))
    elif kind == "second" and c.name == "b":
        section.add(kind, f"{case}: the bias does not enter <tx, dx>", both_zero(c.by_hand, c.numeric))
    elif c.check in ("input_grad", "backward"):
        section.gradient(what, c.by_hand, c.numeric)
    else:
        section.compare(kind, what, c.by_hand, c.numeric)
    if kind == "float32" and c.by_hand.dtype != np.float32:
        section.add(kind, f"{case}: {c.name} is {c.by_hand.dtype}, not float32", np.inf)


def _large(section: Section, case: Case) -> None:
    for comparison in _proof(case, 8).float32():
        _add(section, case.what, comparison)


def _ties(section: Section) -> None:
    """Equal elements are what a rectifier leaves behind: the first of them must get dy."""
    rng = np.random.default_rng(3)
    layer = package.MaxPool2d(3, 2, 1)
    x, dy = rng.integers(0, 2, (1, 2, 5, 6)).astype(float), rng.standard_normal((1, 2, 3, 3))
    _, argmax = plain.max_pool(x, (3, 3), 2, 1, False)
    expected = plain.max_pool_x(exact(dy), argmax, (3, 3), 2, 1, (5, 6))
    dx = layer.input_grad(dy, layer.forward(x)[1])
    section.compare("formula", "zeros and ones, many ties: dx goes to the first winner", dx, expected)
