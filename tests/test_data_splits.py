"""Splits and the visual fields they rest on: what belongs together stays together."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from gland.data import Sample, Split, choose, find_visual_fields, folds, split
from gland.errors import InputError

BLANK = np.zeros((1, 1, 3), np.uint8)


def samples_of(groups):
    """Samples of these (group, malignant); the patient is half the group's number."""
    glands = np.zeros((1, 1), np.int32)
    return [Sample(f"train_{i}", BLANK, glands, bool(m), g // 2, g) for i, (g, m) in enumerate(groups)]


def straddling(samples, sets, key):
    """The groups that stand in more than one set, and whether every sample stands in exactly one."""
    home = {name: number for number, names in enumerate(sets) for name in names}
    complete = sorted(name for names in sets for name in names) == sorted(s.name for s in samples)
    homes = {}
    for s in samples:
        homes.setdefault(getattr(s, key), set()).add(home.get(s.name))
    return [group for group, places in homes.items() if len(places) > 1], complete


GROUPED = st.lists(st.tuples(st.integers(0, 14), st.booleans()), min_size=12, max_size=60)
GROUPED = GROUPED.filter(lambda groups: len({g // 2 for g, _ in groups}) >= 5).map(samples_of)


@settings(max_examples=60)
@given(GROUPED, st.sampled_from(["visual_field", "patient", "image"]), st.integers(0, 99))
def test_no_group_straddles_a_split(samples, by, seed):
    sets = split(samples, by, seed)
    broken, complete = straddling(samples, sets, "name" if by == "image" else by)
    assert not broken and complete and all(sets)


@settings(max_examples=40)
@given(GROUPED, st.sampled_from(["visual_field", "patient"]), st.integers(2, 5), st.integers(0, 99))
def test_no_group_straddles_a_fold_and_each_sample_is_tested_once(samples, by, k, seed):
    try:
        made = folds(samples, k, by, seed)
    except InputError as error:  # one group may hold so much that a single other is left
        assume("too few groups" not in str(error))
        raise
    tested = Counter(name for sets in made for name in sets.test)
    assert tested == Counter(s.name for s in samples)
    for sets in made:
        broken, complete = straddling(samples, sets, by)
        assert not broken and complete and all(sets)


def test_a_split_by_image_is_caught_straddling_visual_fields():  # the planted mistake
    samples = samples_of([(i // 4, i // 4 % 2) for i in range(48)])
    assert straddling(samples, split(samples, "image"), "visual_field")[0]
    assert straddling(samples, Split(["train_0"], [], []), "visual_field")[1] is False


def shares(samples, sets):
    """(sets, classes): the part of each class that each set received."""
    malignant = {s.name: s.malignant for s in samples}
    counts = np.array([[sum(malignant[n] == m for n in names) for m in (False, True)] for names in sets])
    return counts / counts.sum(axis=0)


@pytest.mark.parametrize("seed", range(5))
def test_a_split_is_70_10_20_in_both_classes(seed):
    samples = samples_of([(i // 4, i // 4 % 3 > 0) for i in range(120)])
    np.testing.assert_allclose(shares(samples, split(samples, seed=seed)), [[0.7] * 2, [0.1] * 2, [0.2] * 2], atol=0.06)


@pytest.mark.parametrize("by", ["visual_field", "patient", "image"])
def test_the_real_images_split_70_10_20_in_both_classes(warwick_samples, by):
    got = shares(warwick_samples, split(warwick_samples, by, seed=1))
    np.testing.assert_allclose(got, [[0.7] * 2, [0.1] * 2, [0.2] * 2], atol=0.04)


def test_the_seed_decides_the_split():
    samples = samples_of([(i // 2, i // 2 % 2) for i in range(60)])
    assert split(samples, seed=3) == split(samples, seed=3) != split(samples, seed=4)
    assert folds(samples, seed=3) == folds(samples, seed=3) != folds(samples, seed=4)


def test_choose_returns_the_named_samples_in_order():
    samples = samples_of([(i, i % 2) for i in range(5)])
    assert [s.name for s in choose(samples, ["train_3", "train_1"])] == ["train_3", "train_1"]
    with pytest.raises(InputError, match="train_9 is part of the split"):
        choose(samples, ["train_9"])


IMPOSSIBLE = {
    "'colour' is no way to split": lambda s: split(s, "colour"),
    "3 sets by visual_field need at least 3 groups, there are 2": lambda s: split(s[:4]),
    "1 folds cannot be made": lambda s: folds(s, 1),
    "train_0 has no patient number": lambda s: split([s[0]._replace(patient=None), *s[1:]], "patient"),
}


@pytest.mark.parametrize("message", IMPOSSIBLE)
def test_what_cannot_be_split_is_one_sentence(message):
    with pytest.raises(InputError, match=message):
        IMPOSSIBLE[message](samples_of([(i // 2, i % 2) for i in range(20)]))


def tissue_like(seed, h, w):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(h, w, 3)), (2, 2, 0))
    return np.clip(128 + 400 * noise, 0, 255).astype(np.uint8)


def tiles(seed, down=2, across=2, h=60, w=90):
    field = tissue_like(seed, down * h, across * w)
    return [field[i * h : (i + 1) * h, j * w : (j + 1) * w] for i in range(down) for j in range(across)]


def partition(numbers):
    return [numbers.index(n) for n in numbers]


def test_tiles_of_one_field_are_found_whatever_their_order():
    truth = [field for field in range(6) for _ in range(4)]
    images = [tile for field in range(6) for tile in tiles(field)]
    order = np.random.default_rng(0).permutation(len(images))
    assert partition(find_visual_fields([images[i] for i in order])) == partition([truth[i] for i in order])


def test_fields_of_other_tile_sizes_and_missing_tiles_are_no_trouble():
    images = [*tiles(1)[:3], *tiles(2, 1, 2, 40, 70), tissue_like(3, 33, 44)]
    assert find_visual_fields(images) == [0, 0, 0, 1, 1, 2]


def test_tiles_that_do_not_continue_each_other_stay_apart():  # the planted mistake: every tile rolled by another amount
    rolled = [np.roll(tile, (11 * k, 17 * k), axis=(0, 1)) for k, tile in enumerate(tiles(0), 1)]
    assert find_visual_fields(rolled) == [0, 1, 2, 3]


def test_bare_glass_of_one_tint_continues_nothing():
    rng = np.random.default_rng(0)
    glass = [np.clip(rng.normal([245, 238, 243], 2, (50, 60, 3)), 0, 255).astype(np.uint8) for _ in range(3)]
    assert find_visual_fields([*glass, np.full((50, 60, 3), 250, np.uint8)]) == [0, 1, 2, 3]


def test_split_finds_visual_fields_by_itself():
    known = samples_of([(i // 4, i // 4 % 2) for i in range(24)])
    images = [image for field in range(6) for image in tiles(field)]
    unknown = [s._replace(image=image, visual_field=None) for s, image in zip(known, images, strict=True)]
    assert split(unknown, seed=2) == split(known, seed=2)
