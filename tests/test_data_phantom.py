"""The phantom set: the layout, statistics and difficulty of the real one."""

import json

import numpy as np
import pytest
from scipy import ndimage
from scripts import files

from gland.data import phantom, read
from gland.data.tissue import paint
from gland.errors import InputError

PIXEL = 0.62  # um


@pytest.fixture(scope="module")
def painted():
    """Seven fields of each class, benign and malignant: (image, instances)."""
    return [
        [paint(np.random.default_rng([7, k, malignant]), 522, 775, bool(malignant)) for k in range(7)]
        for malignant in (0, 1)
    ]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return phantom.write(tmp_path_factory.mktemp("set") / "phantom", {"train": 5, "testA": 2}, seed=4)


def of_both(painted, measure):
    return [np.array([measure(*field) for field in fields]) for fields in painted]


def test_gland_area_is_near_that_of_the_real_images(painted):  # real: 0.42 benign, 0.57 malignant, 0.50 +- 0.16 in all
    benign, malignant = of_both(painted, lambda image, instances: (instances > 0).mean())
    assert 0.3 < benign.mean() < 0.55 and 0.42 < malignant.mean() < 0.72 and benign.mean() < malignant.mean()
    assert 0.08 < np.concatenate([benign, malignant]).std() < 0.25


def test_gland_counts_are_near_those_of_the_real_images(painted):  # real: 11.7 benign, 7.0 malignant
    counts = of_both(painted, lambda image, instances: len(np.unique(instances)) - 1)
    benign, malignant = (count.mean() for count in counts)
    assert 8 < benign < 16 and 4.5 < malignant < 10 and benign > 1.2 * malignant


def test_gland_sizes_are_near_those_of_the_real_images(painted):  # real medians: 71 um benign, 93 um malignant
    def median(fields):
        areas = np.concatenate([np.bincount(instances.ravel())[1:] for _, instances in fields])
        return np.median(np.sqrt(4 * areas[areas > 0] / np.pi)) * PIXEL

    benign, malignant = map(median, painted)
    assert 55 < benign < 90 and 70 < malignant < 125 and benign < malignant


def mean_colours(painted):
    return np.concatenate(of_both(painted, lambda image, _: image.mean(axis=(0, 1)))), np.repeat([0, 1], 7)


def test_stain_varies_as_in_the_real_images(painted):  # real: mean 201/130/200, sd 13.5/31.2/14.8
    colours, _ = mean_colours(painted)
    np.testing.assert_allclose(colours.mean(axis=0), [200.8, 130.4, 200.2], atol=20)
    ratio = colours.std(axis=0) / [13.5, 31.2, 14.8]
    assert 0.5 < ratio.min() and ratio.max() < 1.8


def colour_accuracy(colours, classes):
    """Leave-one-out accuracy of a linear classifier (least squares) on mean RGB."""
    x = np.column_stack([np.ones(len(colours)), (colours - colours.mean(axis=0)) / colours.std(axis=0)])
    hits = 0
    for i in range(len(x)):
        rest = np.arange(len(x)) != i
        w = np.linalg.solve(x[rest].T @ x[rest] + 0.1 * np.eye(4), x[rest].T @ (2 * classes[rest] - 1))
        hits += (x[i] @ w > 0) == classes[i]
    return hits / len(x)


def test_mean_colour_does_not_tell_the_class(painted):
    assert colour_accuracy(*mean_colours(painted)) <= 0.7


def test_a_painter_that_stains_by_class_is_caught(painted):  # the planted mistake
    colours, classes = mean_colours(painted)
    colours[classes == 1] += [0, -20, 15]
    assert colour_accuracy(colours, classes) > 0.85


def test_nuclei_lie_in_rows_at_the_border_of_benign_glands(painted):
    """Dark pixels just inside a gland's border against deeper ones: the basal row that malignant glands lose."""

    def contrast(image, instances):
        depth = ndimage.distance_transform_edt(instances > 0)
        dark = image[..., 0].astype(float)
        return dark[(depth > 24) & (depth < 34)].mean() - dark[(depth > 5) & (depth < 14)].mean()

    benign, malignant = of_both(painted, contrast)
    assert benign.min() > malignant.max()


def test_the_reader_takes_the_set_as_the_real_one(written):
    samples = read(written)
    assert [s.name for s in samples] == [f"train_{i}" for i in range(1, 6)] + ["testA_1", "testA_2"]
    assert [sum(s.malignant for s in samples if s.part == part) for part in ("train", "testA")] == [3, 1]
    assert {s.image.shape[:2] for s in samples} <= {(522, 775), (453, 589)}
    for s in samples:
        numbers = np.unique(s.instances)
        np.testing.assert_array_equal(numbers, np.arange(numbers.size))  # 0, 1, 2, ... as in the release


def test_visual_fields_found_are_those_painted(written):
    found = {s.name: s.visual_field for s in read(written)}
    painted = [f.names for f in phantom.plan({"train": 5, "testA": 2}, 4)]
    assert all(len({found[name] for name in names}) == 1 for names in painted)
    assert len(set(found.values())) == len(painted)


def test_grade_csv_has_the_releases_spaces(written):
    lines = (written / "Grade.csv").read_bytes().split(b"\r\n")
    assert lines[0].decode() == phantom.HEADING
    assert all(b", benign, " in line or b", malignant, " in line for line in lines[1:-1])


@pytest.fixture
def quick(monkeypatch):
    """A painter that costs nothing, and counts."""
    calls = []

    def paint(rng, h, w, malignant):
        calls.append((h, w, malignant))
        pixels = rng.integers(0, 256, (-(-h // 10), -(-w // 10), 3), np.uint8)
        image = np.kron(pixels, np.ones((10, 10, 1), np.uint8))[:h, :w]
        return image, (image[..., 0] > 128).astype(np.int32)

    monkeypatch.setattr(phantom, "paint", paint)
    return calls


def test_the_same_seed_writes_the_same_files_whatever_the_number_of_threads(tmp_path):
    a = phantom.write(tmp_path / "a", 2, seed=1, workers=1)
    b = phantom.write(tmp_path / "b", 2, seed=1, workers=3)
    assert files(a) == files(b)


def test_a_complete_set_is_not_painted_again(tmp_path, quick):
    before = files(phantom.write(tmp_path, 10))
    painted = len(quick)
    assert files(phantom.write(tmp_path, 10)) == before and len(quick) == painted


def test_another_seed_replaces_the_set(tmp_path, quick):
    before = files(phantom.write(tmp_path, 10, seed=0))
    assert files(phantom.write(tmp_path, 10, seed=1)) != before
    assert json.loads((tmp_path / phantom.MARKER).read_text())["seed"] == 1


def test_a_set_that_lacks_a_file_is_painted_anew(tmp_path, quick):
    before = files(phantom.write(tmp_path, 10))
    (tmp_path / "train_4_anno.png").unlink()
    assert files(phantom.write(tmp_path, 10)) == before


def test_of_two_processes_that_paint_one_set_the_second_leaves_the_firsts_in_place(tmp_path, quick, monkeypatch):
    painting = phantom._paint_all

    def another_is_faster(*arguments):
        monkeypatch.setattr(phantom, "_paint_all", painting)
        phantom.write(tmp_path / "p", 4)
        (tmp_path / "p" / "in use").touch()
        painting(*arguments)

    monkeypatch.setattr(phantom, "_paint_all", another_is_faster)
    phantom.write(tmp_path / "p", 4)
    assert (tmp_path / "p" / "in use").exists()
    assert [file.name for file in tmp_path.iterdir()] == ["p"]


def test_a_place_that_cannot_be_written_to_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot be written to .*file/p: (Not a directory|File exists)"):
        phantom.write(tmp_path / "file" / "p", 2)


def test_an_interrupted_set_leaves_nothing_and_is_redone(tmp_path, quick, monkeypatch):
    working = phantom.paint

    def interrupted(*arguments):
        if len(quick) >= 2:
            raise KeyboardInterrupt
        return working(*arguments)

    monkeypatch.setattr(phantom, "paint", interrupted)
    with pytest.raises(KeyboardInterrupt):
        phantom.write(tmp_path / "p", 20)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(phantom, "paint", working)
    assert len(list(phantom.write(tmp_path / "p", 20).glob("train_*_anno.png"))) == 20


def test_a_folder_of_other_things_is_never_overwritten(tmp_path, quick):
    (tmp_path / "train_1.png").write_text("precious")
    with pytest.raises(InputError, match="is not a phantom set"):
        phantom.write(tmp_path, 4)
    assert (tmp_path / "train_1.png").read_text() == "precious"


def test_what_is_not_the_sets_is_never_painted_over(tmp_path, quick):
    folder = phantom.write(tmp_path / "set", 2)
    (folder / "mine.txt").write_text("precious")
    assert phantom.write(folder, 2) == folder  # whole: nothing is painted
    with pytest.raises(InputError, match=r"mine\.txt"):
        phantom.write(folder, 2, seed=1)
    assert (folder / "mine.txt").read_text() == "precious"


@pytest.mark.parametrize("images", [0, -3, {"train": 0}])
def test_no_images_is_one_sentence(tmp_path, images):
    with pytest.raises(InputError, match="cannot be made"):
        phantom.write(tmp_path / "p", images)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 48, 85])
def test_the_plan_names_every_image_once_and_halves_the_classes(count):
    fields = phantom.plan({"train": count}, seed=0)
    assert sorted(name for field in fields for name in field.names) == sorted(f"train_{i + 1}" for i in range(count))
    assert sum(len(f.names) for f in fields if f.malignant) == count - count // 2
    assert all(len(f.names) == f.grid[0] * f.grid[1] for f in fields)
    patients = {(f.patient, f.malignant) for f in fields}
    assert len(patients) == len({patient for patient, _ in patients})  # a patient has one diagnosis
