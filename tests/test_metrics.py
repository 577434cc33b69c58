"""The metrics on small maps drawn as on paper, against plain loops, and each check against a planted mistake."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gland import metrics
from gland.metrics import compare_objects, dice, object_dice, object_f1, object_hausdorff, pixel_accuracy


def drawn(text):
    """Rows of digits, '.' for background."""
    return np.array([[0 if c == "." else int(c) for c in row] for row in text.split()])


BOTH = """
    11....  11....
    11..2.  1...22
    ....2.  ....22
    ......  ......
    33333.  .....3
"""
SEGMENTED, TRUTH = (drawn(" ".join(BOTH.split()[side::2])) for side in (0, 1))


def test_dice_and_pixel_accuracy_by_hand():
    # segmented 11 pixels, true 8, both 5; wrong: 6 segmented only, 3 true only, of 30
    assert dice(SEGMENTED, TRUTH) == pytest.approx(2 * 5 / (11 + 8))
    assert pixel_accuracy(SEGMENTED, TRUTH) == pytest.approx(21 / 30)


def test_f1_by_hand():
    # 1 covers all of 1; 2 covers 2 of 4 pixels of 2: half is not enough; 3 covers nothing
    o = compare_objects(SEGMENTED, TRUTH)
    assert (o.true_positives, o.false_positives, o.false_negatives) == (1, 2, 2)
    assert object_f1(o) == pytest.approx(2 * 1 / (2 * 1 + 2 + 2))


THREE = drawn("11.22.33 11.22.33")
SEGMENTATIONS = {
    "perfect": (THREE, 1.0),
    "two merged": (np.where(THREE == 2, 1, THREE), 0.8),  # 2 found, 1 missed
    "all gland": (np.ones_like(THREE), 0.5),  # 1 found, 2 missed
    "one cut": (drawn("12.44.33 12.44.33"), 4 / 7),  # neither part more than half of it: 2 found, 2 wrong, 1 missed
}


@pytest.mark.parametrize(("segmented", "f1"), SEGMENTATIONS.values(), ids=SEGMENTATIONS)
def test_f1_is_the_challenges_merging_costs(segmented, f1):
    assert object_f1(compare_objects(segmented, THREE)) == pytest.approx(f1)


def test_object_dice_by_hand():
    # Dice of 1: 2*3/7, of 2: 2*2/6, of 3: 0; areas 4, 2, 5 and 3, 4, 1
    d1, d2 = 6 / 7, 4 / 6
    expected = ((4 * d1 + 2 * d2) / 11 + (3 * d1 + 4 * d2) / 8) / 2
    assert object_dice(compare_objects(SEGMENTED, TRUTH)) == pytest.approx(expected)


def test_object_hausdorff_by_hand():
    # 1: the corner (1, 1) is 1 away; 2: a column 1 away; segmented 3 is unmatched: to the true 3 it is 5 - 0 = 5 away,
    # and the true 3 is 1 from its nearest pixel, so 5; to the true 2 farther, sqrt(4^2 + 2^2) from its left end
    near = np.hypot(4, 2)
    expected = ((4 * 1 + 2 * 1 + 5 * near) / 11 + (3 * 1 + 4 * 1 + 1 * min(5, np.hypot(3, 1))) / 8) / 2
    assert object_hausdorff(compare_objects(SEGMENTED, TRUTH)) == pytest.approx(expected)


def test_the_farthest_point_may_lie_inside():
    # a disc inside a ring: the disc's centre, not its outline, is farthest from the ring
    i, j = np.mgrid[:41, :41] - 20
    radius = np.hypot(i, j)
    disc, ring = (radius <= 12).astype(int), ((radius >= 10) & (radius <= 14)).astype(int)
    assert object_hausdorff(compare_objects(disc, ring)) == pytest.approx(10, abs=0.5)


def random_map(seed):
    """A small instance map, now and then an empty one."""
    rng = np.random.default_rng(seed)
    return (rng.integers(0, 4, (6, 7)) * (rng.random((6, 7)) < rng.choice([0, 0.3, 0.8]))).astype(np.int32)


maps = st.integers(0, 2**32 - 1).map(random_map)


def loop_objects(m):
    """{number: set of pixels}"""
    found = {}
    for place in np.ndindex(*m.shape):
        if m[place]:
            found.setdefault(int(m[place]), set()).add(place)
    return found


def loop_hausdorff(a, b):
    def directed(p, q):
        return max(min(((x - u) ** 2 + (y - v) ** 2) ** 0.5 for u, v in q) for x, y in p)

    return max(directed(a, b), directed(b, a))


def loop_weighted(a, b, value, unmatched):
    """The area-weighted mean over the objects of a, each with the one of b that it overlaps most."""
    total = sum(len(p) for p in a.values())
    result = 0.0
    for p in a.values():
        overlaps = [(len(p & q), -n) for n, q in b.items()]
        most, number = max(overlaps)
        result += len(p) / total * (value(p, b[-number]) if most else unmatched(p, b))
    return result


def overlap(p, q):
    return 2 * len(p & q) / (len(p) + len(q))


@given(maps, maps)
def test_object_metrics_match_plain_loops(segmented, truth):
    s, t = loop_objects(segmented), loop_objects(truth)
    o = compare_objects(segmented, truth)
    if s and t:

        def both_sides(value, unmatched):
            return pytest.approx(np.mean([loop_weighted(a, b, value, unmatched) for a, b in ((s, t), (t, s))]))

        assert object_dice(o) == both_sides(overlap, lambda p, b: 0)
        nearest = both_sides(loop_hausdorff, lambda p, b: min(loop_hausdorff(p, q) for q in b.values()))
        assert object_hausdorff(o) == nearest
    else:
        assert object_dice(o) == (1 if not s and not t else 0)
        assert np.isnan(object_hausdorff(o)) if s or t else object_hausdorff(o) == 0
    found = 0
    for p in s.values():
        most, number = max(((len(p & q), -n) for n, q in t.items()), default=(0, 0))
        found += most > 0 and 2 * most > len(t[-number])
    assert (o.true_positives, o.false_positives, o.false_negatives) == (found, len(s) - found, len(t) - found)


@given(maps)
def test_a_map_compared_with_itself_is_perfect(m):
    o = compare_objects(m, m)
    assert object_f1(o) == 1 and object_dice(o) == pytest.approx(1) and object_hausdorff(o) == 0


def test_numbers_do_not_matter():
    renumbered = np.where(TRUTH > 0, 90 - 7 * TRUTH, 0)
    a, b = compare_objects(SEGMENTED, TRUTH), compare_objects(SEGMENTED, renumbered)
    assert (object_f1(a), object_dice(a), object_hausdorff(a)) == (object_f1(b), object_dice(b), object_hausdorff(b))


def test_pooling_adds_counts_and_areas_before_dividing():
    empty = np.zeros_like(TRUTH)
    a, b = compare_objects(SEGMENTED, TRUTH), compare_objects(empty, TRUTH)
    assert object_f1(a, b) == pytest.approx(2 / (2 + 2 + 5))
    d1, d2 = 6 / 7, 4 / 6
    assert object_dice(a, b) == pytest.approx(((4 * d1 + 2 * d2) / 11 + (3 * d1 + 4 * d2) / 16) / 2)


def test_components_are_8_connected_and_a_shared_number_is_parted():
    diagonal = drawn("1.. .1. ..1")
    assert metrics.instances_from_mask(diagonal).max() == 1
    shared = drawn("1.1 1.. ..1")
    assert len(np.unique(metrics.relabelled(shared))) == 4


MISTAKES = {
    "unweighted": lambda o: o._replace(areas=tuple(np.ones_like(a) for a in o.areas)),
    "unmatched counted as perfect": lambda o: o._replace(dice=tuple(np.where(d == 0, 1, d) for d in o.dice)),
    "one side's areas for both": lambda o: o._replace(dice=o.dice[::-1], areas=(o.areas[0], o.areas[0])),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_planted_mistake_changes_object_dice(mistake):
    right = compare_objects(SEGMENTED, TRUTH)
    assert object_dice(mistake(right)) != pytest.approx(object_dice(right))
