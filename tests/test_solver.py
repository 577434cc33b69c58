"""Caffe's update and Adam's, drawn by hand; the schedules; clipping."""

import numpy as np
import pytest

from gland import ops
from gland.solver import SGD, SOLVERS, Adam, clip_factor, learning_rate


class Flat:
    """The two buffers of a network, which is all that the solver sees."""

    def __init__(self, w, dw):
        self.flat, self.flat_grad = np.array(w), np.array(dw)


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


def test_adam_with_its_betas_exchanged_would_be_noticed(monkeypatch):
    update = ops.adam_update
    monkeypatch.setattr(ops, "adam_update", lambda *a: update(*a[:5], a[5][::-1], *a[6:]))
    with pytest.raises(AssertionError):
        test_adam_is_the_published_algorithm()


def test_adams_decay_is_kept_out_of_its_moments():
    net = Flat([1.0, -2.0], [0.0, 0.0])
    solver = Adam(net, decay=0.5)
    solver.step(0.1)
    assert net.flat == pytest.approx([0.95, -1.9]) and not solver.mean.any() and not solver.square.any()


@pytest.mark.parametrize("solver", SOLVERS.values())
def test_a_solvers_state_is_what_it_works_with(solver):
    one, two = (Flat([1.0, 2.0], [0.5, -3.0]) for _ in range(2))
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


def test_adam_clips_too():
    one, two = Flat([0.0, 0.0], [30.0, 40.0]), Flat([0.0, 0.0], [0.3, 0.4])
    for net, clip in ((one, 0.5), (two, None)):
        solver = Adam(net, clip=clip)
        solver.step(0.1)
        assert solver.mean == pytest.approx([0.03, 0.04])


def test_clipped_step_moves_by_the_rate_times_the_limit():
    net = Flat([0.0, 0.0], [30.0, 40.0])
    SGD(net, clip=2.0).step(0.5)
    assert np.linalg.norm(net.flat) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", [0.25, 0.5, 1.0, 1.0]),
        ("cosine", [0.25, 0.5, 1.0, 0.5]),
        ("step", [0.25, 0.5, 1.0, 0.1]),
    ],
)
def test_schedules_after_a_warmup_of_four_of_twelve_steps(schedule, rates):
    at = [learning_rate(step, 12, 1.0, schedule, warmup=4) for step in (0, 1, 4, 8)]
    assert at == pytest.approx(rates)


def test_an_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match="linear"):
        learning_rate(0, 1, 1.0, "linear")
