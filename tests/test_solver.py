"""Caffe's update, Adam's and Muon's, drawn by hand; the schedules; clipping."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gland import ops
from gland.networks import AlexNet, MultiLoss, UNet
from gland.networks.base import Matrix
from gland.training.solver import SGD, SOLVERS, Adam, Muon, clip_factor, learning_rate, orthogonal


class Flat:
    """The two buffers of a network and where the kernels lie in them, which is all that the solver sees."""

    def __init__(self, w, dw, *shapes):
        self.flat, self.flat_grad, self.matrices, start = np.array(w), np.array(dw), [], 0
        for shape in shapes:
            self.matrices.append(Matrix(*shape, start))
            start += shape[0] * shape[1]


def test_two_steps_with_momentum_and_decay_by_hand():
    net = Flat([1.0], [2.0])
    solver = SGD(net, momentum=0.5, decay=0.1)
    solver.step(0.1)  # V = 0.1 (2 + 0.1 * 1) = 0.21, W = 0.79
    assert net.flat == pytest.approx([0.79], abs=1e-15)
    net.flat_grad[:] = -1.0
    solver.step(0.2)  # V = 0.5 * 0.21 + 0.2 (-1 + 0.079) = -0.0792, W = 0.8692
    assert net.flat == pytest.approx([0.8692], abs=1e-15)


def test_adam_is_the_published_algorithm():
    rng = np.random.default_rng(0)
    net = Flat(rng.standard_normal(50), np.zeros(50))
    solver, w, m, s = Adam(net, momentum=0.8), net.flat.copy(), 0, 0
    for t in range(1, 6):  # Algorithm 1 of Kingma and Ba (2015), with its own bias corrections and epsilon
        net.flat_grad[:] = g = rng.standard_normal(50)
        m, s = 0.8 * m + 0.2 * g, 0.999 * s + 0.001 * g * g
        w -= 0.1 * (m / (1 - 0.8**t)) / (np.sqrt(s / (1 - 0.999**t)) + 1e-8)
        solver.step(solver.rate_at(t - 1, 0.1))
        assert net.flat == pytest.approx(w, abs=1e-5)  # epsilon stands before the correction there, after it here


def test_adams_decay_is_kept_out_of_its_moments():
    net = Flat([1.0, -2.0], [0.0, 0.0])
    solver = Adam(net, decay=0.5)
    solver.step(0.1)
    assert net.flat == pytest.approx([0.95, -1.9]) and not solver.mean.any() and not solver.square.any()


def turned(g):
    """What five turns make of g, by its singular values."""
    u, s, v = np.linalg.svd(g, full_matrices=False)
    s = s / np.sqrt((s**2).sum())
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return u * s @ v


@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 99))
def test_orthogonal_is_the_published_polynomial_of_the_singular_values(rows, columns, seed):
    g = np.random.default_rng(seed).standard_normal((rows, columns)) * 10.0 ** (seed % 7 - 3)
    assert orthogonal(g) == pytest.approx(turned(g), abs=1e-9)
    single = orthogonal(g.astype(np.float32))
    assert single.dtype == np.float32 and single == pytest.approx(turned(g), abs=2e-3)


def test_orthogonal_brings_singular_values_near_one_and_leaves_nothing_nothing():
    u, v = (np.linalg.qr(np.random.default_rng(i).standard_normal((9, 9)))[0] for i in (0, 1))
    s = np.linalg.svd(orthogonal(u * np.geomspace(1, 0.015, 9) @ v))[1]
    assert 0.68 < s.min() and s.max() < 1.14
    for faint in (0, 1e-16, 1e-22):
        assert not orthogonal(np.full((4, 3), faint, np.float32)).any()


@pytest.mark.parametrize("clip", [None, 1.0])
def test_muon_moves_kernels_along_the_orthogonal_gradient_and_the_rest_as_adam(clip):
    rng, shapes = np.random.default_rng(0), [(6, 4), (3, 5), (2, 2)]
    sizes = [m * n for m, n in shapes]
    net = Flat(rng.standard_normal(sum(sizes) + 7), np.zeros(sum(sizes) + 7), *shapes)
    solver, w, v, m, s = Muon(net, 0.9, 0.05, clip), net.flat.copy(), 0, 0, 0
    for rate in (0.1, 0.3, 0.2):
        net.flat_grad[:] = dw = rng.standard_normal(net.flat.size)
        dw = dw * (1 if clip is None else min(1, clip / np.sqrt((dw**2).sum())))
        v = 0.9 * v + dw
        ahead, start, move = 0.9 * v + dw, 0, []
        for shape, size in zip(shapes, sizes, strict=True):
            g = ahead[start : start + size].reshape(shape)
            move.append((0.2 * np.sqrt(max(shape)) * turned(g)).ravel())
            start += size
        m, s = 0.9 * m + 0.1 * dw[start:], 0.9 * s + 0.1 * dw[start:] ** 2
        move.append(m / (np.sqrt(s) + 1e-8))
        w -= rate * (np.concatenate(move) + 0.05 * w)
        solver.step(rate)
        assert net.flat == pytest.approx(w, abs=1e-9)


MISTAKES = {  # the check that must notice it, where it is planted, and what it makes of what stands there
    "Adam's betas exchanged": (
        test_adam_is_the_published_algorithm, ops, "adam_update",
        lambda right: lambda *a: right(*a[:5], a[5][::-1], *a[6:]),
    ),
    "a wrong coefficient": (
        lambda: test_orthogonal_is_the_published_polynomial_of_the_singular_values.hypothesis.inner_test(5, 4, 0),
        orthogonal, "__defaults__", lambda right: ((3.4445, -4.776, 2.0315),),
    ),
    "Muon without Nesterov's look ahead": (
        lambda: test_muon_moves_kernels_along_the_orthogonal_gradient_and_the_rest_as_adam(None), ops, "nesterov",
        lambda right: lambda dw, v, *rest: (right(dw, v, *rest), v.copy())[1],
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_noticed(mistake, monkeypatch):
    check, owner, name, wrong = MISTAKES[mistake]
    monkeypatch.setattr(owner, name, wrong(getattr(owner, name)))
    with pytest.raises(AssertionError):
        check()


def grown(decay):
    """The largest spectral norm of a kernel after 200 steps along one gradient, which draws it as far as any can."""
    rng, shape = np.random.default_rng(1), (18, 6)
    net = Flat(rng.standard_normal(18 * 6 + 1), rng.standard_normal(18 * 6 + 1), shape)  # the last is Adam's
    solver = Muon(net, 0.95, decay)
    for _ in range(200):
        solver.step(0.1)
    return np.linalg.norm(net.flat[:-1].reshape(shape), 2)


def test_weight_decay_bounds_every_kernel_that_muon_moves():
    bound = 0.25 * 18**0.5 / 0.5
    assert bound / 2 < grown(0.5) < bound < grown(0.0)


@pytest.mark.parametrize("network", [MultiLoss("joint", 2), MultiLoss("class", 2), UNet(2), AlexNet(6)])
def test_the_kernels_are_the_weights_of_hidden_convolutions_and_lie_first(network):
    expected = [p for path, p in network.parameters().items() if p.ndim == 4 and not path.endswith("score.w")]
    assert len(network.matrices) == len(expected) > 4
    assert [m.start for m in network.matrices] == [0, *np.cumsum([w.size for w in expected])][:-1]
    for kernel, w in zip(network.matrices, expected, strict=True):
        matrix = kernel.of(network.flat)
        assert np.shares_memory(matrix, w)
        for column, of_w in zip(matrix.T, w, strict=True):  # a column for each of the first axis
            assert np.array_equal(np.sort(column, axis=None), np.sort(of_w, axis=None))


@pytest.mark.parametrize("solver", SOLVERS.values())
def test_a_solvers_state_is_what_it_works_with(solver):
    one, two = (Flat([1.0, 2.0, 4.0], [0.5, -3.0, 1.0], (2, 1)) for _ in range(2))
    a, b = solver(one), solver(two)
    a.step(0.1)
    two.flat[:] = one.flat
    for name, values in b.state.items():
        values[...] = a.state[name]
    one.flat_grad[:] = two.flat_grad[:] = 1.0
    a.step(0.1), b.step(0.1)
    assert np.array_equal(one.flat, two.flat)


def test_a_change_of_rate_leaves_the_velocity_alone():
    # Caffe's form: with no new gradient a step repeats momentum * velocity, whatever the rate
    net = Flat([0.0], [1.0])
    solver = SGD(net, momentum=0.9)
    solver.step(1.0)
    net.flat_grad[:] = 0
    solver.step(1e-6)
    assert net.flat == pytest.approx([-1.9], abs=1e-12)


def test_clipping_scales_a_long_gradient_to_the_limit_and_leaves_a_short_one():
    assert np.array([3.0, 4.0]) * clip_factor(np.array([3.0, 4.0]), 1.0) == pytest.approx([0.6, 0.8])
    assert clip_factor(np.array([0.3, 0.4]), 1.0) == 1
    assert clip_factor(np.zeros(3), 1.0) == 1


def test_adam_and_plain_descent_clip():
    for dw, clip in (([30.0, 40.0], 0.5), ([0.3, 0.4], None)):
        adam = Adam(Flat([0.0, 0.0], dw), clip=clip)
        adam.step(0.1)
        assert adam.mean == pytest.approx([0.03, 0.04])
    net = Flat([0.0, 0.0], [30.0, 40.0])
    SGD(net, clip=2.0).step(0.5)
    assert np.linalg.norm(net.flat) == pytest.approx(1.0)  # the rate times the limit


RATES = {"constant": [0.25, 0.5, 1.0, 1.0], "cosine": [0.25, 0.5, 1.0, 0.5], "step": [0.25, 0.5, 1.0, 0.1]}


@pytest.mark.parametrize("schedule", RATES)
def test_schedules_after_a_warmup_of_four_of_twelve_steps(schedule):
    at = [learning_rate(step, 12, 1.0, schedule, warmup=4) for step in (0, 1, 4, 8)]
    assert at == pytest.approx(RATES[schedule])


def test_an_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match="linear"):
        learning_rate(0, 1, 1.0, "linear")
