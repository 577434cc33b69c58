"""evaluate.py as its users meet it: tables that agree with each other, pictures, any image, and what can be wrong."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scripts import TINY, assert_one_sentence, files, run, sentences, start

from gland.data import phantom, read, resize, to_input
from gland.evaluation.scores import COLUMNS, MORE_COLUMNS
from gland.training import checkpoint

TITLES = [column.title for column in (*COLUMNS, *MORE_COLUMNS)]


@pytest.fixture(scope="module")
def evaluated(tiny_run, tmp_path_factory):
    """A copy of the run, evaluated on its validation images: (folder, what was printed)."""
    folder = shutil.copytree(tiny_run, tmp_path_factory.mktemp("evaluated") / "run")
    shutil.rmtree(folder / "evaluation")
    result = run("evaluate.py", folder, "--split", "val", cwd=folder.parent)
    assert result.returncode == 0, result.stderr
    return folder, result.stdout


def test_the_table_on_screen_in_csv_and_in_json_is_one_table(evaluated):
    folder, printed = evaluated
    written = json.loads((folder / "evaluation" / "val" / "table.json").read_text())
    with (folder / "evaluation" / "val" / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["figure"] for row in rows] == [entry["figure"] for entry in written["summary"]] == TITLES
    assert written["setting"] in printed and "split by visual_field" in printed
    for row, entry in zip(rows, written["summary"], strict=True):
        assert float(row["value"]) == entry["value"] and entry["low"] <= entry["value"] <= entry["high"]
        line = next(line for line in printed.splitlines() if line.startswith(f"{entry['figure']}  "))
        shown = line.removeprefix(entry["figure"]).split()
        assert float(shown[0]) == pytest.approx(entry["value"], abs=0.051 if entry["digits"] == 1 else 0.00051)


def test_the_figures_are_those_of_the_images_and_the_network(evaluated, tiny_data):
    folder, _ = evaluated
    written = json.loads((folder / "evaluation" / "val" / "table.json").read_text())
    names = checkpoint.load_options(folder).sets.val
    assert [row["name"] for row in written["images"]] == names
    network = checkpoint.load_network(folder)
    samples = [s for s in read(tiny_data) if s.name in names]
    scores = [network.predict(to_input([resize(s, network.scale).image])).q[0] for s in samples]
    right = [bool(q[1] > q[0]) == s.malignant for q, s in zip(scores, samples, strict=True)]
    assert written["summary"][0] == written["summary"][0] | {"figure": "class ACC %", "value": 100 * np.mean(right)}


def test_overlays_and_figure_2_show_every_image_at_its_size(evaluated):
    folder, _ = evaluated
    pictures = folder / "evaluation" / "val"
    names = checkpoint.load_options(folder).sets.val
    assert sorted(f.stem for f in (pictures / "overlays").iterdir()) == sorted(names)
    assert {Image.open(f).size for f in (pictures / "overlays").iterdir()} == {(64, 64)}
    width, height = Image.open(pictures / "figure2.png").size
    assert width > 1000 and height > 200


def test_evaluating_twice_writes_the_same_bits(evaluated):
    folder, printed = evaluated
    before = files(folder)
    again = run("evaluate.py", folder, "--split", "val", cwd=folder.parent)
    assert again.stdout == printed and files(folder) == before


def test_without_turns_and_by_the_last_weights_it_is_another_table(evaluated):
    folder, printed = evaluated
    other = run("evaluate.py", "run", "--split", "val", "--no-tta", "--checkpoint", "last", cwd=folder.parent)
    assert other.returncode == 0, other.stderr
    assert "averaged over flips and turns" in printed and "averaged" not in other.stdout and other.stdout != printed


def test_a_class_only_network_has_no_pixels_and_no_pictures(tiny_data, tmp_path):
    options = [*TINY, "--network", "class", "--iterations", "2", "--data", tiny_data, "--out", "class"]
    result = run("train.py", *options, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    lines = {line.split("  ")[0]: line.split() for line in result.stdout.splitlines()}
    assert lines["pixel ACC %"][-2:] == ["-", "-"] and float(lines["class ACC %"][3]) >= 0
    assert "figure2" not in result.stdout and not (tmp_path / "class" / "evaluation" / "test" / "figure2.png").exists()
    one = run("evaluate.py", "class", "--image", tiny_data / "train_1.png", cwd=tmp_path)
    assert one.returncode == 0 and one.stdout.splitlines()[-1].split()[-2:] == ["-", "-"]
    assert not (tmp_path / "class" / "images").exists()


def test_any_image_is_classified_and_segmented_at_its_own_size(evaluated, tiny_data, tmp_path):
    folder, _ = evaluated
    picture = Image.open(tiny_data / "train_2.png").resize((90, 40))
    kinds = {"colour.png": "RGB", "grey.png": "L", "glass.png": "RGBA", "palette.bmp": "P", "photo.jpg": "RGB"}
    for name, mode in kinds.items():
        picture.convert(mode).save(tmp_path / name)
    result = run("evaluate.py", folder, "--image", *kinds, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    rows = [line.split() for line in result.stdout.splitlines() if line.split()[:1] and line.split()[0] in kinds]
    assert [row[0] for row in rows] == list(kinds)
    for name, kind, score, glands, share in rows:
        mask = np.asarray(Image.open(folder / "images" / f"{name.split('.')[0]}_mask.png"))
        assert mask.shape == (40, 90) and mask.max() == int(glands)
        assert float(share) == pytest.approx(100 * (mask > 0).mean(), abs=0.051)
        assert kind in ("benign", "malignant") and 0.5 <= float(score) <= 1
        assert Image.open(folder / "images" / f"{name.split('.')[0]}_overlay.png").size == (90, 40)


BAD = {
    "no such run": (["nowhere"], ["nowhere does not exist", "train.py printed"]),
    "a file for a run": (["data/Grade.csv"], ["Grade.csv is not a folder"]),
    "a folder that is no run": (["data"], ["data is not a run", "config.json"]),
    "no run at all": ([], ["name a run", "--image FILE"]),
    "a run without a checkpoint": (["fresh"], ["last.npz does not exist"]),
    "a run of another format": (["odd"], ["config.json is not the configuration of a run"]),
    "a broken config": (["broken"], ["config.json cannot be read as JSON"]),
    "a damaged checkpoint": (["damaged"], ["best.npz cannot be read", "other checkpoint"]),
    "no such part": (["run", "--split", "testA"], ["no images of part testA"]),
    "an unknown set": (["run", "--split", "mine"], ["--split", "'mine'"]),
    "no such data": (["run", "--data", "nowhere"], ["nowhere is not a folder"]),
    "no such image": (["run", "--image", "data/train_1.png", "none.png"], ["none.png does not exist"]),
    "no image": (["run", "--image", "data/train_1.png", "data/Grade.csv"], ["Grade.csv cannot be read as an image"]),
    "a folder for an image": (["run", "--image", "data"], ["data cannot be read as an image"]),
    "a truncated image": (["run", "--image", "data/cut.png"], ["cut.png", "truncated"]),
    "a set for an image": (["run", "--split", "val", "--image", "data/train_1.png"], ["--split", "--image"]),
    "a 16-bit image": (["run", "--image", "data/deep.png"], ["deep.png has mode I;16", "8 bits"]),
    "an empty array": (["run", "--image", "data/empty.npy"], ["empty.npy cannot be read as an array"]),
    "several arrays": (["run", "--image", "data/several.npy"], ["several.npy holds several arrays"]),
    "two of one name": (["run", "--image", "data/train_1.png", "fresh/train_1.png"], ["two images are named train_1"]),
}


@pytest.fixture(scope="module")
def bad_place(tiny_data, tiny_run, tmp_path_factory):
    place = tmp_path_factory.mktemp("bad")
    shutil.copytree(tiny_data, place / "data")
    whole = (place / "data" / "train_1.png").read_bytes()
    (place / "data" / "cut.png").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(np.full((40, 40), 9000, np.uint16)).save(place / "data" / "deep.png")
    (place / "data" / "empty.npy").touch()
    shutil.copyfile(tiny_run / "best.npz", place / "data" / "several.npy")
    for name in ("run", "fresh", "odd", "broken", "damaged"):
        shutil.copytree(tiny_run, place / name)
    for name in ("best.npz", "last.npz"):
        (place / "fresh" / name).unlink()
    (place / "odd" / "config.json").write_text('["something", "else"]')
    (place / "broken" / "config.json").write_text('{"network": "joi')
    weights = place / "damaged" / "best.npz"
    weights.write_bytes(weights.read_bytes()[:20_000])
    return place


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_nothing_is_written(bad_place, case):
    before = files(bad_place)
    options, parts = BAD[case]
    assert_one_sentence(run("evaluate.py", *options, cwd=bad_place), *parts)
    assert files(bad_place) == before


def test_a_reader_that_goes_away_leaves_no_traceback(tiny_data, tiny_run, tmp_path):
    run_folder = shutil.copytree(tiny_run, tmp_path / "run")
    process = start("evaluate.py", run_folder, "--image", tiny_data / "train_1.png", cwd=tmp_path)
    process.stdout.close()
    assert sentences(process.stderr.read()) == [] and process.wait(timeout=60) == 1


def test_data_that_have_moved_serve_for_validation_too_and_are_named(tiny_data, tmp_path):
    moved = shutil.copytree(tiny_data, tmp_path / "there")
    assert run("train.py", "--data", moved, "--out", "run", *TINY, cwd=tmp_path).returncode == 0
    before = run("evaluate.py", "run", cwd=tmp_path).stdout
    moved.rename(tmp_path / "elsewhere")
    result = run("evaluate.py", "run", "--data", "elsewhere", "--checkpoint", "last", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "images of elsewhere" in result.stdout and "last.npz" in result.stdout
    assert "images of there" not in before and "last.npz" not in before


def test_a_place_where_nothing_may_be_written_is_one_sentence(evaluated, tiny_data, tmp_path):
    folder, _ = evaluated
    copy = shutil.copytree(folder, tmp_path / "run")
    shutil.rmtree(copy / "evaluation")
    (copy / "evaluation").write_text("in the way")
    result = run("evaluate.py", "run", "--split", "val", cwd=tmp_path)
    assert_one_sentence(result, "run/evaluation/val", "cannot be written")
    assert sentences(result.stderr)


def test_help_tells_measuring_from_any_image(tmp_path):
    text = run("evaluate.py", "--help", cwd=tmp_path).stdout
    assert "\nmeasure:\n" in text and "\nany image:\n" in text and "None" not in text and "False" not in text


def test_the_papers_values_stand_beside_real_images_only(tiny_run, tmp_path):
    real = run("evaluate.py", tiny_run, "--split", "val", cwd=tmp_path)
    assert " paper" in real.stdout and "89.0" in real.stdout
    copied = shutil.copytree(tiny_run, tmp_path / "run")
    options = checkpoint.load_options(copied)
    painted = shutil.copytree(options.data_folder, tmp_path / "painted")
    (painted / phantom.MARKER).write_text("{}")
    checkpoint.save_options(copied, replace(options, data=str(painted)))
    result = run("evaluate.py", copied, "--split", "val", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert " paper" not in result.stdout and "89.0" not in result.stdout
    written = json.loads((copied / "evaluation" / "val" / "table.json").read_text())
    assert {entry["paper"] for entry in written["summary"]} == {None}
