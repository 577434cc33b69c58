"""Local response normalisation: the formula as plain loops, every derivative, and mistakes that must be caught."""

import numpy as np
import pytest

from gland import ops
from gland.layers import LocalResponseNorm

STEP = 1e-30


def plain_lrn(x, n=5, alpha=1e-4, beta=0.75, k=2.0):
    """Krizhevsky et al. 2012, section 3.3, as it is printed: j from max(0, c - n/2) to min(C - 1, c + n/2)."""
    images, channels, height, width = x.shape
    y = np.zeros_like(x)
    for m in range(images):
        for c in range(channels):
            for i in range(height):
                for j in range(width):
                    near = range(max(0, c - n // 2), min(channels - 1, c + n // 2) + 1)
                    y[m, c, i, j] = x[m, c, i, j] / (k + alpha * sum(x[m, d, i, j] ** 2 for d in near)) ** beta
    return y


def strong(layer=LocalResponseNorm, n=5):
    """A layer whose normalisation matters: with the published alpha every derivative is nearly that of the identity."""
    return layer(n=n, alpha=0.3, beta=0.75, k=1.5)


def arrays(seed, shape=(2, 7, 3, 4)):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape) for _ in range(3)]


def relative(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


def tangent_error(layer, x, tx):
    """tangent against Im forward(x + i h tx) / h."""
    _, cache = layer.forward(x)
    step = layer.forward(x + 1j * STEP * tx)[0].imag / STEP
    return relative(layer.tangent(tx, cache), step)


def adjoint_error(layer, x, tx, dy):
    """<tangent(tx), dy> against <tx, input_grad(dy)>."""
    _, cache = layer.forward(x)
    a, b = (layer.tangent(tx, cache) * dy).sum(), (tx * layer.input_grad(dy, cache)).sum()
    return abs(a - b) / np.abs(layer.tangent(tx, cache) * dy).sum()


def second_order_error(layer, x, tx, dy):
    """Every element of d<tx, input_grad(dy)>/dx against complex step."""
    _, cache = layer.forward(x)
    numeric = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        moved = x.astype(complex)
        moved[index] += 1j * STEP
        _, moved_cache = layer.forward(moved)
        numeric[index] = (tx * layer.input_grad(dy, moved_cache)).sum().imag / STEP
    return relative(layer.second_order(tx, dy, cache), numeric)


@pytest.mark.parametrize("channels", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("n", [1, 3, 5])
def test_forward_is_the_papers_formula_in_plain_loops(channels, n):
    x, _, _ = arrays(0, (2, channels, 2, 3))
    y, _ = LocalResponseNorm(n=n, alpha=0.3).forward(x)
    np.testing.assert_allclose(y, plain_lrn(x, n, alpha=0.3), rtol=1e-12)


def test_defaults_are_the_published_constants():
    x = 20 * arrays(1)[0]
    np.testing.assert_allclose(LocalResponseNorm().forward(x)[0], plain_lrn(x), rtol=1e-12)


def test_a_worked_example():
    # two channels 3 and 4 at one pixel, n = 3: both windows hold both, s = 1 + 1 (9 + 16) = 26, beta = 1
    x = np.array([3.0, 4.0]).reshape(1, 2, 1, 1)
    y, _ = LocalResponseNorm(n=3, alpha=1, beta=1, k=1).forward(x)
    np.testing.assert_allclose(y.ravel(), [3 / 26, 4 / 26], rtol=1e-15)


def test_a_window_without_a_middle_is_refused():
    with pytest.raises(ValueError, match="odd"):
        LocalResponseNorm(n=4)


@pytest.mark.parametrize("channels, n", [(1, 5), (2, 5), (7, 3), (7, 5), (4, 1)])
def test_tangent_matches_complex_step(channels, n):
    x, tx, _ = arrays(2, (2, channels, 3, 2))
    assert tangent_error(strong(n=n), x, tx) < 1e-11


@pytest.mark.parametrize("channels, n", [(1, 5), (2, 5), (7, 3), (7, 5), (4, 1)])
def test_input_grad_is_the_adjoint_of_tangent(channels, n):
    assert adjoint_error(strong(n=n), *arrays(3, (2, channels, 3, 2))) < 1e-12


@pytest.mark.parametrize("channels, n", [(1, 5), (2, 5), (7, 3), (6, 5)])
def test_second_order_matches_complex_step(channels, n):
    assert second_order_error(strong(n=n), *arrays(4, (1, channels, 2, 2))) < 1e-11


def test_window_sum_is_its_own_adjoint():
    v, u, _ = arrays(5)
    a, b = (ops.channel_window_sum(v, 5) * u).sum(), (v * ops.channel_window_sum(u, 5)).sum()
    assert abs(a - b) < 1e-12 * np.abs(v).sum()


def test_backward_twice_gives_the_same_and_changes_no_argument():
    layer, (x, _, dy) = strong(), arrays(6)
    kept = x.copy(), dy.copy()
    _, cache = layer.forward(x)
    first, second = layer.backward(dy, cache), layer.backward(dy, cache)
    assert (first == second).all() and (x == kept[0]).all() and (dy == kept[1]).all()


def test_float32_in_float32_out():
    x, tx, dy = (a.astype(np.float32) for a in arrays(7))
    layer = strong()
    y, cache = layer.forward(x)
    results = y, layer.input_grad(dy, cache), layer.tangent(tx, cache), layer.second_order(tx, dy, cache)
    assert {a.dtype for a in results} == {np.dtype(np.float32)}


def test_pytorch_agrees_with_alpha_times_n():
    torch = pytest.importorskip("torch")
    x, _, dy = arrays(8)
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


def test_planted_mistake_in_forward_is_caught():
    x = arrays(9)[0]
    assert relative(strong(AlphaOverN).forward(x)[0], plain_lrn(x, alpha=0.3, k=1.5)) > 1e-3


@pytest.mark.parametrize("broken", [MissingFactorTwo, ExponentNotLowered])
def test_planted_mistakes_in_tangent_are_caught(broken):
    x, tx, _ = arrays(10)
    assert tangent_error(strong(broken), x, tx) > 1e-3


def test_planted_mistake_in_input_grad_is_caught():
    assert adjoint_error(strong(DiagonalGradient), *arrays(11)) > 1e-3


@pytest.mark.parametrize("broken", [NoCurvature, CurvatureOfScaleOnly])
def test_planted_mistakes_in_second_order_are_caught(broken):
    assert second_order_error(strong(broken), *arrays(12, (1, 6, 2, 2))) > 1e-3
