"""What a set of images adds up to: means, pooled object metrics, intervals and differences over visual fields."""

import numpy as np
import pytest
from made import Saying, column, row, sample

from gland import metrics
from gland.evaluation import scores


def test_figures_are_means_over_the_images_they_are_about():
    rows = [row(0, dsc=0.5), row(1, dsc=0.7), row(2, True, dsc=0.1), row(3, True, class_correct=True)]
    assert scores.estimate(rows, column("benign DSC")).value == pytest.approx(0.6)
    assert scores.estimate(rows, column("malignant DSC")).value == pytest.approx(0.1)
    assert scores.estimate(rows, column("class ACC %")).value == 100
    assert scores.estimate(rows, column("pixel ACC %")) is None


def two_fields(numbered_by):
    """Five images scoring 0.2 and five scoring 0.8."""
    return [row(numbered_by(k), dsc=0.2 if k < 5 else 0.8) for k in range(10)]


def test_the_interval_of_two_visual_fields_is_theirs():
    # draws of two fields are (0, 0), (0, 1), (1, 0), (1, 1): a quarter of the means is 0.2, a quarter 0.8
    found = scores.estimate(two_fields(lambda k: k // 5), column("benign DSC"))
    assert found == pytest.approx((0.5, 0.2, 0.8))


def test_a_bootstrap_over_images_would_be_caught():
    """The planted mistake of the test above: every image a field of its own."""
    found = scores.estimate(two_fields(lambda k: k), column("benign DSC"))
    assert found.value == 0.5 and found.low > 0.25 and found.high < 0.75


def test_the_difference_draws_the_same_visual_fields_for_both():
    base = [row(k, dsc=s) for k, s in enumerate([0.1, 0.5, 0.9])]
    better = [r | {"dsc": r["dsc"] + 0.05} for r in base]
    assert scores.difference(better, base, column("benign DSC")) == pytest.approx((0.05, 0.05, 0.05))


def test_differences_are_of_the_same_images_only():
    assert scores.difference([row(0, dsc=0.1)], [row(1, dsc=0.2)], column("benign DSC")) is None


def measured(network, truth):
    return scores.measure(network, truth, network.predict(np.zeros((1, 3, *truth.instances.shape))))


def test_pooled_columns_are_the_object_metrics_of_all_images_as_one():
    rng, rows, objects = np.random.default_rng(3), [], []
    for field in range(3):
        truth, found = (np.kron(rng.integers(0, 2, (5, 7)), np.ones((9, 9), int)) for _ in range(2))
        truth = metrics.instances_from_mask(truth)
        rows.append(measured(Saying(p_gland=found.astype(float)), sample(truth, field=field)))
        objects.append(metrics.compare_objects(metrics.instances_from_mask(found), truth))
    for name in ("F1", "Dice", "Hausdorff"):
        of = getattr(metrics, f"object_{name.lower()}")
        assert scores.estimate(rows, column(f"object {name}, pooled")).value == pytest.approx(of(*objects), rel=1e-12)
        mean = np.mean([of(o) for o in objects])
        assert scores.estimate(rows, column(f"object {name}")).value == pytest.approx(mean, rel=1e-12)


@pytest.mark.parametrize(("q", "right"), [([0.2, 0.8], True), ([0.8, 0.2], False)])
def test_each_crop_and_the_image_have_their_class_counted(q, right):
    found = measured(Saying(q=q), sample(np.zeros((60, 60), np.int32), malignant=True, field=0))
    assert found["class_correct"] == right and found["crops_correct"] == 4 * right
