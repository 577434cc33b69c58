"""train.py as its users meet it: what it prints and writes, what it says when something is wrong, how it goes on."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import scripts
from scripts import TINY, assert_one_sentence, assert_same_run, files, run, sentences, start

from gland.data import phantom
from gland.training import checkpoint
from gland.training.options import PHANTOM, RECIPES, complete, parser


@pytest.fixture
def data(tiny_data, tmp_path):
    """A copy of the tiny set, to be damaged."""
    return shutil.copytree(tiny_data, tmp_path / "data")


def settings(folder, *options):
    return [*TINY, "--data", folder, *options]


def test_two_runs_at_once_without_data_share_the_phantom_set_and_say_where_everything_is(tmp_path):
    # a small stand-in lies where the phantom set is kept; painting it is tests/test_data_phantom.py's subject
    names = [f"train_{i + 1}" for i in range(phantom.IMAGES)]
    folder = scripts.write_set(tmp_path / "runs" / "phantom-data", names)
    marker = {"version": phantom.VERSION, "images": {"train": phantom.IMAGES}, "seed": 0}
    (folder / phantom.MARKER).write_text(json.dumps(marker))
    before = files(folder)
    both = [start("train.py", *TINY, cwd=tmp_path) for _ in range(2)]
    results = [(*process.communicate(timeout=120), process.returncode) for process in both]
    assert {status for _, _, status in results} == {0}, results[0][1] + results[1][1]
    printed = sorted(out.split()[1] for out, _, _ in results)
    assert printed == ["runs/joint-phantom", "runs/joint-phantom-2"]
    assert files(folder) == before
    for out, _, _ in results:
        name = out.split()[1]
        for file in ("best.npz", "curves.png", "evaluation/test/table.csv", "evaluation/test/figure2.png"):
            assert f"{name}/{file}" in out and (tmp_path / name / file).stat().st_size > 0
        for column in ("class ACC %", "pixel ACC %", "benign DSC", "malignant DSC", "95 % interval", "visual fields"):
            assert column in out
        assert f"python evaluate.py {name} --image FILE" in out


def test_the_run_folder_says_what_was_asked_for(tiny_run):
    kept = json.loads((tiny_run / "config.json").read_text())
    assert (kept["width"], kept["iterations"], kept["crop"]) == (1, 12, 32)
    assert kept["lam"] == RECIPES["default"]["lam"]
    sets = [kept["split"][part] for part in ("train", "val", "test")]
    assert sorted(name for names in sets for name in names) == sorted(f"train_{i + 1}" for i in range(12))
    assert all(sets)
    header, *rows = (tiny_run / "log.csv").read_text().splitlines()
    assert header.startswith("phase,step,loss,") and header.endswith(",seconds")
    assert [row.split(",")[:2] for row in rows] == [
        ["pretrain", "3"], ["pretrain", "4"], ["joint", "7"], ["joint", "10"], ["joint", "13"], ["joint", "16"],
    ]  # fmt: skip
    assert not list(tiny_run.rglob(".*"))


def test_ctrl_c_saves_and_the_command_it_names_ends_with_the_same_bits(tiny_data, tiny_run, tmp_path):
    process = start("train.py", *settings(tiny_data, "--out", "stopped"), cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not (tmp_path / "stopped" / "log.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err
    said = sentences(err)[-1]
    assert "everything is saved. To go on: python train.py --resume stopped" in said
    assert checkpoint.load(tmp_path / "stopped" / "last.npz")[1]["finished"] is False
    result = run(*said.split("python ")[1].split(), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert_same_run(tiny_run, tmp_path / "stopped")


KILLED_WHILE_SAVING = """
import io, os, signal, sys
import numpy as np
savez, saves = np.savez, []

def half(file, **arrays):
    saves.append(0)
    whole = io.BytesIO()
    savez(whole, **arrays)
    if len(saves) < 8:
        return file.write(whole.getvalue())
    file.write(whole.getvalue()[: len(whole.getvalue()) // 2])
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)

np.savez = half
import train
train.main()
"""


def test_kill_9_in_the_middle_of_a_save_leaves_the_checkpoint_before_and_resumes_to_the_same_bits(
    tiny_data, tiny_run, tmp_path
):
    command = [sys.executable, "-c", KILLED_WHILE_SAVING, *settings(tiny_data, "--out", "killed", "--save-every", "0")]
    environment = os.environ | {"PYTHONPATH": str(scripts.ROOT)}
    killed = subprocess.run(list(map(str, command)), cwd=tmp_path, env=environment, capture_output=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    folder = tmp_path / "killed"
    assert list(folder.glob(".*.part"))  # it was in the middle
    step = checkpoint.load(folder / "last.npz")[1]["step"]
    assert 0 < step < 12
    result = run("train.py", "--resume", "killed", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert_same_run(tiny_run, folder)
    assert not list(folder.glob(".*.part"))


def test_the_comparison_of_runs_notices_one_bit(tiny_run, tmp_path):
    other = shutil.copytree(tiny_run, tmp_path / "other")
    parameters, state, arrays = checkpoint.load(other / "last.npz")
    name = next(iter(parameters))
    parameters[name].flat[0] = np.nextafter(parameters[name].flat[0], np.inf)  # the planted mistake
    checkpoint.save(other / "last.npz", parameters, state, **arrays)
    with pytest.raises(AssertionError):
        assert_same_run(tiny_run, other)


def test_a_loss_that_is_not_finite_stops_with_step_layer_and_last_good_checkpoint(tiny_data, tmp_path):
    wild = ("--rate", "1e25", "--clip", "0", "--warmup", "0", "--save-every", "0", "--out", "wild")
    result = run("train.py", *settings(tiny_data, *wild), cwd=tmp_path)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    (said,) = sentences(result.stderr)
    assert said.startswith("train.py: the loss is") or "no longer finite" in said
    assert "step" in said and "classifier.stage" in said and "--rate" in said
    kept = tmp_path / "wild" / "last.npz"
    assert ("no checkpoint had been saved" in said) != kept.exists()
    if kept.exists():
        assert "wild/last.npz" in said
        assert all(np.isfinite(value).all() for value in checkpoint.load(kept)[0].values())


def damage(name, keep):
    def act(folder):
        path = folder / name
        path.write_bytes(path.read_bytes()[:keep])

    return act


BAD = {
    "no such folder": (["--data", "nowhere"], ["nowhere is not a folder"]),
    "a file for a folder": (["--data", "data/Grade.csv"], ["Grade.csv is not a folder"]),
    "a folder without images": (["--data", "empty"], ["empty/Grade.csv is missing"]),
    "an unknown network": (["--network", "resnet"], ["--network", "'resnet'", "joint"]),
    "an unknown option": (["--speed", "9"], ["--speed", "--help"]),
    "a rate of words": (["--rate", "fast"], ["--rate", "'fast'"]),
    "a negative rate": (["--rate", "-1"], ["--rate is -1.0; it must be positive"]),
    "a rate of nan": (["--rate", "nan"], ["--rate is nan"]),
    "lambda above 1": (["--lam", "1.5"], ["--lam is 1.5", "between 0 and 1"]),
    "an odd window": (["--crop", "100"], ["--crop is 100"]),
    "a scale of nothing": (["--scale", "0.01"], ["--scale is 0.01", "0.1 and 2", "500 x 500"]),
    "a fold too many": (["--data", "data", "--fold", "5"], ["--fold is 5", "0 to 4"]),
    "more folds than groups": (["--data", "data", "--fold", "0", "--folds", "40"], ["40", "groups"]),
    "a decay without end": (["--decay", "inf"], ["--decay is inf", "finite"]),
    "resume of nothing": (["--resume", "nowhere"], ["nowhere does not exist"]),
    "resume of a folder": (["--resume", "empty"], ["empty is not a run", "config.json"]),
    "resume with options": (["--resume", "empty", "--iterations", "9"], ["--resume", "iterations"]),
    "out is a file": (["--data", "data", "--out", "data/Grade.csv"], ["Grade.csv is a file"]),
    "out below a file": (["--data", "data", "--out", "data/Grade.csv/x"], ["cannot be made", "Not a directory"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_nothing_is_written(data, tmp_path, case):
    (tmp_path / "empty").mkdir()
    before = files(tmp_path)
    options, parts = BAD[case]
    assert_one_sentence(run("train.py", *options, cwd=tmp_path), *parts)
    assert files(tmp_path) == before
    assert {path.name for path in tmp_path.iterdir()} <= {"data", "empty", "runs"}


def test_a_damaged_data_folder_is_one_sentence_and_leaves_no_run(data, tmp_path):
    damage("train_3.png", 500)(data)
    result = run("train.py", *settings(data, "--out", "new"), cwd=tmp_path)
    assert_one_sentence(result, "train_3.png", "truncated")
    assert not (tmp_path / "new").exists()


def test_a_run_whose_data_have_moved_says_where_to_name_them(tiny_data, tmp_path):
    moved = shutil.copytree(tiny_data, tmp_path / "there")
    assert run("train.py", *settings(moved, "--out", "run"), cwd=tmp_path).returncode == 0
    moved.rename(tmp_path / "elsewhere")
    assert_one_sentence(run("train.py", "--resume", "run", cwd=tmp_path), "there is not a folder", "run/config.json")


def test_runs_that_lead_nowhere_are_one_sentence(tiny_data, tmp_path):
    (tmp_path / "runs").symlink_to(tmp_path / "not mounted")
    assert_one_sentence(run("train.py", *settings(tiny_data), cwd=tmp_path), "cannot be made")


@pytest.mark.parametrize("given", ["0", "-3", "1.5", "many", "\u00b2", "100000"])
def test_a_number_of_threads_that_is_none_is_one_sentence(tmp_path, monkeypatch, given):
    monkeypatch.setenv("GLAND_THREADS", given)
    assert_one_sentence(run("train.py", cwd=tmp_path), "GLAND_THREADS is", "1 to 999")


def test_terminated_while_painting_says_so_and_leaves_nothing(tmp_path):
    process = start("train.py", *TINY, cwd=tmp_path)
    while not list(tmp_path.glob("runs/.phantom-data.*/*")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err and "stopped" in err
    assert [path.name for path in tmp_path.rglob("*")] == ["runs"]


KEPT = {
    "a width of text": ({"width": "1"}, "width"),
    "a negative seed": ({"seed": -1}, "--seed is -1"),
    "an unknown prior": ({"prior": "foo"}, "prior"),
    "a switch of a number": ({"skip": 1}, "skip"),
    "an endless scale": ({"scale": 1000}, "--scale is 1000"),
    "lambda of 9": ({"lam": 9}, "--lam is 9"),
    "no images in the sets": ({"split": {}}, "which images"),
    "no data": ({"data": None}, "data"),
    "an unknown solver": ({"solver": "newton"}, "solver"),
    "a log of never": ({"log_every": 0}, "--log-every is 0"),
}


@pytest.mark.parametrize("case", KEPT)
def test_a_configuration_that_no_option_gives_is_one_sentence(tiny_run, tmp_path, case):
    copy = shutil.copytree(tiny_run, tmp_path / "run")
    change, part = KEPT[case]
    file = copy / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    before = files(copy)
    for script in (["train.py", "--resume"], ["evaluate.py"]):
        assert_one_sentence(run(*script, "run", cwd=tmp_path), part)
    assert files(copy) == before


def test_a_damaged_phantom_set_says_how_to_get_a_new_one(tmp_path):
    names = [f"train_{i + 1}" for i in range(phantom.IMAGES)]
    folder = scripts.write_set(tmp_path / "runs" / "phantom-data", names)
    marker = {"version": phantom.VERSION, "images": {"train": phantom.IMAGES}, "seed": 0}
    (folder / phantom.MARKER).write_text(json.dumps(marker))
    damage("train_7_anno.png", 50)(folder)
    result = run("train.py", *TINY, cwd=tmp_path)
    assert_one_sentence(result, "train_7_anno.png", "delete runs/phantom-data and it is painted anew")


def test_a_run_is_not_overwritten(tiny_data, tiny_run, tmp_path):
    before = files(tiny_run)
    result = run("train.py", *settings(tiny_data, "--out", tiny_run), cwd=tmp_path)
    assert_one_sentence(result, "holds a run already", f"--resume {tiny_run}")
    assert files(tiny_run) == before


def test_a_damaged_checkpoint_is_one_sentence_and_stays_as_it_is(tiny_run, tmp_path):
    copy = shutil.copytree(tiny_run, tmp_path / "run")
    damage("last.npz", 9000)(copy)
    before = files(copy)
    assert_one_sentence(run("train.py", "--resume", "run", cwd=tmp_path), "last.npz cannot be read")
    assert files(copy) == before


def test_a_gpu_that_is_not_there_is_said_in_one_sentence(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    result = run("train.py", *settings(tiny_data, "--out", "new", "--device", "gpu"), cwd=tmp_path)
    assert_one_sentence(result, "GPU")
    assert not (tmp_path / "new").exists()


def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_written(tiny_data, tmp_path):
    def no_file_above_30_kilobytes():
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    result = run("train.py", *settings(tiny_data, "--out", "full"), cwd=tmp_path, preexec_fn=no_file_above_30_kilobytes)
    assert_one_sentence(result, "full/", ".npz cannot be written", "large")
    assert not list((tmp_path / "full").glob(".*"))


def test_help_groups_its_options_and_gives_their_defaults(tmp_path):
    result = run("train.py", "--help", cwd=tmp_path)
    assert result.returncode == 0
    groups = [line[:-1] for line in result.stdout.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert groups == ["options", "data", "network", "loss", "training", "run"]
    text = " ".join(result.stdout.split())
    default, paper = (RECIPES[name] for name in ("default", "paper"))
    steps = f"(default: {default['iterations']}; phantom set: {PHANTOM['iterations']}; paper: {paper['iterations']})"
    for shown in (steps, f"(default: {default['lam']}; paper: 0.5)", "seconds between checkpoints"):
        assert shown in text
    assert "None" not in text and "default: True" not in text and "SUPPRESS" not in text


def completed(*options):
    c = complete(parser().parse_args(["--data", "images", *options]))
    return c.solver, c.rate, c.momentum, c.clip


def test_a_solver_brings_what_it_needs_and_what_is_given_wins():
    assert completed() == ("muon", 2e-3, 0.95, 0.0)
    assert completed("--solver", "muon") == completed()
    assert completed("--solver", "adam") == ("adam", 1e-3, 0.9, 0.0)
    assert completed("--solver", "sgd", "--rate", "0.01") == ("sgd", 0.01, 0.9, 1.0)
    assert completed("--recipe", "paper") == ("sgd", 1e-5, 0.99, 0.0)
    assert completed("--recipe", "paper", "--solver", "muon")[1:3] == completed()[1:3]
    assert completed("--network", "alexnet") == ("adam", 1e-4, 0.9, 0.0)
