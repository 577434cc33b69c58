"""How good a segmentation is: pixel accuracy, DSC, and the object metrics of the GlaS challenge.

Object metrics differ between implementations. These follow the challenge's own definitions (Sirinukunwattana et al. 2017,
Medical Image Analysis 35, section 4): instances are matched by overlap, and each sum over objects is weighted by area.
Masks and instance maps are (H, W); an instance map has 0 for background and one number per object.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

EIGHT = np.ones((3, 3), bool)


def pixel_accuracy(predicted: np.ndarray, mask: np.ndarray) -> float:
    """Share of pixels whose label, gland or background, is right."""
    return float(np.mean((predicted > 0) == (mask > 0)))


def dice(predicted: np.ndarray, mask: np.ndarray) -> float:
    """DSC = 2 |A and B| / (|A| + |B|) of the gland pixels; 1 where neither has any."""
    a, b = predicted > 0, mask > 0
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


def instances_from_mask(mask: np.ndarray) -> np.ndarray:
    """Number the 8-connected components of a mask 1, 2, ..; int32."""
    return ndimage.label(mask > 0, EIGHT)[0].astype(np.int32)


def relabelled(instances: np.ndarray) -> np.ndarray:
    """Every 8-connected component of every object its own number: four released test masks give all glands one."""
    result, count = np.zeros(instances.shape, np.int32), 0
    for number, box in enumerate(ndimage.find_objects(instances), 1):
        if box is not None:
            pieces, found = ndimage.label(instances[box] == number, EIGHT)
            result[box] += np.where(pieces > 0, pieces + count, 0).astype(np.int32)
            count += found
    return result


class Objects(NamedTuple):
    """What the object metrics need of one image, in a form that can be pooled over images.

    dice and hausdorff hold one value per object, segmented ones and ground-truth ones apart, with their areas.
    """

    true_positives: int
    false_positives: int
    false_negatives: int
    areas: tuple[np.ndarray, np.ndarray]  # pixels of each segmented, of each ground-truth object
    dice: tuple[np.ndarray, np.ndarray]
    hausdorff: tuple[np.ndarray, np.ndarray]  # pixels; nan where the other image has no object at all


def compare_objects(segmented: np.ndarray, truth: np.ndarray, distances: bool = True) -> Objects:
    """Match two instance maps of one image. distances=False leaves the Hausdorff distances, most of the time, nan.

    F1: a segmented object is assigned the ground-truth object that it overlaps most, each to one of them, and is a true
    positive if it covers more than half of it. Segmented objects - TP are false positives, ground-truth objects - TP false
    negatives: one blob over two glands finds one and misses one. Dice and Hausdorff: each object against the one that it
    overlaps most; without overlap the Dice is 0 and the Hausdorff distance that to the nearest object, the one with the
    smallest such distance.
    """
    s, t = _dense(segmented), _dense(truth)
    shape = int(s.max(initial=0)) + 1, int(t.max(initial=0)) + 1
    shared = np.bincount((s * shape[1] + t).ravel(), minlength=shape[0] * shape[1]).reshape(shape)
    s_areas, t_areas, overlap = shared.sum(axis=1)[1:], shared.sum(axis=0)[1:], shared[1:, 1:]  # 0 is the background
    positives = _true_positives(overlap, t_areas)
    hausdorff = np.full(len(s_areas), np.nan), np.full(len(t_areas), np.nan)
    if distances:
        shapes = _Shapes(s, len(s_areas)), _Shapes(t, len(t_areas))
        hausdorff = _hausdorff(overlap, *shapes), _hausdorff(overlap.T, *shapes[::-1])
    return Objects(
        positives,
        len(s_areas) - positives,
        len(t_areas) - positives,
        (s_areas, t_areas),
        (_dice(overlap, s_areas, t_areas), _dice(overlap.T, t_areas, s_areas)),
        hausdorff,
    )


def object_f1(*images: Objects) -> float:
    """F1 = 2 TP / (2 TP + FP + FN) of the counts of all images given; 1 where there is nothing to find or to miss."""
    tp, fp, fn = (sum(getattr(o, n) for o in images) for n in ("true_positives", "false_positives", "false_negatives"))
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 1.0


def object_dice(*images: Objects) -> float:
    """(1/2) [ sum_i (area_i / total) Dice_i over segmented objects + the same over ground-truth objects ]"""
    return _area_weighted("dice", images, empty=1.0)


def object_hausdorff(*images: Objects) -> float:
    """The same sums of Hausdorff distances, in pixels. An image with objects on one side only gives nan, since no
    distance is defined; pooled with others, its objects are left out."""
    return _area_weighted("hausdorff", images, empty=0.0)


def _area_weighted(name: str, images: tuple[Objects, ...], empty: float) -> float:
    if not any(len(a) for o in images for a in o.areas):
        return empty
    sides = []
    for side in (0, 1):
        areas = np.concatenate([o.areas[side] for o in images]).astype(float)
        values = np.concatenate([getattr(o, name)[side] for o in images])
        known = np.isfinite(values)
        sides.append((areas[known] * values[known]).sum() / areas[known].sum() if known.any() else np.nan)
    if name == "dice":
        sides = np.nan_to_num(sides)  # no object on one side: nothing of the other is matched
    return float(np.mean(sides))


def _dense(instances: np.ndarray) -> np.ndarray:
    """The map with numbers 1 .. n without gaps."""
    present = np.bincount(instances.ravel()) > 0
    present[:1] = False
    return np.cumsum(present)[instances]


def _true_positives(overlap: np.ndarray, t_areas: np.ndarray) -> int:
    """Segmented objects that cover more than half of the object which they overlap most; no two can cover the same so far."""
    if not len(t_areas):
        return 0
    assigned = overlap.argmax(axis=1)
    return int((2 * overlap[np.arange(len(overlap)), assigned] > t_areas[assigned]).sum())


def _dice(overlap: np.ndarray, areas: np.ndarray, other_areas: np.ndarray) -> np.ndarray:
    if not len(other_areas):
        return np.zeros(len(areas))
    best = overlap.argmax(axis=1)
    shared = overlap[np.arange(len(areas)), best]
    return 2 * shared / (areas + other_areas[best])


class _Shapes:
    """Per object of a dense map: its pixels (K, 2), a search tree of its outline, its bounding box (4,)."""

    def __init__(self, dense: np.ndarray, count: int) -> None:
        self.dense, self.pixels, self.outlines = dense, list[np.ndarray](), list[cKDTree]()
        self.boxes = np.empty((count, 4))
        for number, box in enumerate(ndimage.find_objects(dense, count), 1):
            inside = np.pad(dense[box] == number, 1)
            start = np.array([b.start for b in box])
            self.pixels.append(np.argwhere(inside[1:-1, 1:-1]) + start)
            edge = inside & ~ndimage.binary_erosion(inside)
            self.outlines.append(cKDTree(np.argwhere(edge) - 1 + start))
            self.boxes[number - 1] = [box[0].start, box[0].stop, box[1].start, box[1].stop]

    def farthest(self, i: int, other: "_Shapes", j: int) -> float:
        """max over the pixels of object i of the distance to object j of the other map: 0 inside it."""
        pixels = self.pixels[i]
        outside = pixels[other.dense[tuple(pixels.T)] != j + 1]
        return other.outlines[j].query(outside)[0].max() if len(outside) else 0.0


def _hausdorff(overlap: np.ndarray, own: _Shapes, other: _Shapes) -> np.ndarray:
    if not len(other.boxes):
        return np.full(len(own.boxes), np.nan)
    result = np.empty(len(own.boxes))
    for i, box in enumerate(own.boxes):
        # two sets are at least as far apart as any side of their bounding boxes
        at_least = np.abs(other.boxes - box).max(axis=1)
        order = [int(overlap[i].argmax())] if overlap[i].any() else np.argsort(at_least, kind="stable")
        best = np.inf
        for j in order:
            if at_least[j] >= best:
                break
            best = min(best, max(own.farthest(i, other, j), other.farthest(j, own, i)))
        result[i] = best
    return result
