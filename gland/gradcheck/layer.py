"""Everything that a layer of the protocol promises, checked at one point."""

import warnings
from typing import Any

import numpy as np

from gland.gradcheck.numeric import ADJOINT, ANALYTIC, STEP, compare_along, directions
from gland.gradcheck.report import CheckError, Report, Row


def check_layer(layer: Any, x: np.ndarray, seed: int = 0) -> Report:
    """Everything a layer of the protocol (gland/layers/base.py) offers, at the point x, in float64.

    x: the input, any shape. Parameters are those that layer.names lists, or every array w that has a dw beside it.
    Checks input_grad, the gradients that backward adds, tangent and second_order by the complex step, the adjoint
    identity, that gradients add up, and that no argument is written into. Raises CheckError if a layer cannot be checked.
    """
    report = Report(type(layer).__name__)
    _Layer(layer, np.array(x, float, order="K"), np.random.default_rng(seed), report).check()
    return report


class _Layer:
    """The checks of one layer at one point."""

    def __init__(self, layer, x, rng, report):
        self.layer, self.x, self.rng, self.report = layer, x, rng, report
        self.name = type(layer).__name__
        for method in ("forward", "input_grad", "backward"):
            if not callable(getattr(layer, method, None)):
                raise CheckError(f"{self.name} has no method {method}; the layer protocol needs it")
        self.names = _parameter_names(layer)
        self.values = {n: np.array(getattr(layer, n), float, order="K") for n in self.names}

    def check(self):
        saved = {n: (getattr(self.layer, n), getattr(self.layer, "d" + n)) for n in self.names}
        try:
            self._restore(float)
            x = _locked(self.x)
            y, cache = self._forward(x)
            dy = _locked(self._like(y))
            self._input_grad(dy, cache)
            self._backward(dy, cache)
            if hasattr(self.layer, "tangent"):
                tx = _locked(self._like(self.x))
                self._tangent(tx, dy, cache)
                self._second_order(tx, dy, cache)
            else:
                self.report.notes.append("no tangent: neither it nor the adjoint identity was checked")
        finally:
            for n, (value, gradient) in saved.items():
                setattr(self.layer, n, value)
                setattr(self.layer, "d" + n, gradient)

    def _input_grad(self, dy, cache):
        dx = self._call("input_grad", dy, cache)
        rows = self._along(self.x, lambda v: (self._forward(self.x + 1j * STEP * v)[0] * dy).sum().imag / STEP)
        self._compare("input_grad", "x", dx, rows, ANALYTIC)

    def _backward(self, dy, cache):
        dx = self._call("backward", dy, cache)
        once = {n: getattr(self.layer, "d" + n).copy() for n in self.names}
        if dx is not None:
            self.report.add("backward = input_grad", "x", dx, self._call("input_grad", dy, cache), ADJOINT)
        self._call("backward", dy, cache)
        for n in self.names:
            self.report.add("gradients add", n, getattr(self.layer, "d" + n), 2 * once[n], ADJOINT)
        for n in self.names:
            rows = self._along(self.values[n], lambda v, n=n: self._with(n, v, lambda: self._loss(dy)))
            self._compare("backward", n, once[n], rows, ANALYTIC)

    def _tangent(self, tx, dy, cache):
        ty = self._call("tangent", tx, cache)
        numeric = self._forward(self.x + 1j * STEP * tx)[0].imag / STEP
        self.report.add("tangent", "y", ty, numeric, ANALYTIC)
        left, right = (ty * dy).sum(), (tx * self._call("input_grad", dy, cache)).sum()
        size = np.sqrt((ty * ty).sum() * (dy * dy).sum()) or 1.0
        self.report.rows.append(Row("adjoint", "tangent", "", left, right, abs(left - right) / size, ADJOINT))

    def _second_order(self, tx, dy, cache):
        """s = <tx, input_grad(dy)> as a function of x and of every parameter."""
        if not hasattr(self.layer, "second_order"):
            self.report.notes.append("no second_order: it was not checked")
            return
        self._restore(float)
        dx = self._call("second_order", tx, dy, cache)
        by_hand = {n: getattr(self.layer, "d" + n).copy() for n in self.names}

        def s(x):
            _, cache = self._forward(x)
            return (self._call("input_grad", dy.astype(complex), cache) * tx).sum().imag / STEP

        rows = self._along(self.x, lambda v: s(self.x + 1j * STEP * v))
        self._compare("second_order", "x", np.zeros_like(self.x) if dx is None else dx, rows, ANALYTIC)
        for n in self.names:
            rows = self._along(self.values[n], lambda v, n=n: self._with(n, v, lambda: s(self.x.astype(complex))))
            self._compare("second_order", n, by_hand[n], rows, ANALYTIC)

    def _loss(self, dy):
        return (self._forward(self.x.astype(complex))[0] * dy).sum().imag / STEP

    def _with(self, name, v, value):
        """value() with parameter `name` moved along i v."""
        self._restore(complex)
        setattr(self.layer, name, self.values[name] + 1j * STEP * v)
        try:
            return value()
        finally:
            self._restore(float)

    def _restore(self, dtype):
        for n, value in self.values.items():
            setattr(self.layer, n, value.astype(dtype))
            setattr(self.layer, "d" + n, np.zeros_like(value, dtype))

    def _forward(self, x):
        y, cache = self._call("forward", x)
        if np.iscomplexobj(x) and not np.iscomplexobj(y):
            raise CheckError(
                f"{self.name}.forward gave {y.dtype} for a complex input, so it lost the imaginary part; "
                "compute in the input's dtype and compare real parts only (x.real > 0)"
            )
        return y, cache

    def _call(self, method, *arguments):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", _COMPLEX_WARNING)
                return getattr(self.layer, method)(*arguments)
        except _COMPLEX_WARNING:
            raise CheckError(
                f"{self.name}.{method} writes complex numbers into a real array; allocate in the input's dtype"
            ) from None
        except ValueError as error:
            if "read-only" in str(error):
                raise CheckError(f"{self.name}.{method} writes into one of its arguments; it must not") from error
            raise

    def _like(self, a):
        return self.rng.standard_normal(a.shape)

    def _along(self, a, derivative):
        return [(name, v, derivative(v)) for name, v in directions(a, self.rng)]

    def _compare(self, check, name, gradient, rows, tolerance):
        expected = self.x if name == "x" else self.values[name]
        if np.shape(gradient) != expected.shape:
            raise CheckError(
                f"{self.name}.{check}: d{name} has shape {np.shape(gradient)}, but {name} {expected.shape}"
            )
        compare_along(self.report, check, name, gradient, rows, tolerance)


def _parameter_names(layer: Any) -> tuple[str, ...]:
    names = getattr(layer, "names", None)
    if names is None:
        names = [n for n, v in vars(layer).items() if isinstance(v, np.ndarray) and hasattr(layer, "d" + n)]
    for name in names:
        if not hasattr(layer, "d" + name):
            raise CheckError(f"{type(layer).__name__} has the parameter {name} but no d{name} for its gradient")
    return tuple(names)


def _locked(a: np.ndarray) -> np.ndarray:
    """a, read-only, so that a layer which writes into its argument is found out."""
    a = a.copy(order="K")
    a.flags.writeable = False
    return a


_COMPLEX_WARNING = getattr(np, "exceptions", np).ComplexWarning
