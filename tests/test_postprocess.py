"""Post-processing: each step on a drawn example, what it never does, and that choosing looks at validation alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from gland.evaluation.scores import CANDIDATES, USUAL, choose
from gland.inference.glands import OFF, Settings, drop_small, fill_holes, postprocess, separate


def disc(shape, centre, radius):
    i, j = np.indices(shape)
    return (i - centre[0]) ** 2 + (j - centre[1]) ** 2 <= radius**2


# two discs of radius 20 whose centres are 34 apart: the neck between them is 2 sqrt(20^2 - 17^2) = 21 wide
LEFT, RIGHT = disc((60, 100), (30, 30), 20), disc((60, 100), (30, 64), 20)


def sure(mask):
    return np.where(mask, 0.9, 0.1)


def random_mask(seed, smooth=3.0, size=60):
    return ndimage.gaussian_filter(np.random.default_rng(seed).random((size, size)), smooth) > 0.5


def test_off_is_eq6_and_nothing_else():
    p = np.array([[0.9, 0.2, 0.5], [0.1, 0.7, 0.4], [0.6, 0.1, 0.51]])
    # 0.5 is not more than 0.5; diagonal neighbours are one gland
    assert postprocess(p).tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 1]]


def test_threshold_moves_the_outline():
    p = np.array([[0.3, 0.6, 0.8]])
    assert postprocess(p, Settings(threshold=0.7)).tolist() == [[0, 0, 1]]
    assert postprocess(p, Settings(threshold=0.2)).tolist() == [[1, 1, 1]]


def test_holes_are_filled_up_to_the_largest_area():
    mask = np.ones((7, 9), bool)
    mask[2, 2] = mask[3, 5:7] = mask[4, 5] = False  # one hole of 1 pixel, one of 3
    assert (~fill_holes(mask, 0)).sum() == 4
    assert (~fill_holes(mask, 2)).sum() == 3
    assert fill_holes(mask, 3).all()


def test_a_bay_of_the_background_is_no_hole():
    mask = np.ones((5, 5), bool)
    mask[0:3, 2] = False
    assert (fill_holes(mask, 100) == mask).all()


def test_a_diagonal_gap_does_not_open_a_hole():
    mask = np.ones((5, 5), bool)
    mask[2, 2] = mask[1, 1] = False  # two holes: background is 4-connected where glands are 8-connected
    assert fill_holes(mask, 1).all()


def test_touching_discs_come_apart_in_their_neck():
    instances = separate(LEFT | RIGHT, 12)
    assert instances.max() == 2
    (_, first), (_, second) = (np.nonzero(instances == k) for k in (1, 2))
    assert first.max() <= 48 and second.min() >= 46  # the neck is at column 47


def test_a_separation_that_cuts_nothing_is_caught(monkeypatch):
    """The planted mistake of the neck test: seeds taken from the mask itself, not from its eroded form."""
    monkeypatch.setattr(ndimage, "distance_transform_edt", lambda mask: np.where(mask, 1e3, 0))
    assert separate(LEFT | RIGHT, 12).max() != 2


def test_a_neck_wider_than_twice_the_radius_is_not_cut():
    assert separate(LEFT | RIGHT, 9).max() == 1


def test_a_thin_gland_is_not_lost():
    mask = np.zeros((20, 60), bool)
    mask[9:12, 5:55] = True
    assert (separate(mask, 8) == mask).all()


def test_the_image_border_is_not_background():
    mask = np.zeros((40, 60), bool)
    mask[:6] = True  # a strip of 6 pixels along the border: what it belongs to goes on outside
    mask[:15, 10:20] = mask[:15, 40:50] = True
    assert separate(mask, 5).max() == 1


@pytest.mark.parametrize("mask", [np.zeros((9, 9), bool), np.ones((9, 9), bool), np.ones((1, 1), bool)])
def test_degenerate_masks(mask):
    assert (postprocess(mask.astype(float), Settings(0.5, 50, 3, 1)) == mask).all()


@given(st.integers(0, 10**6), st.sampled_from([0.0, 1.0, 2.0, 3.5, 6.0]))
def test_separation_keeps_every_pixel_and_makes_connected_glands(seed, radius):
    mask = random_mask(seed)
    instances = separate(mask, radius)
    assert ((instances > 0) == mask).all()
    regions, _ = ndimage.label(mask, np.ones((3, 3)))
    for k in range(1, instances.max() + 1):
        assert ndimage.label(instances == k, np.ones((3, 3)))[1] == 1
        assert len(np.unique(regions[instances == k])) == 1


@given(st.integers(0, 10**6), st.sampled_from([0.0, 2.0, 4.0]))
def test_numbers_are_consecutive_in_reading_order(seed, radius):
    instances = postprocess(random_mask(seed).astype(float), Settings(0.5, 20, radius, 15))
    numbers, first = np.unique(instances, return_index=True)
    first = first[numbers > 0]
    assert numbers[numbers > 0].tolist() == list(range(1, len(first) + 1))
    assert (np.diff(first) > 0).all() and instances.dtype == np.int32


def test_small_glands_are_dropped_and_the_rest_renumbered():
    instances = np.array([[1, 0, 2, 2, 2], [0, 0, 0, 0, 0], [3, 3, 0, 0, 4]])
    assert drop_small(instances, 2).tolist() == [[0, 0, 1, 1, 1], [0] * 5, [2, 2, 0, 0, 0]]


def test_turning_the_image_turns_the_glands():
    p, s = sure(LEFT | RIGHT), Settings(0.5, 10, 12, 5)
    turned, upright = postprocess(np.ascontiguousarray(p.T), s).T, postprocess(p, s)
    assert turned.max() == upright.max() == 2
    assert np.mean((turned == 1) == (upright == 1)) > 0.99


SMALL = disc((40, 40), (20, 20), 10)  # 314 pixels


def count_error(instances, truth):
    return -abs(int(instances.max()) - int(truth.max()))


def test_choose_finds_the_separation_that_the_truth_asks_for():
    truth = LEFT + 2 * (RIGHT & ~LEFT)
    found, score = choose([sure(truth > 0)], [truth], count_error, OFF)
    assert score == 0 and (found.separation, found.threshold, found.smallest) == (11, 0.5, 1)


@pytest.mark.parametrize("start", [OFF, USUAL._replace(smallest=200)])
def test_choose_changes_nothing_that_brings_nothing(start):
    assert choose([sure(SMALL)], [SMALL.astype(int)], count_error, start) == (start, 0.0)


def test_choose_leaves_the_usual_where_it_drops_what_is_there():
    assert choose([sure(SMALL)], [SMALL.astype(int)], count_error) == (USUAL._replace(smallest=200), 0.0)


def test_choose_is_not_better_than_trying_its_own_candidates():
    """The mean that choose reports is the mean that its settings give: nothing is remembered from another candidate."""
    p = [ndimage.gaussian_filter(np.random.default_rng(k).random((50, 50)), 3) * 2 - 0.5 for k in range(2)]
    truth = [separate(random_mask(k, size=50), 2.0) for k in range(2)]
    best, score = choose(p, truth, count_error, OFF)
    tried = [np.mean([count_error(postprocess(q, s), t) for q, t in zip(p, truth, strict=True)]) for s in (best, OFF)]
    assert tried[0] == score >= tried[1]


def test_settings_say_in_words_what_is_done():
    assert str(OFF) == "none"
    assert str(USUAL) == "holes to 1600 pixels filled, necks below 8 pixels cut, glands below 800 pixels dropped"
    assert str(Settings(threshold=0.4)) == "gland from 0.4 on"


def test_off_and_the_usual_are_among_the_candidates_and_the_threshold_is_not_chosen():
    assert all(getattr(s, name) in values for s in (OFF, USUAL) for name, values in CANDIDATES.items())
    assert CANDIDATES.keys() == set(Settings._fields) - {"threshold"} and USUAL.threshold == OFF.threshold == 0.5
