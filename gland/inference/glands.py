"""From gland probabilities to single glands: threshold, holes, separation of touching glands, smallest size.

An option of evaluation; its settings, but for the threshold, are chosen on validation images by `choose`, never on what is
reported. Settings() without arguments is Eq. (6) and nothing else: pixels where P_g > P_b, each 8-connected region one gland.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from gland.metrics import EIGHT


class Settings(NamedTuple):
    """Lengths and areas in pixels of the map that is given; at 500 x 500, one pixel is about 0.8 micrometres."""

    threshold: float = 0.5  # gland where P_g exceeds it
    largest_hole: int = 0  # background enclosed by a gland is filled up to this area: lumina are gland
    separation: float = 0.0  # necks narrower than twice this are cut; 0 cuts nothing
    smallest: int = 1  # glands of less area are dropped

    def __str__(self) -> str:
        done = [
            f"gland from {self.threshold} on" * (self.threshold != 0.5),
            f"holes to {self.largest_hole} pixels filled" * (self.largest_hole > 0),
            f"necks below {2 * self.separation:g} pixels cut" * (self.separation > 0),
            f"glands below {self.smallest} pixels dropped" * (self.smallest > 1),
        ]
        return ", ".join(filter(None, done)) or "none"


OFF = Settings()
PREDICTED, TRUE = (255, 221, 0), (0, 230, 118)  # yellow and green, far from pink and violet


def postprocess(p_gland: np.ndarray, settings: Settings = OFF) -> np.ndarray:
    """Glands (H, W) int32, numbered 1, 2, .. in reading order of their first pixel, from P_g (H, W) in [0, 1]."""
    mask = fill_holes(p_gland > settings.threshold, settings.largest_hole)
    return drop_small(separate(mask, settings.separation), settings.smallest)


def fill_holes(mask: np.ndarray, largest: int) -> np.ndarray:
    """mask (H, W) bool with every hole of at most `largest` pixels: 4-connected background that meets no border."""
    if largest <= 0:
        return mask
    holes, _ = ndimage.label(~mask)
    area = np.bincount(holes.ravel())
    fill = area <= largest
    fill[0] = False  # number 0 is the mask itself
    for border in (holes[0], holes[-1], holes[:, 0], holes[:, -1]):
        fill[border] = False
    return mask | fill[holes]


def separate(mask: np.ndarray, radius: float) -> np.ndarray:
    """Instances of mask (H, W) bool: 8-connected regions, cut where they are narrower than 2 radius between wider ones.

    The parts of a region that are farther than radius from the background, that is the region eroded by a disc, are
    its seeds. With two or more, they grow back together, the pixels farthest from the background first, so that they
    meet in the necks. A region with one seed, or with none because it is thinner than 2 radius everywhere, stays whole.
    """
    regions, count = ndimage.label(mask, EIGHT)
    if radius <= 0 or count == 0:
        return regions.astype(np.int32)
    distance = ndimage.distance_transform_edt(np.pad(mask, 1, mode="edge"))[1:-1, 1:-1]
    seeds, parts = ndimage.label(distance > radius, EIGHT)
    region_of_seed = np.zeros(parts + 1, int)
    region_of_seed[seeds] = regions  # number 0 is no seed
    divided = np.flatnonzero(np.bincount(region_of_seed[1:], minlength=count + 1) > 1)
    boxes = ndimage.find_objects(regions)
    instances = regions.astype(np.int64)
    for number in divided:
        box = boxes[number - 1]
        region = regions[box] == number
        grown = _grow(np.where(region, seeds[box], 0), region, distance[box], radius)
        instances[box][region] = count + grown[region]
    return _renumbered(instances)


def _grow(seeds: np.ndarray, region: np.ndarray, distance: np.ndarray, radius: float) -> np.ndarray:
    """seeds spread over region, through pixels of one whole level of distance after the other, downwards."""
    for level in range(int(np.ceil(radius)) - 1, -1, -1):
        allowed = region & (distance > level)
        while True:
            spread = np.where(allowed & (seeds == 0), ndimage.maximum_filter(seeds, 3), seeds)
            if (spread == seeds).all():
                break
            seeds = spread
    return seeds


def drop_small(instances: np.ndarray, smallest: int) -> np.ndarray:
    """The instances (H, W) of at least `smallest` pixels, renumbered."""
    area = np.bincount(instances.ravel())
    kept = area >= smallest
    return _renumbered(np.where(kept[instances], instances, 0))


def _renumbered(instances: np.ndarray) -> np.ndarray:
    """The same regions as int32, numbered 1, 2, .. in reading order of their first pixel."""
    flat = instances.ravel()
    first = np.full(int(flat.max(initial=0)) + 1, flat.size)
    first[flat[::-1]] = np.arange(flat.size)[::-1]  # of equal indices the last one written stays: the first pixel
    present = np.flatnonzero(first < flat.size)
    present = present[present > 0]
    table = np.zeros(len(first), np.int32)
    table[present[np.argsort(first[present])]] = np.arange(1, len(present) + 1)
    return table[instances]


def overlay(image: np.ndarray, predicted: np.ndarray, true: np.ndarray | None = None) -> np.ndarray:
    """The image (H, W, 3) uint8 with the outline of the predicted glands in yellow and of the true ones in green."""
    result = image.copy()
    for mask, colour in ((true, TRUE), (predicted, PREDICTED)):
        if mask is not None:
            outline = mask & ~ndimage.binary_erosion(mask, iterations=2, border_value=1)
            result[outline] = colour
    return result
