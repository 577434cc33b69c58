"""Winograd's convolution against the direct one in float64: values, adjoints, rounding, switching off, the same bits."""

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from places import on_threads

from gland import ops
from gland.networks.base import Objective
from gland.networks.multiloss import MultiLoss
from gland.ops import plain
from gland.ops.host import winograd
from gland.ops.layout import hwio, nchw, nhwc, oihw

PADDED = ops.Geometry(1, 1)
ROUNDING = 2e-5  # of the largest element; a direct float32 convolution of these sizes stays below 2e-6


def arrays(seed, n, c, o, h, w, pad):
    rng = np.random.default_rng(seed)
    x, b = rng.standard_normal((n, h, w, c)).astype(np.float32), rng.standard_normal(o).astype(np.float32)
    dy = rng.standard_normal((n, h + 2 * pad - 2, w + 2 * pad - 2, o)).astype(np.float32)
    return x, rng.standard_normal((3, 3, c, o)).astype(np.float32), b, dy


def worst(got, expected):
    return np.abs(got - expected).max() / np.abs(expected).max()


channels, sides = st.integers(1, 4), st.integers(3, 11)
shapes = st.tuples(st.integers(0, 99), st.integers(1, 2), channels, channels, sides, sides, st.integers(0, 2))


@given(shapes)
def test_forward_agrees_with_plain_loops(shape):
    x, w, b, _ = arrays(*shape)
    y = nchw(winograd.convolve(x, w, b, shape[-1], relu=False))
    expected = plain.conv(nchw(x).astype(float), oihw(w).astype(float), b.astype(float), ops.Geometry(1, shape[-1]))
    assert y.dtype == np.float32
    assert worst(y, expected) < ROUNDING


@given(shapes)
def test_the_weight_gradient_is_the_adjoint(shape):  # <conv(x, v), dy> = <v, weight_grad(x, dy)> for every v
    x, v, _, dy = arrays(*shape)
    dw = winograd.weight_grad(x, dy, shape[-1])[0].astype(float)
    moved = plain.conv(nchw(x).astype(float), oihw(v).astype(float), None, ops.Geometry(1, shape[-1]))
    products = moved * nchw(dy).astype(float)
    assert abs(products.sum() - (v * dw).sum()) < ROUNDING * np.abs(products).sum()


def test_relu_is_the_maximum_with_zero():
    x, w, b, _ = arrays(0, 2, 3, 4, 9, 10, 1)
    y = winograd.convolve(x, w, b, 1, relu=False)
    assert np.array_equal(winograd.convolve(x, w, b, 1, relu=True), np.maximum(y, 0))


@pytest.mark.parametrize("size", [(1, 224, 224), (1, 30, 250), (5, 17, 33), (9, 28, 28), (1, 512, 8)])
def test_strips_of_rows_and_of_whole_images_meet_without_a_seam(size):
    n, h, w = size
    x, k, b, dy = arrays(1, n, 6, 5, h, w, 1)
    y, dw = winograd.convolve(x, k, b, 1, relu=False), winograd.weight_grad(x, dy, 1)[0]
    x, k, b, dy = (a.astype(float) for a in (x, k, b, dy))
    assert worst(y, nhwc(ops.conv(nchw(x), oihw(k), b, PADDED))) < ROUNDING
    assert worst(dw, hwio(ops.conv_w(nchw(x), nchw(dy), PADDED, (3, 3)))) < ROUNDING


@pytest.mark.parametrize("size", [(1, 45, 60), (1, 16, 24), (3, 28, 30)])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_mask_of_a_rectifier_and_the_bias_gradient(size, count):  # 16 rows: threads share output channels
    n, h, w = size
    x, k, b, dy = arrays(4, n, 5, 96, h, w, 1)
    with on_threads(count):
        y = winograd.convolve(x, k, b, 1, relu=True)
        kept = np.where(y > 0, dy, 0).astype(float)
        dw, db = winograd.weight_grad(x, dy, 1, y)
        dx = winograd.convolve(dy, k.swapaxes(2, 3)[::-1, ::-1], None, 1, False, y)
    assert worst(dw, hwio(ops.conv_w(nchw(x.astype(float)), nchw(kept), PADDED, (3, 3)))) < ROUNDING
    assert worst(db, kept.sum(axis=(0, 1, 2))) < ROUNDING
    assert worst(dx, nhwc(ops.conv_x(nchw(kept), oihw(k.astype(float)), PADDED, (h, w)))) < ROUNDING


def changed(place, change):
    def wrong(matrix):
        matrix = matrix.copy()
        matrix[place] += change
        return matrix

    return wrong


def without_the_row_above(fill):
    def wrong(self, thread, i, bt):
        strip = copy.copy(self)
        strip.x = self.x.copy()
        strip.x[:, : self.place(i)[1].start] = 0  # it needs the last of these
        return fill(strip, thread, i, bt)

    return wrong


MEETS = test_strips_of_rows_and_of_whole_images_meet_without_a_seam, (1, 30, 250)
MASKS = test_the_mask_of_a_rectifier_and_the_bias_gradient, (1, 45, 60), 2
MISTAKES = {  # where it is planted, what it makes of what stands there, and the check that must notice it
    "a mask is shifted": (
        winograd, "weight_grad", lambda right: lambda x, dy, pad, y: right(x, dy, pad, np.roll(y, 1, axis=1)), MASKS,
    ),
    "a number of BT": (winograd, "BT", changed((1, 2), 1), MEETS),
    "a number of G": (winograd, "G", changed((2, 1), 1 / 24), MEETS),
    "a number of AT": (winograd, "AT1", changed((3, 4), 1), MEETS),
    "another number of AT": (winograd, "AT1", changed((2, 6), 1), MEETS),
    "a forgotten halo row": (winograd.Tiles, "fill", without_the_row_above, (MEETS[0], (1, 224, 224))),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_caught(mistake, monkeypatch):
    owner, name, wrong, (check, *arguments) = MISTAKES[mistake]
    monkeypatch.setattr(owner, name, wrong(getattr(owner, name)))
    with pytest.raises(AssertionError):
        check(*arguments)


def joint_gradient(dtype, seed=0):
    net = MultiLoss(width=4, seed=1, dtype=dtype)
    rng = np.random.default_rng(seed)
    x, mask = rng.standard_normal((1, 3, 96, 96)).astype(dtype), (rng.random((1, 96, 96)) > 0.5).astype(dtype)
    net.loss_and_grad(x, mask, np.array([1]), Objective(prior_gradient="exact"))
    return {name: layer.dw for name, layer in net.layers.items()}


def test_a_whole_float32_step_stays_near_float64():
    # a near-tie may flip a pool's winner, so the gradient as a whole is bounded, not each element
    single, double = joint_gradient(np.float32), joint_gradient(np.float64)
    error = {name: np.linalg.norm(single[name] - double[name]) / np.linalg.norm(double[name]) for name in double}
    assert max(error.values()) < 1e-2
    assert np.median(list(error.values())) < 1e-4


def test_switched_off_nothing_comes_here(monkeypatch):
    monkeypatch.setattr(winograd, "convolve", None)
    x, w, b, _ = arrays(0, 1, 3, 4, 32, 32, 1)
    with pytest.raises(TypeError):  # on, it is called: so the next line says something
        ops.conv(nchw(x), oihw(w), b, PADDED)
    winograd.enable(False)
    try:
        ops.conv(nchw(x), oihw(w), b, PADDED)
    finally:
        winograd.enable(True)


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_double_precision_takes_the_direct_way(dtype, monkeypatch):
    monkeypatch.setattr(winograd, "convolve", None)
    x, w, b, _ = arrays(0, 1, 3, 4, 32, 32, 1)
    assert ops.conv(nchw(x.astype(dtype)), oihw(w.astype(dtype)), b.astype(dtype), PADDED).dtype == dtype


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_same_bits_every_time_for_a_fixed_number_of_threads(count):
    x, w, b, dy = arrays(2, 3, 7, 5, 40, 31, 1)
    with on_threads(count):
        first, again = ((winograd.convolve(x, w, b, 1, True), winograd.weight_grad(x, dy, 1)[0]) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_what_memory_held_before_does_not_matter(monkeypatch):
    # 33 rows of tiles on two threads: the second thread's only strip is shorter than the room that it has
    x, w, b, dy = arrays(3, 1, 3, 6, 130, 250, 1)
    with on_threads(2):
        expected = winograd.convolve(x, w, b, 1, True), winograd.weight_grad(x, dy, 1)[0]
        monkeypatch.setattr(winograd.arena, "empty", lambda shape, dtype: np.full(shape, np.nan, dtype))
        got = winograd.convolve(x, w, b, 1, True), winograd.weight_grad(x, dy, 1)[0]
    assert all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True))
