"""From images of any size to windows of one size.

The paper resizes every image to 500 x 500 and cuts four 250 x 250 crops. That is scale 0 here. Any other scale is a factor
for both sides: glands keep their shape, a micrometre is as long in every image, and a window sees more tissue where the
factor is small. Training windows come from anywhere in the resized image, with `--recipe paper` from one of its quadrants.
"""

import numpy as np
from PIL import Image

from gland.data.sample import Sample

RESIZED, WINDOW = 500, 224


def resized(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """What an image of this size (h, w) is resized to: each side times scale, or 500 x 500 where scale is 0."""
    return (max(1, round(size[0] * scale)), max(1, round(size[1] * scale))) if scale else (RESIZED, RESIZED)


def resize(sample: Sample, scale: float = 0) -> Sample:
    """The sample at this scale: the image bicubic (antialiased), the instances nearest, so no number is invented."""
    size = resized(sample.image.shape[:2], scale)[::-1]
    image = Image.fromarray(sample.image).resize(size, Image.Resampling.BICUBIC)
    instances = Image.fromarray(sample.instances).resize(size, Image.Resampling.NEAREST)
    return sample._replace(image=np.asarray(image), instances=np.asarray(instances))


def quadrants(sample: Sample) -> list[Sample]:
    """Four non-overlapping quarters, by rows from the top left, named NAME/0 to NAME/3."""
    h, w = sample.image.shape[0] // 2, sample.image.shape[1] // 2
    corners = [(0, 0), (0, w), (h, 0), (h, w)]
    return [window(sample, i, j, h, w)._replace(name=f"{sample.name}/{k}") for k, (i, j) in enumerate(corners)]


def random_corner(
    rng: np.random.Generator, h: int, w: int, size: int = WINDOW, quadrant: bool = False
) -> tuple[int, int]:
    """Top left corner of a size x size window, uniform in an h x w image or within one random quadrant of it.

    Along a side that is shorter than the window, the image is in its middle.
    """
    i0 = j0 = 0
    if quadrant:
        h, w = h // 2, w // 2
        i0, j0 = h * int(rng.integers(2)), w * int(rng.integers(2))
    return i0 + _start(rng, h, size), j0 + _start(rng, w, size)


def _start(rng: np.random.Generator, n: int, size: int) -> int:
    return int(rng.integers(n - size + 1)) if n >= size else (n - size) // 2


def window(sample: Sample, i: int, j: int, h: int, w: int) -> Sample:
    """Rows i to i + h and columns j to j + w of the sample (views, not copies)."""
    return sample._replace(image=sample.image[i : i + h, j : j + w], instances=sample.instances[i : i + h, j : j + w])
