"""evaluate.py as its users meet it: tables that agree with each other, pictures, any image, and what can be wrong."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scripts import TINY, files, finish, sentences, start

from gland.data import phantom, read, resize, to_input
from gland.evaluation.scores import COLUMNS, MORE_COLUMNS
from gland.training import checkpoint

TITLES = [column.title for column in (*COLUMNS, *MORE_COLUMNS)]


@pytest.fixture(scope="module")
def evaluated(tiny_run, tmp_path_factory):
    """A copy of the run, evaluated on its validation images: (folder, what was printed)."""
    folder = shutil.copytree(tiny_run, tmp_path_factory.mktemp("evaluated") / "run")
    shutil.rmtree(folder / "evaluation")
    return folder, finish("evaluate.py", folder, "--split", "val", cwd=folder.parent)


def table(folder):
    return json.loads((folder / "evaluation" / "val" / "table.json").read_text())


def test_the_table_on_screen_in_csv_and_in_json_is_one_table(evaluated):
    folder, printed = evaluated
    written = table(folder)
    with (folder / "evaluation" / "val" / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["figure"] for row in rows] == [entry["figure"] for entry in written["summary"]] == TITLES
    assert written["setting"] in printed and "split by visual_field" in printed
    for row, entry in zip(rows, written["summary"], strict=True):
        assert float(row["value"]) == entry["value"] and entry["low"] <= entry["value"] <= entry["high"]
        line = next(line for line in printed.splitlines() if line.startswith(f"{entry['figure']}  "))
        shown = float(line.removeprefix(entry["figure"]).split()[0])
        assert shown == pytest.approx(entry["value"], abs=0.051 if entry["digits"] == 1 else 0.00051)


def test_the_figures_are_those_of_the_images_and_the_network(evaluated, tiny_data):
    folder, _ = evaluated
    written, names, network = table(folder), checkpoint.load_options(folder).sets.val, checkpoint.load_network(folder)
    assert [row["name"] for row in written["images"]] == names
    samples = [s for s in read(tiny_data) if s.name in names]
    scores = [network.predict(to_input([resize(s, network.scale).image])).q[0] for s in samples]
    right = [bool(q[1] > q[0]) == s.malignant for q, s in zip(scores, samples, strict=True)]
    assert written["summary"][0] == written["summary"][0] | {"figure": "class ACC %", "value": 100 * np.mean(right)}


def test_overlays_and_figure_2_show_every_image_at_its_size(evaluated):
    folder, _ = evaluated
    pictures = folder / "evaluation" / "val"
    overlays = {file.stem: Image.open(file).size for file in (pictures / "overlays").iterdir()}
    assert overlays == dict.fromkeys(checkpoint.load_options(folder).sets.val, (64, 64))
    width, height = Image.open(pictures / "figure2.png").size
    assert width > 1000 and height > 200


def test_evaluating_twice_writes_the_same_bits(evaluated):
    folder, printed = evaluated
    before = files(folder)
    again = finish("evaluate.py", folder, "--split", "val", cwd=folder.parent)
    assert again == printed and files(folder) == before


def test_without_turns_and_by_the_last_weights_it_is_another_table(evaluated):
    folder, printed = evaluated
    other = finish("evaluate.py", "run", "--split", "val", "--no-tta", "--checkpoint", "last", cwd=folder.parent)
    assert "averaged over flips and turns" in printed and "averaged" not in other and other != printed


def test_a_class_only_network_has_no_pixels_and_no_pictures(tiny_data, tmp_path):
    options = [*TINY, "--network", "class", "--iterations", "2", "--data", tiny_data, "--out", "class"]
    printed = finish("train.py", *options, cwd=tmp_path)
    lines = {line.split("  ")[0]: line.split() for line in printed.splitlines()}
    assert lines["pixel ACC %"][-2:] == ["-", "-"] and float(lines["class ACC %"][3]) >= 0
    assert "figure2" not in printed and not (tmp_path / "class" / "evaluation" / "test" / "figure2.png").exists()
    one = finish("evaluate.py", "class", "--image", tiny_data / "train_1.png", cwd=tmp_path)
    assert one.splitlines()[-1].split()[-2:] == ["-", "-"] and not (tmp_path / "class" / "images").exists()


def test_any_image_is_classified_and_segmented_at_its_own_size(evaluated, tiny_data, tmp_path):
    folder, _ = evaluated
    picture = Image.open(tiny_data / "train_2.png").resize((90, 40))
    kinds = {"colour.png": "RGB", "grey.png": "L", "glass.png": "RGBA", "palette.bmp": "P", "photo.jpg": "RGB"}
    for name, mode in kinds.items():
        picture.convert(mode).save(tmp_path / name)
    lines = finish("evaluate.py", folder, "--image", *kinds, cwd=tmp_path).splitlines()
    rows = [line.split() for line in lines if line.split()[:1] and line.split()[0] in kinds]
    assert [row[0] for row in rows] == list(kinds)
    for name, kind, score, glands, share in rows:
        mask, overlay = (Image.open(folder / "images" / f"{name.split('.')[0]}_{of}.png") for of in ("mask", "overlay"))
        assert mask.size == overlay.size == (90, 40) and np.max(mask) == int(glands)
        assert float(share) == pytest.approx(100 * (np.asarray(mask) > 0).mean(), abs=0.051)
        assert kind in ("benign", "malignant") and 0.5 <= float(score) <= 1


def test_a_reader_that_goes_away_leaves_no_traceback(tiny_data, tiny_run, tmp_path):
    folder = shutil.copytree(tiny_run, tmp_path / "run")
    process = start("evaluate.py", folder, "--image", tiny_data / "train_1.png", cwd=tmp_path)
    process.stdout.close()
    assert sentences(process.stderr.read()) == [] and process.wait(timeout=60) == 1


def test_data_that_have_moved_serve_for_validation_too_and_are_named(tiny_data, tmp_path):
    moved = shutil.copytree(tiny_data, tmp_path / "there")
    finish("train.py", "--data", moved, "--out", "run", *TINY, cwd=tmp_path)
    before = finish("evaluate.py", "run", cwd=tmp_path)
    moved.rename(tmp_path / "elsewhere")
    printed = finish("evaluate.py", "run", "--data", "elsewhere", "--checkpoint", "last", cwd=tmp_path)
    assert "images of elsewhere" in printed and "last.npz" in printed
    assert "images of there" not in before and "last.npz" not in before


def test_help_tells_measuring_from_any_image(tmp_path):
    text = finish("evaluate.py", "--help", cwd=tmp_path)
    assert "\nmeasure:\n" in text and "\nany image:\n" in text and "None" not in text and "False" not in text


def test_the_papers_values_stand_beside_real_images_only(evaluated, tiny_data, tmp_path):
    folder, real = evaluated
    assert " paper" in real and "89.0" in real
    copied, painted = shutil.copytree(folder, tmp_path / "run"), shutil.copytree(tiny_data, tmp_path / "painted")
    (painted / phantom.MARKER).write_text("{}")
    checkpoint.save_options(copied, replace(checkpoint.load_options(copied), data=str(painted)))
    printed = finish("evaluate.py", copied, "--split", "val", cwd=tmp_path)
    assert " paper" not in printed and "89.0" not in printed
    assert {entry["paper"] for entry in table(copied)["summary"]} == {None}
