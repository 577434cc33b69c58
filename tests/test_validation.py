"""Validation: means over images by hand, and a merit that one lucky image cannot swing."""

import numpy as np
import pytest
from made import Saying, sample

from gland.training.validation import Validation, validate


def left(share):
    """Glands in the left part of an image."""
    return np.broadcast_to(np.arange(500) < int(500 * share), (500, 500)).astype(np.int32)


def test_the_means_are_those_worked_by_hand():
    network = Saying(p_gland=np.where(left(0.5), 0.9, 1 - 0.9), q=[1 - 0.8, 0.8])
    found = validate(network, [sample(left(0.5), malignant=True), sample(left(0.25), malignant=False)])
    assert found.class_accuracy == 0.5
    assert found.class_score == pytest.approx((0.8 + 0.2) / 2)
    assert found.pixel_accuracy == pytest.approx((1 + 0.75) / 2)
    assert found.dsc == pytest.approx((1 + 2 * 0.25 / 0.75) / 2)  # the mean of the two classes
    pixels = -np.log(0.9), -(0.75 * np.log(0.9) + 0.25 * np.log(0.1))
    assert found.loss == pytest.approx((-np.log(0.8) - np.log(0.2) + sum(pixels)) / 2)


def test_a_lucky_image_does_not_outweigh_the_segmentation():
    lucky = Validation(0.87, 1.0, 0.55, 0.73, 0.66)  # scores just on the right side of a half
    learned = Validation(0.92, 0.5, 0.55, 0.86, 0.82)
    assert learned.merit > lucky.merit
    by_accuracy = [np.mean([v.class_accuracy, v.pixel_accuracy, v.dsc]) for v in (lucky, learned)]
    assert by_accuracy[0] > by_accuracy[1]  # the rule that would choose wrongly


def test_a_class_score_that_wavers_does_not_outweigh_the_segmentation():
    half_way, end = Validation(0.27, 1.0, 0.988, 0.904, 0.898), Validation(0.30, 0.9, 0.921, 0.915, 0.906)
    assert end.merit > half_way.merit
    equally = [np.mean([v.class_score, v.pixel_accuracy, v.dsc]) for v in (half_way, end)]
    assert equally[0] > equally[1]  # the rule that would choose wrongly
    assert half_way.merit > half_way._replace(class_score=0.5).merit


def test_parts_that_a_network_has_not_are_left_out():
    assert Validation(0.0, None, None, 0.8, 0.6).merit == pytest.approx(0.7)
    assert Validation(0.0, 1.0, 0.9, None, None).merit == pytest.approx(0.9)
