"""A training run: repeatable to the bit, resumable to the bit, and clear about what went wrong."""

import os
import shutil
import signal

import numpy as np
import pytest
from places import on_threads
from short_runs import assert_same_bits, training

from gland.errors import InputError
from gland.files import held
from gland.ops.host import threads
from gland.training import checkpoint, validation
from gland.training.loop import Diverged, Interrupted, first_nonfinite


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that was never interrupted. Not to be written into."""
    folder = tmp_path_factory.mktemp("whole")
    training(folder).run()
    return folder


def ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


def at_every_step(run, before=lambda: None, after=lambda: None):
    step = run._step

    def wrapped(*args):
        before()
        step(*args)
        after()

    run._step = wrapped


def stopped(folder, steps):
    """A run in this folder, interrupted once so many steps are done."""
    run, count = training(folder), iter(range(1, 99))
    at_every_step(run, after=lambda: next(count) == steps and ctrl_c())
    with pytest.raises(Interrupted):
        run.run()


def test_one_seed_ends_with_the_same_bits_and_another_elsewhere(whole, tmp_path):
    training(tmp_path / "again").run()
    training(tmp_path / "other", "--seed", "1").run()
    assert_same_bits(whole, tmp_path / "again")
    with pytest.raises(AssertionError):
        assert_same_bits(whole, tmp_path / "other")


@pytest.mark.parametrize("steps", [1, 3, 6])  # in pre-training, at its end, in joint training
def test_an_interrupted_run_resumes_to_the_bits_of_an_uninterrupted_one(whole, tmp_path, steps):
    stopped(tmp_path, steps)
    training(tmp_path, resume=True).run()
    assert_same_bits(whole, tmp_path)


def test_ctrl_c_during_the_last_validation_stops_too_and_the_end_is_kept(whole, tmp_path, monkeypatch):
    run, validate = training(tmp_path), validation.validate

    def interrupted(network, samples):
        if run.step == 5:
            ctrl_c()
        return validate(network, samples)

    monkeypatch.setattr("gland.training.loop.validate", interrupted)
    with pytest.raises(Interrupted, match="last step"):
        run.run()
    assert_same_bits(whole, tmp_path)
    training(tmp_path, resume=True).run()  # nothing is left to do
    assert_same_bits(whole, tmp_path)


def test_a_resumed_run_keeps_its_number_of_threads(tmp_path):
    with on_threads(1):
        stopped(tmp_path, 4)
        threads.set_threads(2)
        resumed = training(tmp_path, resume=True)
        assert threads.count_threads() == 1 and "1 thread\n" in resumed.summary()


def test_two_processes_do_not_train_in_one_folder(tmp_path):
    with held(tmp_path), pytest.raises(InputError, match="another process trains in"):
        training(tmp_path).run()
    training(tmp_path).run()


@pytest.mark.parametrize("lost", ["velocity", "mean", "square"])
def test_a_moment_lost_on_resume_would_be_noticed(whole, tmp_path, lost):
    stopped(tmp_path, 6)
    resumed = training(tmp_path, resume=True)
    resumed.solver.state[lost][...] = 0  # the planted mistake
    resumed.run()
    with pytest.raises(AssertionError):
        assert_same_bits(whole, tmp_path)


def test_a_run_can_be_saved_before_its_first_step(tmp_path):
    training(tmp_path).save()
    resumed = training(tmp_path, resume=True)
    assert (resumed.phase, resumed.step, resumed.rows) == (0, 0, [])


def test_training_lowers_the_loss(tmp_path):
    run = training(tmp_path, "--pretrain", "20", "--iterations", "60", "--rate", "0.02", "--width", "2")
    run.run()
    joint = [row["loss"] for row in run.rows if row["phase"] == "joint"]
    assert np.mean(joint[-5:]) < 0.9 * np.mean(joint[:5])


def test_the_log_has_a_row_per_interval_and_validation_where_asked(whole):
    header, *rows = (whole / "log.csv").read_text().splitlines()
    rows = [dict(zip(header.split(","), row.split(","), strict=True)) for row in rows]
    assert [(row["phase"], row["step"], bool(row["val_dsc"])) for row in rows] == [
        ("pretrain", "2", False), ("pretrain", "3", False),
        ("joint", "5", False), ("joint", "7", True), ("joint", "8", True),
    ]  # fmt: skip
    assert (whole / "best.npz").exists()


def last_good_step(folder):
    """Where the last checkpoint stands, whose weights are all finite."""
    parameters, state, _ = checkpoint.load(folder / "last.npz")
    assert all(np.isfinite(v).all() for v in parameters.values())
    return state["step"]


def test_a_diverged_run_names_step_and_layer_and_keeps_the_last_good_checkpoint(tmp_path):
    run = training(tmp_path, "--save-every", "0")

    def poison():
        if run.phase == 1 and run.step == 2:
            run.network.layers["segmenter.stage3.conv"].w[...] = np.nan

    at_every_step(run, before=poison)
    with pytest.raises(Diverged, match=r"nan at step 2 of joint: .*segmenter\.stage3\.conv.*last\.npz"):
        run.run()
    assert last_good_step(tmp_path) == 2


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
    assert last_good_step(tmp_path) == 1


def test_weights_alone_are_not_resumed_from(whole, tmp_path):
    shutil.copy(whole / "best.npz", tmp_path / "last.npz")
    with pytest.raises(InputError, match=r"last\.npz holds weights but not where the training stood"):
        training(tmp_path, resume=True)


def test_a_solvers_state_in_another_order_is_not_resumed_from(whole, tmp_path):
    parameters, state, arrays = checkpoint.load(whole / "last.npz")
    del state["order"]
    checkpoint.save(tmp_path / "last.npz", parameters, state, **arrays)
    with pytest.raises(InputError, match=r"last\.npz was written by an earlier version"):
        training(tmp_path, resume=True)


def test_a_second_ctrl_c_stops_at_once_and_keeps_the_last_checkpoint(tmp_path):
    run = training(tmp_path, "--save-every", "0")
    at_every_step(run, after=lambda: run.phase == 1 and (ctrl_c(), ctrl_c()))
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
