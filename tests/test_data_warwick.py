"""The reader: the release as it is, and one clear sentence for everything that can be wrong with a folder."""

import csv
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scripts import damage

from gland.data import read, read_image, release_warnings, summary, to_input
from gland.data.__main__ import main
from gland.data.sample import FLAT
from gland.errors import InputError

HEADING = "name,patient ID, grade (GlaS), grade (Sirinukunwattana et al. 2015)\r\n"
ROWS = {
    "train_1": "train_1,5, benign, healthy\r\n",
    "train_10": "train_10,2, malignant, moderately-to-poorly differentated\r\n",
    "train_2": "train_2,5, benign, adenomatous\r\n",
    "testA_1": "testA_1,7, malignant, poorly differentiated\r\n",
    "testB_3": "testB_3,2, malignant, moderately-to-poorly differentated\r\n",
}
ABSENT = "train_85,9, benign, healthy\r\n"  # as released, the table lists images that a folder need not hold


def save(folder, name, suffix=".png", size=(9, 7), seed=0):
    rng = np.random.default_rng([seed, len(name)])
    Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8)).save(folder / f"{name}{suffix}")
    Image.fromarray(rng.integers(0, 4, (size[1], size[0]), np.uint8)).save(folder / f"{name}_anno{suffix}")


@pytest.fixture
def folder(tmp_path):
    for seed, name in enumerate(ROWS):
        save(tmp_path, name, seed=seed)
    (tmp_path / "Grade.csv").write_text(HEADING + "".join(ROWS.values()) + ABSENT, newline="")
    return tmp_path


def test_read_orders_by_part_and_number_and_takes_class_and_patient_from_the_released_table(folder):
    assert [s.name for s in read(folder)] == ["train_1", "train_2", "train_10", "testA_1", "testB_3"]
    assert [(s.malignant, s.patient) for s in read(folder, ["train"])] == [(False, 5), (False, 5), (True, 2)]


def test_read_gives_the_pixels_of_the_files(folder):
    sample = read(folder)[0]
    np.testing.assert_array_equal(sample.image, np.asarray(Image.open(folder / "train_1.png")))
    np.testing.assert_array_equal(sample.instances, np.asarray(Image.open(folder / "train_1_anno.png")))
    assert sample.image.dtype == np.uint8 and sample.instances.dtype == np.int32


def test_bmp_reads_as_png(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("bmp")
    shutil.copy(folder / "Grade.csv", other)
    for file in folder.glob("*.png"):
        Image.open(file).save(other / f"{file.stem}.bmp")
    for a, b in zip(read(folder), read(other), strict=True):
        assert a.name == b.name
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.instances, b.instances)


def test_a_palette_annotation_reads_as_its_indices(folder):
    anno = Image.open(folder / "train_1_anno.png")
    numbers = np.array(anno)
    anno.putpalette([255 - i // 3 for i in range(768)])
    anno.save(folder / "train_1_anno.png")
    assert Image.open(folder / "train_1_anno.png").mode == "P"
    np.testing.assert_array_equal(read(folder)[0].instances, numbers)


def edit_grades(old, new):
    def edit(folder):
        text = (folder / "Grade.csv").read_bytes().decode()
        assert old in text
        (folder / "Grade.csv").write_text(text.replace(old, new), newline="")

    return edit


def resave(name, change):
    return lambda folder: change(Image.open(folder / name)).save(folder / name)


def truncate(name, keep):
    return lambda folder: damage(folder / name, keep)


BROKEN = {
    "no folder": (shutil.rmtree, ["is not a folder"]),
    "missing mask": (lambda f: (f / "train_2_anno.png").unlink(), ["train_2.png", "train_2_anno.png is missing"]),
    "sizes differ": (resave("train_2_anno.png", lambda i: i.resize((8, 7))), ["train_2_anno.png", "8x7", "9x7"]),
    "absent from Grade.csv": (edit_grades(ROWS["train_2"], ""), ["train_2.png", "Grade.csv"]),
    "unknown grade": (edit_grades("train_10,2, malignant", "train_10,2, odd"), ["train_10", "'odd'", "Grade.csv"]),
    "no grade": (edit_grades(ROWS["train_10"], "train_10\r\n"), ["train_10", "''"]),
    "odd patient": (edit_grades("train_10,2", "train_10,two"), ["train_10", "'two'"]),
    "named twice": (edit_grades(ROWS["train_1"], ROWS["train_1"] * 2), ["Grade.csv", "train_1 twice"]),
    "wrong heading": (edit_grades(" grade (GlaS)", " verdict"), ["Grade.csv", "'grade (GlaS)'"]),
    "empty table": (lambda f: (f / "Grade.csv").write_text(""), ["Grade.csv", "'name'"]),
    "table of bytes": (lambda f: (f / "Grade.csv").write_bytes(b"\xff\xfe\x00"), ["Grade.csv", "text"]),
    "no table": (lambda f: (f / "Grade.csv").unlink(), ["Grade.csv is missing"]),
    "grey image": (resave("train_1.png", lambda i: i.convert("L")), ["train_1.png", "mode L", "RGB"]),
    "transparent image": (resave("train_1.png", lambda i: i.convert("RGBA")), ["train_1.png", "mode RGBA"]),
    "coloured mask": (resave("train_1_anno.png", lambda i: i.convert("RGB")), ["train_1_anno.png", "mode RGB"]),
    "truncated image": (truncate("train_1.png", 120), ["train_1.png", "truncated"]),
    "truncated mask": (truncate("train_1_anno.png", 60), ["train_1_anno.png", "truncated"]),
    "empty image": (truncate("train_1.png", 0), ["train_1.png", "truncated"]),
    "not an image": (lambda f: (f / "train_1.png").write_text("hello"), ["train_1.png", "cannot be read as an image"]),
    "two of a name": (lambda f: save(f, "train_1", ".bmp"), ["train_1.bmp", "train_1.png"]),
    "no image": (lambda f: [file.unlink() for file in f.glob("*.png")], ["holds no image"]),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_every_fault_is_one_sentence_that_names_the_file(folder, fault):
    spoil, parts = BROKEN[fault]
    spoil(folder)
    with pytest.raises(InputError) as caught:
        read(folder)
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".") and all(part in message for part in parts), message


def test_an_unknown_part_is_said_so(folder):
    with pytest.raises(InputError, match="'testC' is not a part"):
        read(folder, ["testC"])


@settings(max_examples=40)
@given(keep=st.floats(0, 0.9), flip=st.integers(0, 2**31))
def test_no_damage_to_an_image_escapes_as_another_exception(tmp_path_factory, keep, flip):
    folder = tmp_path_factory.mktemp("damage")
    save(folder, "train_1", size=(31, 27))
    data = bytearray((folder / "train_1.png").read_bytes())
    data[flip % len(data)] ^= 0x5A
    (folder / "train_1.png").write_bytes(data[: int(keep * len(data))])
    with pytest.raises(InputError, match=r"train_1\.png"):
        read_image(folder / "train_1.png")


def test_release_warnings_compare_every_part(folder):
    warnings = release_warnings(read(folder))
    assert warnings[0] == "train has 3 images (2 benign, 1 malignant); the release has 85 (37 and 48)."
    assert [w.split()[0] for w in warnings] == ["train", "testA", "testB"]


def test_summary_counts_each_part_and_class(folder):
    lines = summary(read(folder)).splitlines()
    assert lines[1].split() == ["train", "benign", "2", "6", "1", "2"]
    assert lines[4].split() == ["testA", "malignant", "1", "3", "1", "1"]


def test_the_command_prints_the_summary_or_one_sentence(folder, capsys):
    assert main([str(folder)]) == 0
    assert "malignant" in capsys.readouterr().out
    assert main([str(folder / "x")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_to_input_centres_scales_and_is_channels_last():
    images = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    x = to_input(images)
    assert x.shape == (2, 3, 4, 5) and x.dtype == np.float32 and x.transpose(0, 2, 3, 1).flags.c_contiguous
    channel = images[1, ..., 2].astype(float)
    expected = (channel - channel.mean()) / np.sqrt(channel.var() + FLAT**2)
    np.testing.assert_allclose(x[1, 2], expected, rtol=1e-5)


def test_to_input_takes_the_stain_out_and_leaves_a_blank_image_blank():
    image = np.random.default_rng(0).integers(60, 180, (1, 30, 30, 3)).astype(np.float32)
    stained = image * np.float32([0.7, 1.2, 0.9]) + np.float32([20, -30, 5])
    np.testing.assert_allclose(to_input(stained), to_input(image), atol=0.02)  # but for FLAT the same
    assert not to_input(np.full((1, 8, 8, 3), 240, np.uint8)).any()


def test_the_real_training_images_are_read_whole(warwick_samples):
    train = [s for s in warwick_samples if s.part == "train"]
    assert len(train) == 85 and sum(s.malignant for s in train) == 48
    assert not [w for w in release_warnings(train) if w.startswith("train")]


def test_the_real_visual_fields_equal_the_derived_table(warwick_dir, warwick_samples):
    table = warwick_dir / "visual_fields.csv"
    if not table.exists():
        pytest.skip("visual_fields.csv is not part of the release; it is only this test's oracle")
    with table.open() as file:
        oracle = {row["name"]: row["visual_field"] for row in csv.DictReader(file)}
    found = {s.name: s.visual_field for s in warwick_samples if s.name in oracle}
    pairs = {(found[name], oracle[name]) for name in oracle}
    assert len(pairs) == len(set(found.values())) == len(set(oracle.values()))  # one to one: the same partition
