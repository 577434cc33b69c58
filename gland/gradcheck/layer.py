"""Everything that a layer of the protocol promises, at one point: what its code gives, beside what that must be."""

import copy
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from gland.gradcheck.numeric import ADJOINT, ANALYTIC, ELEMENTS, along, complex_step, directions, projected
from gland.gradcheck.rows import CheckError, Report

Array = Any
FLOAT32 = 1e-4
TOLERANCE = {
    "input_grad alone": 0.0, "backward = input_grad": ADJOINT, "gradients add": ADJOINT, "adjoint": ADJOINT,
    "arguments kept": 0.0, "results kept": 0.0, "float32": FLOAT32,
}  # fmt: skip


def check_layer(layer: Any, x: Array, seed: int = 0, elements: int = ELEMENTS, float32: bool = False) -> Report:
    """Everything a layer of the protocol (gland/layers/base.py) offers, at the point x, in float64.

    x: the input, any shape. Parameters are those that layer.names lists, or every array w that has a dw beside it.
    elements: how many of a tensor are looked at singly, besides one direction through all of it. float32: also whether
    single precision in gives nearly the same in single precision. The layer stays as it was.
    Raises CheckError, one sentence, if a layer cannot be checked.
    """
    report = Report(type(layer).__name__)
    # a stream that no user's own default_rng(seed) gives: were dy the same numbers as x, dx = max(dy, 0) would pass for ReLU's
    proof = LayerProof(layer, x, np.random.default_rng([seed, *b"gland.gradcheck"]), elements=elements)
    for c in [*proof.comparisons(), *(proof.float32() if float32 else ())]:
        by_hand = np.zeros_like(c.numeric) if c.by_hand is None and c.check == "second_order" else c.by_hand
        if c.check == "float32" and c.by_hand.dtype != np.float32:
            raise CheckError(f"{proof.name} gave {c.name} in {c.by_hand.dtype} for an input in float32")
        if by_hand is not None:
            report.add(c.check, c.name, by_hand, c.numeric, TOLERANCE.get(c.check, ANALYTIC), c.where, c.scale)
    report.notes += proof.notes
    return report


class Comparison(NamedTuple):
    """What a layer gave for something, and what it must be."""

    check: str  # which promise
    name: str  # of what: x, y, a parameter
    by_hand: Array  # None where None was returned
    numeric: Array
    where: list[str] | None = None  # what each element is called; None: by its index
    scale: float | None = None  # what an error is to be compared with; None: the largest value


class LayerProof:
    """The checks of one layer at one point. They work on copies of the layer, which itself stays as it was.

    dy, tx: what is carried back and forth, drawn at random if not given. elements: how many single elements of a tensor are
    looked at besides one direction through all of it; None compares every element, array with array.
    """

    def __init__(
        self, layer: Any, x: Array, rng: np.random.Generator, dy: Array = None, tx: Array = None,
        elements: int | None = ELEMENTS,
    ) -> None:  # fmt: skip
        if isinstance(layer, type):
            raise CheckError(f"{layer.__name__} is a class; give an object of it, {layer.__name__}(...)")
        if not np.size(x):
            raise CheckError("x is empty, so there is nothing to compare")
        self.original, self.name, self.rng, self.elements = layer, type(layer).__name__, rng, elements
        for method in ("forward", "input_grad", "backward"):
            if not callable(getattr(layer, method, None)):
                raise CheckError(f"{self.name} has no method {method}; the layer protocol needs it")
        self.names, self.notes = _parameter_names(layer), list[str]()
        self.layer = self.copy(float)
        self.x = _locked(np.array(x, float, order="K"))
        self.y, self.cache = self._forward(self.layer, self.x)
        self.y_then = self.y.copy()
        again, _ = self._forward(self.layer, self.x)
        if not np.array_equal(again, self.y_then, equal_nan=True):
            raise CheckError(
                f"{self.name}.forward gives something else when it is called twice on the same x; hold still what it draws"
            )
        self.dy = _locked(rng.standard_normal(self.y.shape) if dy is None else dy)
        self.tx = _locked(rng.standard_normal(self.x.shape) if tx is None else tx)
        self.before = [a.copy() for a in (self.x, self.dy, self.tx)]
        # another call: whatever is kept on the layer instead of in the cache is stale from here on
        self._forward(self.layer, self.x.ravel()[::-1].reshape(self.x.shape))

    def comparisons(self) -> Iterator[Comparison]:
        """One promise after the other, in the order in which a layer is written. Each is tried when it is asked for."""
        layer, dy, tx, cache = self.layer, self.dy, self.tx, self.cache

        def loss(z: Any, x: Array) -> Array:
            return (self._forward(z, x)[0] * dy).sum()

        dx = self._call(layer, "input_grad", dy, cache)
        results = {"y": (self.y, self.y_then), "dx": (dx, np.copy(dx))}
        yield self._against("input_grad", "x", dx, loss)
        touched = np.concatenate([np.zeros(0), *(np.ravel(d) for d in self.gradients().values())])
        yield Comparison("input_grad alone", ", ".join("d" + n for n in self.names), touched, np.zeros_like(touched))
        yield Comparison("backward = input_grad", "x", self._call(layer, "backward", dy, cache), results["dx"][1])
        once = self.gradients()
        for name in self.names:
            yield self._against("backward", name, once[name], loss)
        self._call(layer, "backward", dy, cache)
        for name in self.names:
            yield Comparison("gradients add", name, self.gradients()[name], 2 * once[name])
        if hasattr(layer, "tangent"):
            ty = self._call(layer, "tangent", tx, cache)
            results["ty"] = ty, np.copy(ty)
            yield Comparison("tangent", "y", ty, along(lambda x: self._forward(self.copy(complex), x)[0], self.x, tx))
            left, right = (ty * dy).sum(), (tx * self._call(layer, "input_grad", dy, cache)).sum()
            yield Comparison("adjoint", "tangent", left, right, scale=float(np.abs(ty * dy).sum()))
            yield from self._second_order()
            self._call(layer, "tangent", -tx, cache)
        else:
            self.notes.append("no tangent: neither it nor the adjoint identity was checked")
        self._call(layer, "input_grad", -dy, cache)  # other values: in one buffer for all they would replace the first
        now, then = (np.concatenate([np.ravel(pair[i]) for pair in results.values()]) for i in (0, 1))
        yield Comparison("results kept", ", ".join(results), now, then)
        now, then = (np.concatenate([a.ravel() for a in arrays]) for arrays in ((self.x, dy, tx), self.before))
        yield Comparison("arguments kept", "x, dy, tx", now, then)

    def _second_order(self) -> Iterator[Comparison]:
        """s = <tx, input_grad(dy)> as a function of every parameter and of x; where x does not enter, None is returned."""
        if not hasattr(self.layer, "second_order"):
            self.notes.append("no second_order: it was not checked")
            return

        def s(z: Any, x: Array) -> Array:
            return (self._call(z, "input_grad", self.dy.astype(complex), self._forward(z, x)[1]) * self.tx).sum()

        self._own(self.layer, float)
        dx = self._call(self.layer, "second_order", self.tx, self.dy, self.cache)
        for name, by_hand in self.gradients().items():
            yield self._against("second_order", name, by_hand, s)
        yield self._against("second_order", "x", dx, s)

    def float32(self) -> Iterator[Comparison]:
        """y, dx, ty and the parameters' gradients in single precision, against double."""
        double, single = (self._passes(self.copy(dtype), dtype) for dtype in (np.float64, np.float32))
        for name, numeric in double.items():
            yield Comparison("float32", name, single[name], numeric)

    def _passes(self, layer: Any, dtype: Any) -> dict[str, Array]:
        x, dy, tx = (a.astype(dtype) for a in (self.x, self.dy, self.tx))
        y, cache = layer.forward(x)
        passes = {"y": y, "dx": layer.backward(dy, cache)}
        if hasattr(layer, "tangent"):
            passes["ty"] = layer.tangent(tx, cache)
        return passes | {"d" + name: getattr(layer, "d" + name) for name in self.names}

    def _against(self, check: str, name: str, by_hand: Array, s: Callable[[Any, Array], Array]) -> Comparison:
        """by_hand against the complex-step derivative in x, or in the parameter of this name, of s(layer, x)."""
        z = self.copy(complex)
        value = self.x if name == "x" else getattr(self.layer, name)

        def of(v: Array) -> Array:
            if name == "x":
                return s(z, v)
            setattr(z, name, v)
            return s(z, self.x.astype(complex))

        if self.elements is None:
            return Comparison(check, name, by_hand, complex_step(of, value))
        if np.shape(by_hand) != value.shape and (by_hand is not None or check != "second_order"):
            raise CheckError(f"{self.name}.{check}: d{name} has shape {np.shape(by_hand)}, but {name} {value.shape}")
        rows = [(label, v, along(of, value, v)) for label, v in directions(value, self.rng, self.elements)]
        given, numeric = projected(0 if by_hand is None else by_hand, rows)
        return Comparison(check, name, None if by_hand is None else given, numeric, [label for label, _, _ in rows])

    def copy(self, dtype: Any) -> Any:
        """A copy of the layer with parameters in this dtype, and gradients at zero."""
        return self._own(copy.copy(self.original), dtype)

    def _own(self, layer: Any, dtype: Any) -> Any:
        for name in self.names:
            value = getattr(self.original, name).astype(dtype, order="K")
            setattr(layer, name, value)
            setattr(layer, "d" + name, np.zeros_like(value))
        return layer

    def gradients(self) -> dict[str, Array]:
        """A copy of every parameter's gradient."""
        return {name: np.copy(getattr(self.layer, "d" + name)) for name in self.names}

    def _forward(self, layer: Any, x: Array) -> tuple[Array, Any]:
        given = self._call(layer, "forward", x)
        if not isinstance(given, tuple) or len(given) != 2:
            raise CheckError(
                f"{self.name}.forward must return y and a cache, as a tuple of two; it returned {_kind(given)}"
            )
        y, cache = given
        if np.asarray(y).dtype in (np.float32, np.complex64):
            raise CheckError(
                f"{self.name}.forward gave {y.dtype} for an input of {x.dtype}; compute in the input's dtype"
            )
        if np.iscomplexobj(x) and not np.iscomplexobj(y):
            raise CheckError(
                f"{self.name}.forward gave {y.dtype} for a complex input, so it lost the imaginary part; "
                "compute in the input's dtype and compare real parts only (x.real > 0)"
            )
        return y, cache

    def _call(self, layer: Any, method: str, *arguments: Any) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", _COMPLEX_WARNING)
                return getattr(layer, method)(*arguments)
        except _COMPLEX_WARNING:
            raise CheckError(
                f"{self.name}.{method} writes complex numbers into a real array; allocate in the input's dtype"
            ) from None
        except ValueError as error:
            if "read-only" in str(error):
                raise CheckError(f"{self.name}.{method} writes into one of its arguments; it must not") from error
            raise


def _parameter_names(layer: Any) -> tuple[str, ...]:
    names = getattr(layer, "names", None)
    if names is None:
        names = [n for n, v in vars(layer).items() if isinstance(v, np.ndarray) and hasattr(layer, "d" + n)]
    for name in names:
        if not hasattr(layer, "d" + name):
            raise CheckError(f"{type(layer).__name__} has the parameter {name} but no d{name} for its gradient")
    return tuple(names)


def _kind(given: Any) -> str:
    return f"a tuple of {len(given)}" if isinstance(given, tuple) else f"one {type(given).__name__}"


def _locked(a: Array) -> Array:
    """a, read-only, so that a layer which writes into its argument is found out."""
    a = a.copy(order="K")
    a.flags.writeable = False
    return a


_COMPLEX_WARNING = getattr(np, "exceptions", np).ComplexWarning
