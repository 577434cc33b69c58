"""train.py as its users meet it: what it prints and writes, what it says when something is wrong, how it goes on."""

import json
import shutil
import signal
import time

import numpy as np
import pytest
from scripts import TINY, files, finish, run, sentences, start, write_phantom
from short_runs import assert_same_run

from gland.training import checkpoint
from gland.training.options import PHANTOM, RECIPES, complete, parser


def test_two_runs_at_once_without_data_share_the_phantom_set_and_say_where_everything_is(tmp_path):
    folder = write_phantom(tmp_path)
    before = files(folder)
    both = [start("train.py", *TINY, cwd=tmp_path) for _ in range(2)]
    printed, errors = zip(*(process.communicate(timeout=120) for process in both), strict=True)
    assert {process.returncode for process in both} == {0}, errors
    assert sorted(out.split()[1] for out in printed) == ["runs/joint-phantom", "runs/joint-phantom-2"]
    assert files(folder) == before
    for out in printed:
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
    assert sorted(name for names in sets for name in names) == sorted(f"train_{i + 1}" for i in range(12)) and all(sets)
    header, *rows = (tiny_run / "log.csv").read_text().splitlines()
    assert header.startswith("phase,step,loss,") and header.endswith(",seconds")
    assert [row.split(",")[:2] for row in rows] == [
        ["pretrain", "3"], ["pretrain", "4"], ["joint", "7"], ["joint", "10"], ["joint", "13"], ["joint", "16"],
    ]  # fmt: skip
    assert not list(tiny_run.rglob(".*"))


def test_ctrl_c_saves_and_the_command_it_names_ends_with_the_same_bits(tiny_data, tiny_run, tmp_path):
    process = start("train.py", *TINY, "--data", tiny_data, "--out", "stopped", cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not (tmp_path / "stopped" / "log.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err
    said = sentences(err)[-1]
    assert "everything is saved. To go on: python train.py --resume stopped" in said
    assert checkpoint.load(tmp_path / "stopped" / "last.npz")[1]["finished"] is False
    finish(*said.split("python ")[1].split(), cwd=tmp_path)
    assert_same_run(tiny_run, tmp_path / "stopped")


KILLED_WHILE_SAVING = """
import io, os, signal, numpy, train
savez, saves = numpy.savez, []

def half(file, **arrays):
    saves.append(0)
    savez(whole := io.BytesIO(), **arrays)
    file.write(whole.getvalue() if len(saves) < 8 else whole.getvalue()[: len(whole.getvalue()) // 2])
    if len(saves) == 8:
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

numpy.savez = half
train.main()
"""


def test_kill_9_in_the_middle_of_a_save_resumes_to_the_same_bits_from_the_one_before(tiny_data, tiny_run, tmp_path):
    given = [*TINY, "--data", tiny_data, "--out", "killed", "--save-every", "0"]
    killed = run("-c", KILLED_WHILE_SAVING, *given, cwd=tmp_path)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    folder = tmp_path / "killed"
    assert list(folder.glob(".*.part"))  # it was in the middle
    assert 0 < checkpoint.load(folder / "last.npz")[1]["step"] < 12
    finish("train.py", "--resume", "killed", cwd=tmp_path)
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
    wild = "--rate 1e25 --clip 0 --warmup 0 --save-every 0 --out wild".split()
    result = run("train.py", *TINY, "--data", tiny_data, *wild, cwd=tmp_path)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    (said,) = sentences(result.stderr)
    assert said.startswith("train.py: the loss is") or "no longer finite" in said
    assert "step" in said and "classifier.stage" in said and "--rate" in said
    kept = tmp_path / "wild" / "last.npz"
    assert ("no checkpoint had been saved" in said) != kept.exists()
    if kept.exists():
        assert "wild/last.npz" in said
        assert all(np.isfinite(value).all() for value in checkpoint.load(kept)[0].values())


def test_terminated_while_painting_says_so_and_leaves_nothing(tmp_path):
    process = start("train.py", *TINY, cwd=tmp_path)
    while not list(tmp_path.glob("runs/.phantom-data.*/*")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err and "stopped" in err
    assert [path.name for path in tmp_path.rglob("*")] == ["runs"]


def test_help_groups_its_options_and_gives_their_defaults(tmp_path):
    printed = finish("train.py", "--help", cwd=tmp_path)
    groups = [line[:-1] for line in printed.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert groups == ["options", "data", "network", "loss", "training", "run"]
    text = " ".join(printed.split())
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
