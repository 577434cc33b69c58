"""Local response normalisation: the formula in 50 digits, every derivative, and mistakes that must be caught."""

import numpy as np
import pytest

from gland import ops
from gland.audit.plain import decimals, local_response_norm
from gland.gradcheck import check_layer
from gland.layers import LocalResponseNorm


def plain_lrn(x, n=5, alpha=1e-4, beta=0.75, k=2.0):
    """Krizhevsky et al. 2012, section 3.3, as it is printed: j from max(0, c - n/2) to min(C - 1, c + n/2)."""
    return local_response_norm(decimals(x), n, alpha, beta, k).astype(float)


def strong(layer=LocalResponseNorm, n=5):
    """A layer whose normalisation matters: with the published alpha every derivative is nearly that of the identity."""
    return layer(n=n, alpha=0.3, beta=0.75, k=1.5)


def numbers(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("channels", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("n", [1, 3, 5])
def test_forward_is_the_papers_formula(channels, n):
    x = numbers(0, 2, channels, 2, 3)
    y, _ = LocalResponseNorm(n=n, alpha=0.3).forward(x)
    np.testing.assert_allclose(y, plain_lrn(x, n, alpha=0.3), rtol=1e-12)


def test_defaults_are_the_published_constants():
    x = 20 * numbers(1, 2, 7, 3, 4)
    np.testing.assert_allclose(LocalResponseNorm().forward(x)[0], plain_lrn(x), rtol=1e-12)


def test_a_worked_example():
    # two channels 3 and 4 at one pixel, n = 3: both windows hold both, s = 1 + 1 (9 + 16) = 26, beta = 1
    x = np.array([3.0, 4.0]).reshape(1, 2, 1, 1)
    for y in (LocalResponseNorm(n=3, alpha=1, beta=1, k=1).forward(x)[0], plain_lrn(x, 3, 1, 1, 1)):
        np.testing.assert_allclose(y.ravel(), [3 / 26, 4 / 26], rtol=1e-15)


def test_a_window_without_a_middle_is_refused():
    with pytest.raises(ValueError, match="odd"):
        LocalResponseNorm(n=4)


@pytest.mark.parametrize("channels, n", [(1, 5), (2, 5), (4, 1), (6, 5), (7, 3), (7, 5)])
def test_every_derivative_at_every_element(channels, n):
    report = check_layer(strong(n=n), numbers(2, 2, channels, 3, 2), elements=100, float32=True)
    report.assert_ok()
    assert max(row.error for row in report.rows if row.check != "float32") <= 1e-11


def test_window_sum_is_its_own_adjoint():
    v, u = numbers(5, 2, 7, 3, 4), numbers(6, 2, 7, 3, 4)
    a, b = (ops.channel_window_sum(v, 5) * u).sum(), (v * ops.channel_window_sum(u, 5)).sum()
    assert abs(a - b) < 1e-12 * np.abs(v).sum()


def test_pytorch_agrees_with_alpha_times_n():
    torch = pytest.importorskip("torch")
    x, dy = numbers(8, 2, 7, 3, 4), numbers(9, 2, 7, 3, 4)
    t = torch.tensor(x, requires_grad=True)
    y = torch.nn.LocalResponseNorm(5, alpha=5 * 0.3, beta=0.75, k=1.5)(t)
    y.backward(torch.tensor(dy))
    ours, cache = strong().forward(x)
    np.testing.assert_allclose(ours, y.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(strong().input_grad(dy, cache), t.grad.numpy(), rtol=1e-10)


class AlphaOverN(LocalResponseNorm):
    """Caffe's alpha where the paper's was asked for."""

    def _window(self, v):
        return super()._window(v) / self.n


class DiagonalGradient(LocalResponseNorm):
    """Each channel's own term only: the neighbours' share forgotten."""

    def input_grad(self, dy, cache):
        x, s = cache
        return dy * s**-self.beta - 2 * self.alpha * self.beta * x * dy * x * s ** (-self.beta - 1)


class MissingFactorTwo(LocalResponseNorm):
    """The derivative of x^2 taken as x."""

    def tangent(self, tx, cache):
        x, s = cache
        return tx * s**-self.beta - self.alpha * self.beta * x * s ** (-self.beta - 1) * self._window(x * tx)


class ExponentNotLowered(LocalResponseNorm):
    """s^-beta where its derivative has s^(-beta-1)."""

    def tangent(self, tx, cache):
        x, s = cache
        return s**-self.beta * (tx - 2 * self.alpha * self.beta * x * self._window(x * tx))


class NoCurvature(LocalResponseNorm):
    """Treated as piecewise linear."""

    def second_order(self, tx, dy, cache):
        return tx * 0


class CurvatureOfScaleOnly(LocalResponseNorm):
    """x's second way in, through p = W(x tx), forgotten."""

    def second_order(self, tx, dy, cache):
        x, s = cache
        forgotten = tx * self._window(dy * x * s ** (-self.beta - 1))
        return super().second_order(tx, dy, cache) + 2 * self.alpha * self.beta * forgotten


def test_a_planted_mistake_in_forward_is_caught():
    x = numbers(9, 2, 7, 3, 4)
    expected = plain_lrn(x, alpha=0.3, k=1.5)
    assert np.abs(strong(AlphaOverN).forward(x)[0] - expected).max() > 1e-3 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (DiagonalGradient, "input_grad"),
        (DiagonalGradient, "adjoint"),
        (MissingFactorTwo, "tangent"),
        (ExponentNotLowered, "tangent"),
        (NoCurvature, "second_order"),
        (CurvatureOfScaleOnly, "second_order"),
    ],
)
def test_a_planted_mistake_in_a_derivative_is_caught(broken, check):
    report = check_layer(strong(broken), numbers(12, 1, 6, 2, 2))
    assert max(row.error for row in report.rows if row.check == check) > 1e-3
