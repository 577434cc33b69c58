"""Resizing and windows."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from made import sample

from gland.data import quadrants, resize
from gland.data.crops import random_corner


def numbered(h, w):
    """A sample whose image says where each pixel is, red = row and green = column, and whose instances do the same."""
    rows, columns = np.mgrid[:h, :w]
    image = np.stack([rows % 256, columns % 256, 0 * rows], axis=-1).astype(np.uint8)
    return sample(1000 * rows + columns, image=image)


def test_quadrants_are_the_four_corners_and_cover_the_image_once():
    whole = numbered(500, 500)
    parts = quadrants(whole)
    assert [p.image.shape for p in parts] == [(250, 250, 3)] * 4
    assert [p.instances[0, 0] for p in parts] == [0, 250, 250_000, 250_250]
    assert np.unique(np.concatenate([p.instances.ravel() for p in parts])).size == 500 * 500
    assert [p.name for p in parts] == ["train_1/0", "train_1/1", "train_1/2", "train_1/3"]


@settings(max_examples=100)
@given(st.integers(0, 2**32), st.integers(32, 300), st.integers(32, 300), st.integers(1, 16), st.booleans())
def test_random_windows_lie_inside_and_quadrant_windows_in_one_quadrant(seed, h, w, size, quadrant):
    i, j = random_corner(np.random.default_rng(seed), h, w, size, quadrant)
    assert 0 <= i <= h - size and 0 <= j <= w - size
    if quadrant:
        assert not i < h // 2 < i + size and not j < w // 2 < j + size


def test_random_windows_reach_every_corner():
    rng = np.random.default_rng(0)
    for quadrant in (False, True):
        corners = {random_corner(rng, 12, 12, 5, quadrant) for _ in range(2000)}
        expected = range(8) if not quadrant else (0, 1, 6, 7)
        assert corners == {(i, j) for i in expected for j in expected}


def test_resize_invents_no_instance_and_keeps_the_glands_in_place():
    rows, columns = np.mgrid[:522, :775]
    small = resize(sample(7 * ((rows > 100) & (columns > 300))))
    assert small.image.shape == (500, 500, 3) and small.instances.dtype == np.int32
    assert set(np.unique(small.instances)) == {0, 7}
    rows, columns = np.nonzero(small.instances)
    np.testing.assert_allclose([rows.min(), columns.min()], [101 * 500 / 522, 301 * 500 / 775], atol=1)


def test_a_scale_keeps_the_shape_and_zero_is_the_papers_square():
    assert resize(numbered(522, 775), 0.4).image.shape == (209, 310, 3)
    assert resize(numbered(522, 775), 0.4).instances.shape == (209, 310)
    assert resize(numbered(3, 1000), 0.1).image.shape == (1, 100, 3)  # never nothing
    assert resize(numbered(60, 90), 0).image.shape == (500, 500, 3)


def test_an_image_smaller_than_the_window_is_in_its_middle():
    corners = {random_corner(np.random.default_rng(seed), 20, 90, 32) for seed in range(1000)}
    assert {i for i, _ in corners} == {-6} and {j for _, j in corners} == set(range(59))
