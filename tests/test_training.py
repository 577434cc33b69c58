"""A training run: repeatable to the bit, resumable to the bit, and clear about what went wrong."""

import os
import signal

import numpy as np
import pytest
from runs import assert_same_bits, samples, settings

from gland.errors import InputError
from gland.files import held
from gland.ops.host import threads
from gland.training import checkpoint, validation
from gland.training.loop import Diverged, Interrupted, Training, first_nonfinite


def training(folder, *options):
    made = samples()
    return Training(settings(*options), folder, made[:4], made[4:])


class StopAfter:
    """Sends this process a signal once the given number of steps is done, as Ctrl-C would."""

    def __init__(self, run, steps):
        self.step, self.left = run._step, steps

    def __call__(self, *args):
        self.step(*args)
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)


def test_two_runs_of_one_seed_end_with_the_same_bits(tmp_path):
    for name in "ab":
        training(tmp_path / name).run()
    assert_same_bits(tmp_path / "a", tmp_path / "b")


def test_another_seed_ends_elsewhere(tmp_path):
    training(tmp_path / "a").run()
    training(tmp_path / "b", "--seed", "1").run()
    with pytest.raises(AssertionError):
        assert_same_bits(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize("steps", [1, 3, 6])  # in pre-training, at its end, in joint training
def test_an_interrupted_run_resumes_to_the_bits_of_an_uninterrupted_one(tmp_path, steps):
    training(tmp_path / "whole").run()
    stopped = training(tmp_path / "stopped")
    stopped._step = StopAfter(stopped, steps)
    with pytest.raises(Interrupted):
        stopped.run()
    resumed = training(tmp_path / "stopped")
    resumed.restore()
    resumed.run()
    assert_same_bits(tmp_path / "whole", tmp_path / "stopped")


def test_ctrl_c_during_the_last_validation_stops_too_and_the_end_is_kept(tmp_path, monkeypatch):
    training(tmp_path / "whole").run()
    stopped, validate = training(tmp_path / "stopped"), validation.validate

    def interrupted(network, samples):
        if stopped.step == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return validate(network, samples)

    monkeypatch.setattr("gland.training.loop.validate", interrupted)
    with pytest.raises(Interrupted, match="last step"):
        stopped.run()
    assert_same_bits(tmp_path / "whole", tmp_path / "stopped")
    resumed = training(tmp_path / "stopped")
    resumed.restore()
    resumed.run()  # nothing is left to do
    assert_same_bits(tmp_path / "whole", tmp_path / "stopped")


def test_a_resumed_run_keeps_its_number_of_threads(tmp_path):
    before = threads.count_threads()
    try:
        threads.set_threads(1)
        stopped = training(tmp_path)
        stopped._step = StopAfter(stopped, 4)
        with pytest.raises(Interrupted):
            stopped.run()
        threads.set_threads(2)
        resumed = training(tmp_path)
        resumed.restore()
        assert threads.count_threads() == 1 and "1 thread\n" in resumed.summary()
    finally:
        threads.set_threads(before)


def test_two_processes_do_not_train_in_one_folder(tmp_path):
    with held(tmp_path), pytest.raises(InputError, match="another process trains in"):
        training(tmp_path).run()
    training(tmp_path).run()


@pytest.mark.parametrize("lost", ["velocity", "mean", "square"])
def test_a_moment_lost_on_resume_would_be_noticed(tmp_path, lost):
    training(tmp_path / "whole").run()
    stopped = training(tmp_path / "stopped")
    stopped._step = StopAfter(stopped, 6)
    with pytest.raises(Interrupted):
        stopped.run()
    resumed = training(tmp_path / "stopped")
    resumed.restore()
    resumed.solver.state[lost][...] = 0  # the planted mistake
    resumed.run()
    with pytest.raises(AssertionError):
        assert_same_bits(tmp_path / "whole", tmp_path / "stopped")


def test_a_run_can_be_saved_before_its_first_step(tmp_path):
    begun = training(tmp_path)
    begun.save()
    resumed = training(tmp_path)
    resumed.restore()
    assert (resumed.phase, resumed.step, resumed.rows) == (0, 0, [])


def test_training_lowers_the_loss(tmp_path):
    run = training(tmp_path, "--pretrain", "20", "--iterations", "60", "--rate", "0.02", "--width", "2")
    run.run()
    joint = [row["loss"] for row in run.rows if row["phase"] == "joint"]
    assert np.mean(joint[-5:]) < 0.9 * np.mean(joint[:5])


def test_the_log_has_a_row_per_interval_and_validation_where_asked(tmp_path):
    training(tmp_path).run()
    header, *rows = (tmp_path / "log.csv").read_text().splitlines()
    rows = [dict(zip(header.split(","), row.split(","), strict=True)) for row in rows]
    assert [(row["phase"], row["step"]) for row in rows] == [
        ("pretrain", "2"), ("pretrain", "3"), ("joint", "5"), ("joint", "7"), ("joint", "8"),
    ]  # fmt: skip
    assert [bool(row["val_dsc"]) for row in rows] == [False, False, False, True, True]
    assert (tmp_path / "best.npz").exists()


def test_a_diverged_run_names_step_and_layer_and_keeps_the_last_good_checkpoint(tmp_path):
    run = training(tmp_path, "--save-every", "0")
    step = run._step

    def poisoned(*args):
        if run.phase == 1 and run.step == 2:
            run.network.layers["segmenter.stage3.conv"].w[...] = np.nan
        step(*args)

    run._step = poisoned
    with pytest.raises(Diverged, match=r"nan at step 2 of joint: .*segmenter\.stage3\.conv.*last\.npz"):
        run.run()
    parameters, state, _ = checkpoint.load(tmp_path / "last.npz")
    assert state["step"] == 2 and all(np.isfinite(v).all() for v in parameters.values())


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    run = training(tmp_path, "--save-every", "0")
    update = run.solver.step

    def overshoot(rate):
        update(rate)
        if run.step == 1:
            run.network.flat[7] = np.inf  # as an infinite gradient under a finite loss would leave it

    run.solver.step = overshoot
    with pytest.raises(Diverged, match=r"no longer finite after step 2 of pretrain: the parameter classifier\."):
        run.run()
    parameters, state, _ = checkpoint.load(tmp_path / "last.npz")
    assert state["step"] == 1 and all(np.isfinite(v).all() for v in parameters.values())


def test_weights_alone_are_not_resumed_from(tmp_path):
    training(tmp_path).run()
    (tmp_path / "best.npz").replace(tmp_path / "last.npz")
    with pytest.raises(InputError, match=r"last\.npz holds weights but not where the training stood"):
        training(tmp_path).restore()


def test_a_solvers_state_in_another_order_is_not_resumed_from(tmp_path):
    training(tmp_path).run()
    path = tmp_path / "last.npz"
    parameters, state, arrays = checkpoint.load(path)
    del state["order"]
    checkpoint.save(path, parameters, state, **arrays)
    with pytest.raises(InputError, match=r"last\.npz was written by an earlier version"):
        training(tmp_path).restore()


def test_a_second_ctrl_c_stops_at_once_and_keeps_the_last_checkpoint(tmp_path):
    run = training(tmp_path, "--save-every", "0")
    step = run._step

    def twice(*args):
        step(*args)
        if run.phase == 1:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    run._step = twice
    with pytest.raises(Interrupted, match=r"Stopped at once; .*--resume"):
        run.run()
    assert checkpoint.load(tmp_path / "last.npz")[1]["step"] == 3  # the end of pre-training


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_an_overflow_is_traced_to_the_layer_that_makes_it(tmp_path):
    run = training(tmp_path)
    run.network.layers["classifier.stage2.conv1"].w[...] = 1e30
    run.network.layers["classifier.stage1.conv2"].b[...] = 1e30
    x = np.ones((1, 3, 32, 32), np.float32)
    with np.errstate(all="ignore"):
        assert "classifier.stage2.conv1" in first_nonfinite(run.network, x)


@pytest.mark.parametrize("network", ["class", "seg"])
def test_the_halves_train_alone(tmp_path, network):
    run = training(tmp_path, "--network", network)
    run.run()
    assert {row["phase"] for row in run.rows} == {network}
