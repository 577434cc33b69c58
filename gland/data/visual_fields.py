"""Which tiles were cut from one visual field, found from the images alone: two tiles that touch continue each other.

Colours are centred channel by channel, or two borders of bare glass would correlate by their common tint. Measured on
the 85 training images of Warwick-QU: 78 pairs correlate at 0.87 or more, no other pair above 0.64. (Centred over all
channels together, the 165 images have 150 pairs at 0.91 or more and none between 0.80 and 0.90.)
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from gland.data.sample import Sample

CORRELATION = 0.75


def with_visual_fields(samples: Sequence[Sample]) -> list[Sample]:
    """The samples with visual_field set: numbered from 0 in order of first appearance."""
    return [
        s._replace(visual_field=number) for s, number in zip(samples, find_visual_fields([s.image for s in samples]))
    ]


def find_visual_fields(images: Sequence[np.ndarray]) -> list[int]:
    """For each image (H, W, 3) the number of its visual field: the connected components of touching_pairs."""
    parent = list(range(len(images)))

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    for i, j in touching_pairs(images):
        parent[root(i)] = root(j)
    numbers: dict[int, int] = {}
    return [numbers.setdefault(root(i), len(numbers)) for i in range(len(images))]


def touching_pairs(images: Sequence[np.ndarray]) -> Iterator[tuple[int, int]]:
    """Pairs (i, j) where j continues i to the right or below: facing borders correlate above CORRELATION."""
    right, left = [image[:, -1] for image in images], [image[:, 0] for image in images]
    bottom, top = [image[-1] for image in images], [image[0] for image in images]
    for outer, inner in ((right, left), (bottom, top)):
        by_length = defaultdict(list)
        for i, border in enumerate(outer):
            by_length[len(border)].append(i)
        for members in by_length.values():
            correlation = _normalised([outer[i] for i in members]) @ _normalised([inner[i] for i in members]).T
            np.fill_diagonal(correlation, 0)  # a tile may resemble itself, it does not continue itself
            for a, b in np.argwhere(correlation > CORRELATION):
                yield members[a], members[b]


def _normalised(borders: Sequence[np.ndarray]) -> np.ndarray:
    """(n, L, 3) border pixels -> (n, 3 L), zero mean per channel and unit norm: a dot product is the correlation.

    A border of one colour becomes zero: it continues nothing.
    """
    v = np.array(borders, dtype=np.float64)
    v = (v - v.mean(axis=1, keepdims=True)).reshape(len(borders), -1)
    norm = np.linalg.norm(v, axis=1, keepdims=True)
    return np.divide(v, norm, out=np.zeros_like(v), where=norm > 0)
