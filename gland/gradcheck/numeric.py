"""Derivatives along directions, by the complex step and by central differences."""

from collections.abc import Callable, Iterable

import numpy as np

from gland.gradcheck.report import Report

STEP = 1e-30
ANALYTIC, ADJOINT = 1e-11, 1e-12
ELEMENTS = 12  # single elements checked of a tensor, besides one random direction through all of it


def directions(a: np.ndarray, rng: np.random.Generator, elements: int = ELEMENTS) -> Iterable[tuple[str, np.ndarray]]:
    """Named directions to differentiate along: one through all of a, then single elements, all if they are few."""
    if not a.size:
        return
    yield "a direction", rng.standard_normal(a.shape)
    chosen = range(a.size) if a.size <= elements else sorted(rng.choice(a.size, elements, replace=False))
    for flat in chosen:
        index = np.unravel_index(flat, a.shape)
        v = np.zeros(a.shape)
        v[index] = 1
        yield str(tuple(int(i) for i in index)), v


def compare_along(report: Report, check: str, name: str, gradient: np.ndarray, rows: list, tolerance: float) -> None:
    """Add to the report: the gradient's product with each direction against the derivative along it."""
    by_hand = [(np.asarray(gradient) * v).sum() / np.linalg.norm(v) for _, v, _ in rows]
    numeric = [value / np.linalg.norm(v) for _, v, value in rows]
    report.add(check, name, np.array(by_hand), np.array(numeric), tolerance, [label for label, _, _ in rows])


def central_difference(
    f: Callable[[np.ndarray], float], x: np.ndarray, v: np.ndarray, step: float = 1e-5
) -> tuple[float, bool]:
    """The derivative of f at x along v, and whether a kink was crossed.

    Where f is smooth its two one-sided differences differ by step f'', in proportion to the step. A kink within the step
    breaks the proportion; two smaller steps are looked at, since for either alone some place of the kink keeps it.
    """

    def gap(h):
        return (f(x + h * v) - 2 * f(x) + f(x - h * v)) / h

    derivative = (f(x + step * v) - f(x - step * v)) / (2 * step)
    wide, noise = gap(step), 1e-9 * max(1.0, abs(f(x))) * (1e-5 / step)
    kink = any(abs(gap(step / k) - wide / k) > 0.05 * abs(wide) + noise for k in (2, 4))
    return float(derivative), bool(kink)
