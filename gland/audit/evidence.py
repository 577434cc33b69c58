"""What the audit collects: for each subject its formula, the functions that compute it, and checks with error and tolerance."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from inspect import getsourcefile, getsourcelines, unwrap
from math import inf, isfinite
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[2]


class Tolerance(NamedTuple):
    """A bound on a relative error, and why that bound."""

    value: float
    why: str


KINDS = {
    "formula": Tolerance(
        1e-13,
        "The transcription is exact (fractions) or has 50 digits, so all of the difference is the package's rounding "
        "in float64: about 1e-16 per operation over at most a few hundred operations, 1e-14; ten times that.",
    ),
    "gradient": Tolerance(
        1e-12,
        "A complex step subtracts nothing and its step of 1e-30 leaves no truncation error, so both sides carry only "
        "the rounding of some thousand float64 operations; a wrong term would show as an error near 1.",
    ),
    "adjoint": Tolerance(
        1e-12,
        "<tangent(tx), dy> = <tx, input_grad(dy)> has no step size at all. Two sums of some thousand products in "
        "float64, relative to the sum of the products' magnitudes.",
    ),
    "second": Tolerance(1e-12, "As for the gradient: a complex step through the hand-written first derivative."),
    "float32": Tolerance(
        1e-4,
        "The same pass in float32, where fast paths are used, against float64: 6e-8 per operation over some thousand "
        "operations, and an F(4, 3) Winograd transform along the rows loses about one digit more.",
    ),
    "state": Tolerance(0.0, "Bits either changed or they did not."),
    "network": Tolerance(
        1e-10,
        "Twenty layers, and a division by each map's maximum: rounding of 1e-16 is amplified by every layer's "
        "condition; 1e-10 still leaves ten digits between rounding and a missing term.",
    ),
    "network32": Tolerance(
        1e-2,
        "float32 through twenty layers against float64. A rectifier or maximum that is decided the other way by "
        "rounding changes single terms, so this compares whole tensors by their largest element.",
    ),
    "device": Tolerance(1e-4, "float32 sums in another order on the device; as for float32."),
    "fact": Tolerance(0.0, "The statement holds or it does not."),
    "crash": Tolerance(0.0, "A check that cannot run shows nothing."),
}


@dataclass(frozen=True)
class Check:
    """One comparison. It passes if error <= tolerance; an error that is not a number never passes."""

    kind: str
    what: str
    error: float
    tolerance: float
    why: str

    @property
    def passed(self) -> bool:
        return bool(self.error <= self.tolerance)


@dataclass
class Section:
    """One subject of the audit: an equation, a layer, the prior, the joint gradient, the device, or a fact."""

    key: str  # short, for tables and for what --break prints
    title: str
    formula: str = ""  # in TeX
    computes: Sequence[Callable[..., Any]] = ()
    differentiates: Sequence[Callable[..., Any]] = ()
    notes: str = ""
    checks: list[Check] = field(default_factory=list)
    numbers: list[tuple[str, str]] = field(default_factory=list)  # measured, no verdict
    scatter: list[tuple[float, float]] = field(default_factory=list)  # (analytic, numeric)
    skipped: str | None = None

    def add(self, kind: str, what: str, error: float, tolerance: Tolerance | None = None) -> None:
        value, why = tolerance or KINDS[kind]
        self.checks.append(Check(kind, what, float(error), value, why))

    def claim(self, what: str, holds: bool) -> None:
        """Add the check that a statement holds."""
        self.add("fact", what, 0 if holds else inf)

    def fact(self, what: str, error: float, bound: float, why: str = "rounding") -> None:
        """Add the check that a statement about a number holds, as nearly as rounding lets it."""
        self.add("fact", what, error, Tolerance(bound, why))

    def unchanged(self, what: str, same: bool) -> None:
        """Add the check that bits are those that they must be."""
        self.add("state", what, 0 if same else inf)

    def gradient(self, what: str, by_hand: Any, numeric: Any) -> None:
        """Add the check of a gradient, whose elements the page draws too."""
        self.compare("gradient", what, by_hand, numeric)
        self.scatter += zip(np.ravel(by_hand).tolist(), np.ravel(numeric).tolist())

    def measured(self, what: str, number: str) -> None:
        """Add a number without a verdict."""
        self.numbers.append((what, number))

    def attempt(self, what: str, check: Callable[[], None]) -> None:
        """Run check; what crashes has not been shown to be right, so an exception is a failed check."""
        try:
            check()
        except Exception as error:
            self.add("crash", f"{what}: {type(error).__name__}: {error}", inf)

    def compare(self, kind: str, what: str, got: Any, expected: Any, tolerance: Tolerance | None = None) -> None:
        """Add the check that two arrays (or nested lists, or numbers) are the same."""
        self.add(kind, what, difference(got, expected), tolerance)

    @property
    def passed(self) -> bool:
        """Every check passes; a subject with neither checks nor measured numbers, and not skipped, shows nothing and fails."""
        return all(check.passed for check in self.checks) and bool(self.checks or self.numbers or self.skipped)

    @property
    def mark(self) -> str:
        """The verdict in a word."""
        return "skipped" if self.skipped else "FAILED" if not self.passed else "ok" if self.checks else "measured"

    @property
    def is_fact(self) -> bool:
        """Whether it is shown by a number, having no function of its own."""
        return bool(not self.computes and self.numbers and not self.skipped)

    def worst(self, kind: str) -> float | None:
        """The check of this kind that comes nearest to its tolerance, or fails most: its error."""
        errors = [check.error for check in self.checks if check.kind == kind]
        return None if not errors else inf if not all(isfinite(e) for e in errors) else max(errors)


def difference(got: Any, expected: Any) -> float:
    """Largest |got - expected| over largest |expected|; infinite if shapes differ, nothing is finite or expected is
    all 0.

    A comparison with nothing but zeros would prove nothing, so it fails; use `both_zero` where zero is the claim.
    """
    got, expected = _flat(got), _flat(expected)
    if got[0] != expected[0] or not got[1]:
        return inf
    scale = max(abs(e) for e in expected[1])
    errors = [abs(g - e) for g, e in zip(got[1], expected[1])]
    known = scale > 0 and all(map(isfinite, errors))  # max alone would pass over a NaN
    return float(max(errors) / scale) if known else inf


def both_zero(*values: Any) -> float:
    """Largest magnitude among the values; None counts as zero."""
    return max((float(np.abs(v).max()) for v in values if v is not None), default=0.0)


def _flat(x: Any) -> tuple[tuple[int, ...], list[Any]]:
    """Shape and elements; fractions and decimals as the nearest float, half a unit in the last place away at most."""
    array = np.asarray(x)
    return array.shape, array.astype(float if array.dtype == object else array.dtype).ravel().tolist()


def where(function: Callable[..., Any]) -> str:
    """The function's file:line, asked of the running code by inspect."""
    function = unwrap(getattr(function, "__func__", function))
    path = Path(getsourcefile(function) or "?").resolve()
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.name
    lines, first = getsourcelines(function)
    decorators = next(i for i, line in enumerate(lines) if line.lstrip().startswith(("def ", "class ")))
    return f"{shown}:{first + decorators}"
