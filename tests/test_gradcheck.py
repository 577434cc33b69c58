"""The checks, checked: each planted mistake turns its own check red, and what cannot be checked is said in a sentence."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from gland import gradcheck, layers, ops
from gland.gradcheck import CheckError, LayerProof, central_difference, check_function, check_layer, check_parameters
from gland.networks import MultiLoss
from gland.networks.base import Objective

X = np.random.default_rng(0).standard_normal((2, 2, 5, 5))


def conv(kind=layers.Conv2d, **options):
    return kind(2, 3, 3, pad=1, rng=np.random.default_rng(1), dtype=float, **options)


class FlippedKernel(layers.Conv2d):
    def input_grad(self, dy, cache):
        return ops.conv_x(dy, self.w[:, :, ::-1, ::-1], self.geo, cache.x.shape[2:])


class PaddingOffByOne(layers.Conv2d):
    def backward(self, dy, cache):
        x = np.roll(cache.x, 1, axis=3)
        self.dw += ops.conv_w(x, dy, self.geo, self.kernel_size)
        self.db += ops.channel_sum(dy)
        return self.input_grad(dy, cache)


class MeanForSum(layers.Conv2d):
    def backward(self, dy, cache):
        self.dw += ops.conv_w(cache.x, dy, self.geo, self.kernel_size)
        self.db += dy.mean(axis=(0, 2, 3))
        return self.input_grad(dy, cache)


class Assigns(layers.Conv2d):
    def backward(self, dy, cache):
        self.dw = ops.conv_w(cache.x, dy, self.geo, self.kernel_size)
        self.db += ops.channel_sum(dy)
        return self.input_grad(dy, cache)


class NoMask(layers.ConvReLU):
    def input_grad(self, dy, cache):
        return layers.Conv2d.input_grad(self, dy, cache)


class TangentWithoutMask(layers.ConvReLU):
    def tangent(self, tx, cache):
        return layers.Conv2d.tangent(self, tx, cache)


class TangentWithBias(layers.Conv2d):
    def tangent(self, tx, cache):
        return ops.conv(tx, self.w, self.b + 1, self.geo)


class XForItsTangent(layers.Conv2d):
    def second_order(self, tx, dy, cache):
        self.dw += ops.conv_w(cache.x, dy, self.geo, self.kernel_size)


class TransposedWeight(layers.Conv2d):
    def input_grad(self, dy, cache):
        return ops.conv_x(dy, self.w.transpose(0, 1, 3, 2), self.geo, cache.x.shape[2:])


class StaleCache(layers.ConvReLU):
    def forward(self, x):
        y, cache = super().forward(x)
        self.first = getattr(self, "first", cache.x * 0 + 1)
        return y, cache._replace(x=self.first)


class NoCurvature(layers.Softmax):
    def second_order(self, tx, dy, cache):
        return None


class WrongSign(layers.LogSoftmax):
    def second_order(self, tx, dy, cache):
        return -super().second_order(tx, dy, cache)


class LastTie(layers.MaxPool2d):
    def input_grad(self, dy, cache):
        wrong = cache._replace(argmax=3 - cache.argmax)
        return super().input_grad(dy, wrong)


class MaskOfTheLastCall(layers.ConvReLU):
    def forward(self, x):
        self.y, cache = super().forward(x)
        return self.y, cache

    def input_grad(self, dy, cache):
        return super().input_grad(dy, cache._replace(y=self.y))


class InputGradAddsToTheBias(layers.Conv2d):
    def input_grad(self, dy, cache):
        self.db += ops.channel_sum(dy)
        return super().input_grad(dy, cache)


class OneBufferForAllOutputs(layers.ReLU):
    def forward(self, x):
        self.y = getattr(self, "y", np.zeros_like(x))
        self.y[...] = ops.relu(x)
        return self.y, self.Cache(self.y.copy())


class OneBufferForAllGradients(layers.ReLU):
    def input_grad(self, dy, cache):
        self.dx = getattr(self, "dx", np.zeros_like(dy))
        self.dx[...] = super().input_grad(dy, cache)
        return self.dx


class WritesIntoItsInput(layers.Softmax):
    def input_grad(self, dy, cache):
        dy.flags.writeable = True  # whoever does this is not stopped by a lock
        dx = super().input_grad(dy, cache)
        dy[...] = 0
        return dx


MISTAKES = [
    (conv(FlippedKernel), "input_grad"),
    (conv(TransposedWeight), "input_grad"),
    (conv(PaddingOffByOne), "backward"),
    (conv(MeanForSum), "backward"),
    (conv(Assigns), "gradients add"),
    (conv(NoMask), "input_grad"),
    (conv(TangentWithoutMask), "tangent"),
    (conv(TangentWithBias), "adjoint"),
    (conv(XForItsTangent), "second_order"),
    (conv(StaleCache), "backward"),
    (NoCurvature(), "second_order"),
    (WrongSign(), "second_order"),
    (LastTie(2), "input_grad"),
    (conv(MaskOfTheLastCall), "input_grad"),
    (conv(InputGradAddsToTheBias), "input_grad alone"),
    (OneBufferForAllOutputs(), "results kept"),
    (OneBufferForAllGradients(), "results kept"),
    (WritesIntoItsInput(), "arguments kept"),
]


@pytest.mark.parametrize(("layer", "check"), MISTAKES, ids=lambda v: type(v).__name__ if hasattr(v, "forward") else v)
def test_a_planted_mistake_turns_its_check_red(layer, check):
    report = check_layer(layer, X)
    assert check in {row.check for row in report.rows if not row.ok}
    assert not report.ok and "WRONG" in str(report)
    with pytest.raises(AssertionError, match="WRONG"):
        report.assert_ok()


def test_the_layers_without_the_mistakes_are_green():
    for layer in (conv(), conv(layers.ConvReLU), layers.Softmax(), layers.LogSoftmax(), layers.MaxPool2d(2)):
        check_layer(layer, X).assert_ok()


def test_a_report_names_the_worst_element_and_both_values():
    report = check_layer(conv(MeanForSum), X)
    row = next(r for r in report.rows if r.check == "backward" and r.name == "b")
    # of a sum over 2 x 5 x 5 elements the mean is a fiftieth
    assert row.numeric == pytest.approx(50 * row.by_hand)
    assert row.index in {"a direction", "(0,)", "(1,)", "(2,)"} and row.index in str(report)


def test_single_precision_is_held_against_double():
    class Coarse(layers.ReLU):
        def tangent(self, tx, cache):
            return super().tangent(tx, cache) * (1.001 if tx.dtype == np.float32 else 1)

    class Wide(layers.ReLU):
        def tangent(self, tx, cache):
            return super().tangent(tx, cache).astype(float) if tx.dtype == np.float32 else super().tangent(tx, cache)

    check_layer(conv(layers.ConvReLU), X, float32=True).assert_ok()
    check_layer(Coarse(), X).assert_ok()
    assert [(row.check, row.name) for row in check_layer(Coarse(), X, float32=True).rows if not row.ok] == [
        ("float32", "ty")
    ]
    with pytest.raises(CheckError, match="gave ty in float64 for an input in float32"):
        check_layer(Wide(), X, float32=True)


def test_every_element_array_against_array():
    proof = LayerProof(conv(), X, np.random.default_rng(0), elements=None)
    found = {(c.check, c.name): c for c in proof.comparisons()}
    for check, name, shape in (("input_grad", "x", X.shape), ("backward", "w", (3, 2, 3, 3)), ("backward", "b", (3,))):
        c = found[check, name]
        assert c.by_hand.shape == c.numeric.shape == shape and np.abs(c.by_hand - c.numeric).max() < 1e-12
    assert found["second_order", "x"].by_hand is None and not found["second_order", "x"].numeric.any()


def test_the_package_of_the_checker_knows_no_layer():
    for file in Path(gradcheck.__file__).parent.glob("*.py"):
        modules = re.findall(r"^\s*(?:from|import) (gland[\w.]*)", file.read_text(encoding="utf-8"), flags=re.M)
        assert all(m.startswith("gland.gradcheck") or m == "gland.tables" for m in modules), file


def test_nan_is_wrong():
    class Nan(layers.ReLU):
        def input_grad(self, dy, cache):
            return dy * np.nan

        backward = input_grad

    assert not check_layer(Nan(), X).ok


class Square:
    """A student's layer in NumPy alone, with a parameter, and without tangent: y = w x^2"""

    class Cache(NamedTuple):
        x: np.ndarray

    def __init__(self):
        self.w, self.dw = np.array([3.0]), np.zeros(1)

    def forward(self, x):
        return self.w * x**2, self.Cache(x)

    def input_grad(self, dy, cache):
        return 2 * self.w * cache.x * dy

    def backward(self, dy, cache):
        self.dw += (dy * cache.x**2).sum()
        return self.input_grad(dy, cache)


def test_a_students_layer_needs_no_base_class():
    layer = Square()
    report = check_layer(layer, np.arange(1.0, 7).reshape(2, 3))
    report.assert_ok()
    assert {row.name for row in report.rows} == {"x", "w", "dw", "y, dx", "x, dy, tx"}
    assert "no tangent" in str(report)
    assert layer.w == 3 and layer.dw == 0  # as it was


def test_what_cannot_be_checked_is_said_in_a_sentence():
    class Casts(Square):
        def forward(self, x):
            return (self.w * x**2).real, self.Cache(x)

    class Allocates(Square):
        def forward(self, x):
            y = np.empty(x.shape)
            y[...] = self.w * x**2
            return y, self.Cache(x)

    class Writes(Square):
        def input_grad(self, dy, cache):
            dy *= 2 * self.w * cache.x
            return dy

    class Lacks(Square):
        backward = None

    class Shapes(Square):
        def input_grad(self, dy, cache):
            return super().input_grad(dy, cache).T

    for layer, sentence in [
        (Casts(), "lost the imaginary part"),
        (Allocates(), "complex numbers into a real array"),
        (Writes(), "writes into one of its arguments"),
        (Lacks(), "no method backward"),
        (Shapes(), r"dx has shape \(3, 2\), but x \(2, 3\)"),
    ]:
        with pytest.raises(CheckError, match=sentence):
            check_layer(layer, np.arange(1.0, 7).reshape(2, 3))


def test_functions_by_complex_step_and_by_central_difference():
    x = np.array([0.5, -1.2, 2.0])
    check_function(lambda x: (x**3).sum(), lambda x: 3 * x**2, x).assert_ok()
    assert not check_function(lambda x: (x**3).sum(), lambda x: 3 * x, x).ok
    real = check_function(lambda x: np.abs(x).sum(), np.sign, x)  # abs of a complex number is not analytic
    real.assert_ok()
    assert not check_function(lambda x: float(np.abs(x).sum()), lambda x: -np.sign(x), x).ok


def test_a_kink_within_the_step_is_noticed_and_left_out():
    x = np.array([0.7, 3e-6])
    report = check_function(lambda x: float(np.maximum(x.real, 0).sum()), lambda x: (x > 0) * 1.0, x)
    assert [note.split(": a kink")[0] for note in report.notes] == ["(1,)"] and report.ok
    for x0, kink in [(0.0, True), (4e-6, True), (1e-3, False)]:
        _, found = central_difference(lambda x: float(np.abs(x).sum()), np.array([x0]), np.array([1.0]))
        assert found == kink
    _, found = central_difference(lambda x: float((x**2).sum()), np.array([0.3]), np.array([1.0]))
    assert not found


def test_check_parameters_finds_a_wrong_lambda():
    rng = np.random.default_rng(0)
    x, mask, label = rng.standard_normal((1, 3, 32, 32)), rng.random((1, 32, 32)) > 0.5, np.array([1])

    def loss_and_grad(lam):
        return lambda net: net.loss_and_grad(x.astype(net.flat.dtype), mask * 1.0, label, Objective(lam)).total

    check_parameters(loss_and_grad(0.3), MultiLoss("seg", width=1)).assert_ok()
    report = check_parameters(loss_and_grad(0.3), MultiLoss("joint", width=1, use_prior=False), loss_and_grad(0.4))
    assert not report.ok


class Bare:
    """The smallest layer: y = max(x, 0), by functions that are given."""

    def __init__(self, forward=None, input_grad=None):
        self.forward = forward or (lambda x: (x * (x.real > 0), x))
        self.input_grad = input_grad or (lambda dy, x: dy * (x > 0))
        self.backward = self.input_grad


THREE_LINES = np.random.default_rng(0).standard_normal((2, 3, 5, 5))  # the README's own x
SQUARE = {"forward": lambda x: (x * x, x)}
ACCEPTED_ONCE = {  # while dy was drawn from the stream that the README's x comes from, so that dy was x
    "max(dy, 0) for ReLU's gradient": Bare(input_grad=lambda dy, x: np.maximum(dy, 0)),
    "dy ignored": Bare(input_grad=lambda dy, x: np.maximum(x, 0)),
    "2 dy dy for the gradient of x**2": Bare(**SQUARE, input_grad=lambda dy, x: 2 * dy * dy),
    "2 x x for the gradient of x**2": Bare(**SQUARE, input_grad=lambda dy, x: 2 * x * x),
}


@pytest.mark.parametrize("name", ACCEPTED_ONCE)
def test_three_lines_reject_what_is_right_only_where_dy_is_x(name):
    assert not check_layer(ACCEPTED_ONCE[name], THREE_LINES).ok


def test_three_lines_accept_what_is_right():
    assert check_layer(Bare(), THREE_LINES).ok
    assert check_layer(Bare(**SQUARE, input_grad=lambda dy, x: 2 * dy * x), THREE_LINES).ok


STREAM = np.random.default_rng(1)


def drawn_anew(x):
    mask = STREAM.random(x.shape) > 0.5
    return x * mask, mask


@pytest.mark.parametrize(
    ("layer", "x", "said"),
    [
        (Bare(drawn_anew), X, "something else when it is called twice"),
        (Bare(lambda x: x * 2), X, "must return y and a cache"),
        (Bare(lambda x: (x, x, x)), X, "a tuple of 3"),
        (Bare(lambda x: (x.real.astype(np.float32), x)), X, "gave float32"),
        (Bare(), np.zeros((0, 3)), "x is empty"),
        (layers.ReLU, X, "ReLU is a class"),
    ],
    ids=["a new mask", "no cache", "three results", "single precision", "empty", "a class"],
)
def test_what_cannot_be_checked_is_one_sentence(layer, x, said):
    with pytest.raises(CheckError, match=said) as error:
        check_layer(layer, x)
    assert "\n" not in str(error.value)
