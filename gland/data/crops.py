"""From images of any size to windows of one size.

The paper resizes to 500 x 500 and cuts four 250 x 250 crops. Windows of 224 x 224, the network's training size, come
from anywhere in the resized image or from one of those quadrants.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from gland.data.sample import Sample

RESIZED, WINDOW = 500, 224


def resize(sample: Sample, size: int = RESIZED) -> Sample:
    """The sample at size x size: the image bicubic (antialiased), the instances nearest, so no number is invented."""
    image = Image.fromarray(sample.image).resize((size, size), Image.Resampling.BICUBIC)
    instances = Image.fromarray(sample.instances).resize((size, size), Image.Resampling.NEAREST)
    return sample._replace(image=np.asarray(image), instances=np.asarray(instances))


def quadrants(sample: Sample) -> list[Sample]:
    """Four non-overlapping quarters, by rows from the top left, named NAME/0 to NAME/3."""
    h, w = sample.image.shape[0] // 2, sample.image.shape[1] // 2
    corners = [(0, 0), (0, w), (h, 0), (h, w)]
    return [window(sample, i, j, h, w)._replace(name=f"{sample.name}/{k}") for k, (i, j) in enumerate(corners)]


def centre_window(sample: Sample, size: int = WINDOW) -> Sample:
    """The size x size window in the middle: what evaluation sees of a crop."""
    h, w = sample.image.shape[:2]
    return window(sample, (h - size) // 2, (w - size) // 2, size, size)


def random_corner(
    rng: np.random.Generator, h: int, w: int, size: int = WINDOW, quadrant: bool = False
) -> tuple[int, int]:
    """Top left corner of a size x size window, uniform in an h x w image or within one random quadrant of it."""
    i0 = j0 = 0
    if quadrant:
        h, w = h // 2, w // 2
        i0, j0 = h * int(rng.integers(2)), w * int(rng.integers(2))
    return i0 + int(rng.integers(h - size + 1)), j0 + int(rng.integers(w - size + 1))


def window(sample: Sample, i: int, j: int, h: int, w: int) -> Sample:
    """Rows i to i + h and columns j to j + w of the sample (views, not copies)."""
    return sample._replace(image=sample.image[i : i + h, j : j + w], instances=sample.instances[i : i + h, j : j + w])


def evaluation_crops(samples: Sequence[Sample]) -> list[Sample]:
    """The paper's test set: four centre windows of each resized image."""
    return [centre_window(quarter) for s in samples for quarter in quadrants(resize(s))]
