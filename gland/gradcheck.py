"""Is a derivative written by hand right? Checks for layers, functions and whole networks, also for layers of your own.

    from gland.gradcheck import check_layer
    report = check_layer(MyLayer(), np.random.default_rng(0).standard_normal((2, 3, 5, 5)))
    print(report)

The complex step (Squire and Trapp 1998):  f(x + ih) = f(x) + ih f'(x) - h^2 f''(x)/2 ..., so Im f(x + ih) / h is f'(x)
with an error of h^2 and, unlike a difference, no cancellation: at h = 1e-30 it is exact to rounding. It needs code that
computes with complex numbers where it is given them; comparisons (ReLU, max) look at real parts. Functions that are not
analytic take `central_difference`, which notices when a kink lies between its two points.

The adjoint identity needs no step at all:  <tangent(tx), dy> = <tx, input_grad(dy)>  for every tx and dy.
"""

import warnings
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from gland.report import aligned

STEP = 1e-30
ANALYTIC, ADJOINT = 1e-11, 1e-12
ELEMENTS = 12  # single elements checked of a tensor, besides one random direction through all of it


class CheckError(ValueError):
    """The layer cannot be checked; the message says what it has to do for that."""


class Row(NamedTuple):
    """One comparison: its worst element, both values there, and the error relative to the tensor's largest value."""

    check: str
    name: str
    index: str
    by_hand: float
    numeric: float
    error: float
    tolerance: float

    @property
    def ok(self) -> bool:
        return self.error <= self.tolerance  # False for nan


class Report:
    """The rows of all checks, and notes on what was left out. str() is a table."""

    def __init__(self, subject: str) -> None:
        self.subject, self.rows, self.notes = subject, [], []

    @property
    def ok(self) -> bool:
        return bool(self.rows) and all(row.ok for row in self.rows)

    @property
    def worst(self) -> float:
        return max((row.error for row in self.rows), default=0.0)

    def add(self, check: str, name: str, by_hand: Any, numeric: Any, tolerance: float, where: Any = None) -> None:
        """Compare two arrays of one shape; where: for each element, what to call it (default: its index)."""
        by_hand, numeric = np.asarray(by_hand), np.asarray(numeric)
        if by_hand.shape != numeric.shape:
            raise CheckError(f"{self.subject}: {check} of {name} has shape {by_hand.shape}; it must be {numeric.shape}")
        if not by_hand.size:
            return
        scale = max(np.abs(by_hand).max(), np.abs(numeric).max())
        error = np.abs(by_hand - numeric) / (scale if scale > 0 else 1)
        flat = int(np.argmax(np.where(np.isfinite(error), error, np.inf)))
        index = where[flat] if where is not None else str(tuple(int(i) for i in np.unravel_index(flat, error.shape)))
        values = (float(np.real(a.reshape(-1)[flat])) for a in (by_hand, numeric))
        self.rows.append(Row(check, name, index, *values, float(error.reshape(-1)[flat]), tolerance))

    def assert_ok(self) -> None:
        """Raise AssertionError with the table if a check failed."""
        if not self.ok:
            raise AssertionError(f"\n{self}")

    def __str__(self) -> str:
        cells = [
            [row.check, row.name, row.index, f"{row.by_hand:.10g}", f"{row.numeric:.10g}", f"{row.error:.1e}",
             f"{row.tolerance:.0e}", "ok" if row.ok else "WRONG"]
            for row in self.rows
        ]  # fmt: skip
        header = ["check", "of", "worst at", "by hand", "numeric", "error", "allowed", ""]
        return "\n".join([f"{self.subject}: {'ok' if self.ok else 'WRONG'}", aligned(header, cells), *self.notes])


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


def check_function(
    f: Callable[[np.ndarray], Any], grad: Callable[[np.ndarray], np.ndarray], x: np.ndarray, seed: int = 0
) -> Report:
    """grad(x) against the derivative of the scalar f at x: by the complex step if f computes with complex numbers,
    else by central differences, where elements with a kink nearby are left out and named in the notes."""
    report, rng = Report(getattr(f, "__name__", "function")), np.random.default_rng(seed)
    gradient, x = grad(x), np.asarray(x, float)
    if np.iscomplexobj(f(x + 0j)):
        rows = [(name, v, np.imag(f(x + 1j * STEP * v)) / STEP) for name, v in directions(x, rng)]
        compare_along(report, "complex step", "x", gradient, rows, ANALYTIC)
        return report
    rows = []
    for name, v in directions(x, rng):
        value, kink = central_difference(f, x, v)
        if kink:
            report.notes.append(f"{name}: a kink or a tie lies within the step, so it was not compared")
        else:
            rows.append((name, v, value))
    if rows:
        compare_along(report, "central difference", "x", gradient, rows, 1e-6)
    return report


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


def check_parameters(
    loss_and_grad: Callable[[Any], Any],
    network: Any,
    loss: Callable[[Any], Any] | None = None,
    elements: int = 2,
    seed: int = 0,
) -> Report:
    """The gradient of a scalar over every parameter tensor of a network (gland/networks/base.py) in float64.

    loss_and_grad(network) returns the loss and adds its gradients; loss(network), the same without the gradients, is
    what is differentiated numerically (default: the same function). The network comes back in float64.
    """
    report, rng = Report(type(network).__name__), np.random.default_rng(seed)
    loss = loss or loss_and_grad
    network.flatten(np.float64)
    network.zero_grad()
    loss_and_grad(network)
    by_hand = {name: gradient.copy() for name, gradient in network.gradients().items()}
    network.flatten(np.complex128)
    for name, parameter in network.parameters().items():
        value, rows = parameter.copy(), []
        for label, v in directions(value, rng, elements):
            parameter[...] = value + 1j * STEP * v
            rows.append((label, v, np.imag(loss(network)) / STEP))
        parameter[...] = value
        compare_along(report, "complex step", name, by_hand[name], rows, ANALYTIC)
    network.flatten(np.float64)
    return report


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
