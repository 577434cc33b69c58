"""Augmentation: image and mask move as one, colours move along the stains, and a recipe of nothing changes nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made import sample
from scipy import ndimage

from gland.data import NONE, Recipe
from gland.data.augment import STAINS, augment, jitter_light, jitter_stain, resample, sampling_places

GEOMETRY = Recipe(stain=0, brightness=0, contrast=0)


def self_portrait(seed=0, size=300):
    """A sample whose image shows its own mask: white where there is gland."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(size, size)), 12)
    instances, _ = ndimage.label(noise > 0)
    return sample(instances, image=np.repeat((instances > 0)[..., None], 3, axis=2).astype(np.uint8) * 255)


def misplaced(image, instances):
    """Share of pixels, further than one from the mask's border, where image and mask disagree."""
    mask = instances > 0
    near_border = ndimage.binary_dilation(mask) & ~ndimage.binary_erosion(mask, border_value=1)
    return ((image[..., 1] > 127.5) != mask)[~near_border].mean()


turns = dict(rotation=st.floats(0, 180), flip=st.booleans(), quadrant=st.booleans())
bends = dict(scale=st.floats(0, 0.5), shear=st.floats(0, 0.4), elastic=st.floats(0, 12))


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.builds(GEOMETRY._replace, **turns, **bends))
def test_image_and_mask_move_together(seed, recipe):
    image, instances = augment(self_portrait(), np.random.default_rng(seed), recipe, size=96)
    assert misplaced(image, instances) == 0


def test_a_mask_moved_by_another_field_is_caught():  # the planted mistake
    portrait, upright = self_portrait(), GEOMETRY._replace(rotation=0)
    places = [sampling_places(np.random.default_rng(seed), upright, 96) + 50 for seed in (1, 2)]
    (image, _), (_, instances) = (resample(portrait.image, portrait.instances, p) for p in places)
    assert misplaced(image, instances) > 0.02


@pytest.mark.parametrize("shift", [2, -2])
def test_a_mask_two_pixels_off_is_caught(shift):  # the planted mistake
    image, instances = augment(self_portrait(), np.random.default_rng(0), GEOMETRY, size=96)
    assert misplaced(image, np.roll(instances, shift, axis=0)) > 0.002


def test_instances_keep_their_numbers():
    portrait = self_portrait()
    _, instances = augment(portrait, np.random.default_rng(3), GEOMETRY, size=128)
    assert instances.dtype == np.int32 and set(np.unique(instances)) <= set(np.unique(portrait.instances))


@given(st.integers(0, 2**32))
def test_a_recipe_of_nothing_returns_a_window_of_the_image_exactly(seed):
    colours, numbers = (
        np.random.default_rng(0).integers(0, 256, (70, 80, 3), np.uint8),
        np.arange(70 * 80).reshape(70, 80),
    )
    image, instances = augment(sample(numbers, image=colours), np.random.default_rng(seed), NONE, size=32)
    i, j = divmod(int(instances[0, 0]), 80)
    np.testing.assert_array_equal(instances, numbers[i : i + 32, j : j + 32])
    np.testing.assert_array_equal(image, colours[i : i + 32, j : j + 32])


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not():
    a, b, c = (augment(self_portrait(), np.random.default_rng(seed), Recipe(), 64)[0] for seed in (5, 5, 6))
    assert np.array_equal(a, b) and not np.array_equal(a, c)


@pytest.mark.parametrize("field", ["rotation", "flip", "scale", "shear", "elastic", "stain", "brightness", "contrast"])
def test_every_amount_of_the_recipe_changes_the_picture(field):
    image = np.random.default_rng(1).integers(0, 256, (60, 60, 3), np.uint8)
    blank, only = sample(image[..., 0] * 0, image=image), NONE._replace(**{field: getattr(Recipe(), field)})
    pairs = ([augment(blank, np.random.default_rng(seed), r, 32)[0] for r in (NONE, only)] for seed in range(8))
    changed = [not np.array_equal(*pair) for pair in pairs]
    assert any(changed) and (all(changed) or field == "flip")


def test_rotation_turns_about_the_windows_centre():
    places = sampling_places(np.random.default_rng(0), NONE._replace(rotation=180.0), 33)
    np.testing.assert_allclose(places[:, 16, 16], 16, atol=1e-4)
    np.testing.assert_allclose(np.hypot(*(places[:, 16, 26] - 16)), 10, rtol=1e-5)


def test_half_of_the_windows_are_mirrored():
    windows = (sampling_places(np.random.default_rng(seed), NONE._replace(flip=True), 8) for seed in range(200))
    turns = (np.linalg.det(np.stack([p[:, 1, 0] - p[:, 0, 0], p[:, 0, 1] - p[:, 0, 0]])) for p in windows)
    assert 70 < sum(turn < 0 for turn in turns) < 130


def test_elastic_displacements_are_of_the_size_asked_for_and_never_fold():
    only = NONE._replace(elastic=Recipe().elastic)
    places = np.stack([sampling_places(np.random.default_rng(seed), only, 224) for seed in range(40)])
    moves = places - sampling_places(np.random.default_rng(0), NONE, 224)
    assert 0.6 * only.elastic < moves.std() < 1.1 * only.elastic
    assert np.diff(places[:, 0], axis=1).min() > 0 and np.diff(places[:, 1], axis=2).min() > 0


@given(st.integers(0, 2**32))
def test_stain_jitter_is_affine_in_each_stain_and_no_more(seed):
    amounts = np.random.default_rng(0).uniform(0.05, 0.6, (500, 3)) * [1, 1, 0.1]
    image = 255 * np.exp(-(amounts @ STAINS))
    changed = jitter_stain(image.astype(np.float32), np.random.default_rng(seed), Recipe(stain=0.2))
    after = -np.log(changed / 255) @ np.linalg.inv(STAINS)
    for k in range(3):
        slope, offset = np.polyfit(amounts[:, k], after[:, k], 1)
        assert abs(slope - 1) <= 0.2001 and abs(offset) <= 0.0401
        np.testing.assert_allclose(after[:, k], slope * amounts[:, k] + offset, atol=1e-4)


def test_light_jitter_stays_in_range_and_keeps_order():
    image = np.linspace(0, 255, 3 * 400, dtype=np.float32).reshape(20, 20, 3)
    for seed in range(20):
        out = jitter_light(image, np.random.default_rng(seed), Recipe(brightness=0.3, contrast=0.5))
        assert out.min() >= 0 and out.max() <= 255 and np.all(np.diff(out.ravel()) >= 0)
