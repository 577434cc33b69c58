"""Image files too large to be treated in one piece: read in strips, segmented in tiles, written as a plain mask.

A smaller image is brought to the 500 x 500 pixels of the training images first. For a large one that would lose its
glands: it is segmented at its own scale, so its pixels should be of the training's size (Warwick-QU's 0.62 um become
0.96 um across and 0.65 um down), and its class is that of the mean over all of it.
"""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gland import tiling
from gland.data import strips
from gland.errors import InputError
from gland.files import write_atomic

LARGE = 4_000_000  # pixels


def is_large(file: str | Path) -> bool:
    """Whether an image file has more than LARGE pixels, by its header. Raises InputError if it is no image."""
    h, w = strips.size(file)
    return h * w > LARGE


def segment_file(network: Any, file: str | Path, folder: Path, tta: bool = False) -> list[str]:
    """Write folder/NAME_mask.png, 255 where gland; return name, class, its score, "-" and the gland area in percent.

    Raises InputError. Memory grows by 1 byte a pixel, for the mask, and by the image itself if its format is compressed.
    """
    file = Path(file)
    if tta:
        raise InputError(
            f"{file} is segmented in tiles, since it has more than {LARGE:,} pixels; leave out --tta for it"
        )
    with strips.open_strips(file) as image:
        q, mask = tiling.segment(network, image, progress=True)
    kind = score = area = "-"
    if q is not None:
        kind, score = ("malignant" if q[0, 1] > q[0, 0] else "benign"), f"{q[0].max():.3f}"
    if mask is not None:
        area = f"{100 * mask.mean():.1f}"
        pixels = mask.view(np.uint8)
        pixels *= 255
        target = folder / f"{file.stem}_mask.png"
        write_atomic(target, lambda out: Image.fromarray(pixels).save(out, format="PNG", compress_level=1))
    return [file.name, kind, score, "-", area]
