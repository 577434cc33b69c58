"""One annotated image, and the one place where pixels become network input."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Sample(NamedTuple):
    """A gland image with its annotation."""

    name: str  # "train_1"; the part of the data set is what stands before the underscore
    image: np.ndarray  # (H, W, 3) uint8 RGB
    instances: np.ndarray  # (H, W) int32, 0 = background, every gland its own number
    malignant: bool
    patient: int | None = None
    visual_field: int | None = None  # tiles of one larger visual field share this number

    @property
    def part(self) -> str:
        return self.name.split("_")[0]


def to_input(images: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
    """Network input (N, 3, H, W) float32, value (rgb / 255 - 0.5) / 0.25, in channels-last memory.

    images: (N, H, W, 3), or a sequence of (H, W, 3) of one size, in 0..255 (uint8, or float after augmentation).
    """
    x = np.array(images, dtype=np.float32)  # a copy: the next two lines work in place
    x -= 127.5
    x /= 63.75
    return x.transpose(0, 3, 1, 2)
