"""Differentiation by a complex step, and little helpers for layers and networks in complex arithmetic.

s(x + ih) = s(x) + ih s'(x) - h^2/2 s''(x) - ...: the imaginary part over h is s'(x) with an error of h^2, and nothing
is subtracted. With h = 1e-30 that is s'(x) to the last bit. The real part stays where it is, so no rectifier and no
maximum is decided differently by the step; x only must not lie exactly on a kink. Source: Squire and Trapp 1998.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

Array = Any
STEP = 1e-30


def complex_step(s: Callable[[Array], Array], x: Array) -> Array:
    """ds/dx of a scalar function s, one element of x after the other."""
    x = x.astype(complex)
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


def in_complex(layer: Any) -> Any:
    """A copy of a layer whose parameters, and gradients starting at zero, are complex."""
    layer = copy.copy(layer)
    for name in layer.names:
        setattr(layer, name, getattr(layer, name).astype(complex))
        setattr(layer, "d" + name, np.zeros_like(getattr(layer, name)))
    return layer


@contextmanager
def replaced(layer: Any, name: str, value: Array) -> Iterator[None]:
    """layer with another value of one parameter, for a while."""
    before = getattr(layer, name)
    setattr(layer, name, value)
    try:
        yield
    finally:
        setattr(layer, name, before)


def dot(a: Array, b: Array) -> Any:
    """<a, b> = sum of a b, not conjugated."""
    return (a * b).sum()


def scaled_gap(a: Array, b: Array, c: Array, d: Array) -> float:
    """|<a, b> - <c, d>| over the sum of the products' magnitudes on the first side."""
    scale = np.abs(a * b).sum()
    return float(abs(dot(a, b) - dot(c, d)) / scale) if scale > 0 else np.inf
