"""What is wrong with what train.py and evaluate.py are given: one sentence that says so, and nothing is written."""

import json
import resource
import shutil

import numpy as np
import pytest
from PIL import Image
from scripts import TINY, assert_one_sentence, damage, files, run, write_phantom

TRAIN = {
    "no such folder": ("--data nowhere", "nowhere is not a folder"),
    "a file for a folder": ("--data data/Grade.csv", "Grade.csv is not a folder"),
    "a folder without images": ("--data empty", "empty/Grade.csv is missing"),
    "a damaged image": ("--data cut --out new", "train_3.png", "truncated"),
    "an unknown network": ("--network resnet", "--network", "'resnet'", "joint"),
    "an unknown option": ("--speed 9", "--speed", "--help"),
    "a rate of words": ("--rate fast", "--rate", "'fast'"),
    "a negative rate": ("--rate -1", "--rate is -1.0; it must be positive"),
    "a rate of nan": ("--rate nan", "--rate is nan"),
    "lambda above 1": ("--lam 1.5", "--lam is 1.5", "between 0 and 1"),
    "an odd window": ("--crop 100", "--crop is 100"),
    "a scale of nothing": ("--scale 0.01", "--scale is 0.01", "0.1 and 2", "500 x 500"),
    "a fold too many": ("--data data --fold 5", "--fold is 5", "0 to 4"),
    "more folds than groups": ("--data data --fold 0 --folds 40", "40", "groups"),
    "a decay without end": ("--decay inf", "--decay is inf", "finite"),
    "a GPU that is not there": ("--data data --out new --device gpu", "GPU"),
    "resume of nothing": ("--resume nowhere", "nowhere does not exist"),
    "resume of a folder": ("--resume empty", "empty is not a run", "config.json"),
    "resume with options": ("--resume empty --iterations 9", "--resume", "iterations"),
    "a damaged checkpoint": ("--resume damaged", "last.npz cannot be read"),
    "data that have moved": ("--resume moved", "there is not a folder", "moved/config.json"),
    "a run's own folder": ("--data data --out run", "holds a run already", "--resume run"),
    "out is a file": ("--data data --out data/Grade.csv", "Grade.csv is a file"),
    "out below a file": ("--data data --out data/Grade.csv/x", "cannot be made", "Not a directory"),
}
EVALUATE = {
    "no such run": ("nowhere", "nowhere does not exist", "train.py printed"),
    "a file for a run": ("data/Grade.csv", "Grade.csv is not a folder"),
    "a folder that is no run": ("data", "data is not a run", "config.json"),
    "no run at all": ("", "name a run", "--image FILE"),
    "a run without a checkpoint": ("fresh", "last.npz does not exist"),
    "a run of another format": ("odd", "config.json is not the configuration of a run"),
    "a broken config": ("broken", "config.json cannot be read as JSON"),
    "a damaged checkpoint": ("damaged", "best.npz cannot be read", "other checkpoint"),
    "a file in the way": ("blocked --split val", "blocked/evaluation/val", "cannot be written"),
    "no such part": ("run --split testA", "no images of part testA"),
    "an unknown set": ("run --split mine", "--split", "'mine'"),
    "no such data": ("run --data nowhere", "nowhere is not a folder"),
    "no such image": ("run --image data/train_1.png none.png", "none.png does not exist"),
    "no image": ("run --image data/train_1.png data/Grade.csv", "Grade.csv cannot be read as an image"),
    "a folder for an image": ("run --image data", "data cannot be read as an image"),
    "a truncated image": ("run --image cut/train_3.png", "train_3.png", "truncated"),
    "a set for an image": ("run --split val --image data/train_1.png", "--split", "--image"),
    "a 16-bit image": ("run --image deep.png", "deep.png has mode I;16", "8 bits"),
    "an empty array": ("run --image empty.npy", "empty.npy cannot be read as an array"),
    "several arrays": ("run --image several.npy", "several.npy holds several arrays"),
    "two of one name": ("run --image data/train_1.png fresh/train_1.png", "two images are named train_1"),
}
BAD = {"train.py": TRAIN, "evaluate.py": EVALUATE}


@pytest.fixture(scope="module")
def place(tiny_data, tiny_run, tmp_path_factory):
    """A folder with data, runs and images, sound ones and damaged ones."""
    place = tmp_path_factory.mktemp("bad")
    (place / "empty").mkdir()
    for name in ("data", "cut"):
        shutil.copytree(tiny_data, place / name)
    for name in ("run", "fresh", "odd", "broken", "damaged", "moved", "blocked"):
        shutil.copytree(tiny_run, place / name)
    damage(place / "cut" / "train_3.png", 500)
    Image.fromarray(np.full((40, 40), 9000, np.uint16)).save(place / "deep.png")
    (place / "empty.npy").touch()
    shutil.copyfile(tiny_run / "best.npz", place / "several.npy")
    for name in ("best.npz", "last.npz"):
        (place / "fresh" / name).unlink()
        damage(place / "damaged" / name, 9000)
    (place / "odd" / "config.json").write_text('["something", "else"]')
    (place / "broken" / "config.json").write_text('{"network": "joi')
    configure(place / "moved", {"data": str(place / "there")})
    shutil.rmtree(place / "blocked" / "evaluation")
    (place / "blocked" / "evaluation").write_text("in the way")
    return place


def configure(folder, change):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))


@pytest.mark.parametrize(("script", "case"), [(script, case) for script in BAD for case in BAD[script]])
def test_bad_input_is_one_sentence_and_nothing_is_written(place, script, case):
    before, entries = files(place), {path.name for path in place.iterdir()}
    options, *parts = BAD[script][case]
    assert_one_sentence(run(script, *options.split(), cwd=place, env={"CUDA_VISIBLE_DEVICES": ""}), *parts)
    assert files(place) == before
    assert {path.name for path in place.iterdir()} <= entries | {"runs"}


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
    configure(copy, change)
    before = files(copy)
    for script in (["train.py", "--resume"], ["evaluate.py"]):
        assert_one_sentence(run(*script, "run", cwd=tmp_path), part)
    assert files(copy) == before


def test_runs_that_lead_nowhere_are_one_sentence(tiny_data, tmp_path):
    (tmp_path / "runs").symlink_to(tmp_path / "not mounted")
    assert_one_sentence(run("train.py", *TINY, "--data", tiny_data, cwd=tmp_path), "cannot be made")


@pytest.mark.parametrize("given", ["0", "-3", "1.5", "many", "\u00b2", "100000"])
def test_a_number_of_threads_that_is_none_is_one_sentence(tmp_path, given):
    result = run("train.py", cwd=tmp_path, env={"GLAND_THREADS": given})
    assert_one_sentence(result, "GLAND_THREADS is", "1 to 999")


def test_a_damaged_phantom_set_says_how_to_get_a_new_one(tmp_path):
    damage(write_phantom(tmp_path) / "train_7_anno.png", 50)
    result = run("train.py", *TINY, cwd=tmp_path)
    assert_one_sentence(result, "train_7_anno.png", "delete runs/phantom-data and it is painted anew")


def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_written(tiny_data, tmp_path):
    def no_file_above_30_kilobytes():
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    options = [*TINY, "--data", tiny_data, "--out", "full"]
    result = run("train.py", *options, cwd=tmp_path, preexec_fn=no_file_above_30_kilobytes)
    assert_one_sentence(result, "full/", ".npz cannot be written", "large")
    assert not list((tmp_path / "full").glob(".*"))
