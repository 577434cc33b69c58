"""Caffe's update, drawn by hand; the schedules; clipping."""

import numpy as np
import pytest

from gland.solver import SGD, clip_factor, learning_rate


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
