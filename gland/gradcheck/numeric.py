"""Derivatives by the complex step, of every element or along directions, and by central differences."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gland.gradcheck.rows import Report

Array = Any
STEP = 1e-30
ANALYTIC, ADJOINT = 1e-11, 1e-12
ELEMENTS = 12  # single elements checked of a tensor, besides one random direction through all of it


def complex_step(s: Callable[[Array], Array], x: Array) -> Array:
    """ds/dx of a scalar function s, one element of x after the other."""
    x = np.array(x, complex)
    dx = np.empty(x.shape)
    for place in np.ndindex(x.shape):
        value = x[place]
        x[place] = value + 1j * STEP
        dx[place] = np.imag(s(x)) / STEP
        x[place] = value
    return dx


def along(y: Callable[[Array], Array], x: Array, tx: Array) -> Array:
    """How y(x) moves when x moves along tx."""
    return np.imag(y(x + 1j * STEP * tx)) / STEP


def moved(parameter: Array, v: Array, s: Callable[[], Array]) -> Array:
    """How s() moves when a complex array, which s reads, moves along v; the array is as it was afterwards."""
    value = parameter.copy()
    parameter[...] = value + 1j * STEP * v
    try:
        return np.imag(s()) / STEP
    finally:
        parameter[...] = value


def directions(a: Array, rng: np.random.Generator, elements: int = ELEMENTS) -> Iterator[tuple[str, Array]]:
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


def compare_along(report: Report, check: str, name: str, gradient: Array, rows: list, tolerance: float) -> None:
    """Add to the report: the gradient's product with each direction against the derivative along it."""
    report.add(check, name, *projected(gradient, rows), tolerance, [label for label, _, _ in rows])


def projected(gradient: Array, rows: list[tuple[str, Array, Array]]) -> tuple[Array, Array]:
    """For each (label, direction, derivative along it): the gradient's product with the direction, and the derivative."""
    by_hand = [(np.asarray(gradient) * v).sum() / np.linalg.norm(v) for _, v, _ in rows]
    return np.array(by_hand), np.array([value / np.linalg.norm(v) for _, v, value in rows])


def scaled_gap(a: Array, b: Array, c: Array, d: Array) -> float:
    """|<a, b> - <c, d>| over the sum of the products' magnitudes on the first side; infinite if that is zero."""
    scale = np.abs(a * b).sum()
    return float(abs((a * b).sum() - (c * d).sum()) / scale) if scale > 0 else np.inf


def central_difference(f: Callable[[Array], float], x: Array, v: Array, step: float = 1e-5) -> tuple[float, bool]:
    """The derivative of f at x along v, and whether a kink was crossed.

    Where f is smooth its two one-sided differences differ by step f'', in proportion to the step. A kink within the step
    breaks the proportion; two smaller steps are looked at, since for either alone some place of the kink keeps it.
    """

    def gap(h: float) -> float:
        return (f(x + h * v) - 2 * f(x) + f(x - h * v)) / h

    derivative = (f(x + step * v) - f(x - step * v)) / (2 * step)
    wide, noise = gap(step), 1e-9 * max(1.0, abs(f(x))) * (1e-5 / step)
    kink = any(abs(gap(step / k) - wide / k) > 0.05 * abs(wide) + noise for k in (2, 4))
    return float(derivative), bool(kink)
