"""What every layer shares: named parameters, their gradients, and how they start.

The layer protocol, in the notation dL/dy = dy:

    forward(x) -> y, cache              cache: a NamedTuple with only what the other passes need
    input_grad(dy, cache) -> dx         touches no parameter; Eq. (3) needs exactly this
    backward(dy, cache) -> dx           input_grad, and dw += ..., db += ...
    tangent(tx, cache) -> ty            the linearised forward pass: how y moves when x moves along tx
    second_order(tx, dy, cache) -> dx   the gradient of s = <tx, input_grad(dy)>, with tx and dy held still: adds ds/dw to
                                        dw, and returns ds/dx, or None where the layer is piecewise linear in x

Parameters and their gradients live on the layer; activations never do, so a layer can be used twice and a backward pass
run twice. Gradients only add; `zero_grad` is the one place that assigns.
"""

from typing import Any, TypeVar

import numpy as np

from gland import ops

Array = Any  # numpy.ndarray, or a device array with the same interface
AnyLayer = TypeVar("AnyLayer", bound="Layer")
Window = int | tuple[int, int]  # rows and columns, a single number for both


class Layer:
    """A layer with parameters `names`; the gradient of w is dw. Layers without parameters inherit the empty tuple."""

    names: tuple[str, ...] = ()
    output = False  # whether it gives the logits; what it gives is hidden from the loss otherwise
    w: Array
    b: Array
    dw: Array
    db: Array

    def zero_grad(self) -> None:
        """Set every gradient to zero."""
        for name in self.names:
            getattr(self, "d" + name)[...] = 0

    def _own(self, **parameters: np.ndarray) -> None:
        """Take parameters (in their logical shapes) and give each a gradient of the same shape and memory layout."""
        self.names = tuple(parameters)
        for name, value in parameters.items():
            value = ops.parameter(value)
            setattr(self, name, value)
            setattr(self, "d" + name, np.zeros_like(value))

    def forward(self, x: Array) -> tuple[Array, Any]:
        raise NotImplementedError

    def input_grad(self, dy: Array, cache: Any, /) -> Array:
        raise NotImplementedError

    def backward(self, dy: Array, cache: Any, /) -> Array:
        raise NotImplementedError

    def tangent(self, tx: Array, cache: Any, /) -> Array:
        raise NotImplementedError

    def second_order(self, tx: Array, dy: Array, cache: Any) -> Array | None:
        """Nothing to add where y is piecewise linear in x and there are no weights."""
        return None


def pair(n: Window) -> tuple[int, int]:
    """(n, n) of a single number."""
    return (n, n) if isinstance(n, int) else (n[0], n[1])


def he_normal(shape: tuple[int, ...], fan_in: int, rng: np.random.Generator, dtype: Any) -> np.ndarray:
    """He et al. 2015, Eq. 10: a normal with variance 2 / fan_in keeps the size of what passes through a ReLU."""
    return (rng.standard_normal(shape) * np.sqrt(2 / fan_in)).astype(dtype)


def start_small(layer: "AnyLayer") -> "AnyLayer":
    """The layer that gives the logits, its weights a tenth of what He's rule says: the first loss is then that of a coin,
    and the first gradients, which know nothing yet, do not throw the features off (measured in docs/lab-notes.md)."""
    layer.w *= layer.w.dtype.type(0.1)
    layer.output = True
    return layer
