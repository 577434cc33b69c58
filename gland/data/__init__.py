"""Images in, batches out.

    sample.py         Sample, one annotated image; to_input, pixels -> network input
    warwick.py        read(folder) the Warwick-QU images as released; every fault is one InputError sentence
    phantom.py        the phantom set, painted in the same layout: the built-in default
    tissue.py         the painter behind it, with anatomy.py (where glands lie) and brushes.py (noise, stamps)
    visual_fields.py  which tiles belong to one larger field, found from the images
    splits.py         split, folds: train, val and test sets that keep such groups whole
    crops.py          resize, quadrants, windows
    augment.py        one random window: affine, elastic, stain, light; Recipe says how much
    batches.py        Batches, the training stream: background thread, pure function of (seed, step)

`python -m gland.data FOLDER` prints what a folder holds.
"""

from gland.data import phantom
from gland.data.augment import NONE, Recipe
from gland.data.batches import Batch, Batches
from gland.data.crops import quadrants, resize
from gland.data.sample import Sample, to_input
from gland.data.splits import Split, choose, choose_split, folds, split
from gland.data.visual_fields import find_visual_fields
from gland.data.warwick import read, read_image, read_instances, release_warnings, summary

__all__ = [
    "NONE",
    "Batch",
    "Batches",
    "Recipe",
    "Sample",
    "Split",
    "choose",
    "choose_split",
    "find_visual_fields",
    "folds",
    "phantom",
    "quadrants",
    "read",
    "read_image",
    "read_instances",
    "release_warnings",
    "resize",
    "split",
    "summary",
    "to_input",
]
