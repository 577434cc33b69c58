"""From scores per image to the table: every column a ratio of sums, with its interval, ours beside the paper's."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gland.table1.jobs import SYSTEMS

Row = dict[str, Any]  # the scores of one image, as gland/table1/scores.py makes them
DRAWS = 4000


class Column(NamedTuple):
    """A figure of the table: over a set of images, sum of part(row) / sum of whole(row)."""

    title: str
    part: Callable[[Row], float]
    whole: Callable[[Row], float]
    needs: str  # the score without which an image has no part in it
    digits: int = 3
    better: int = 1  # -1: smaller is better


def _mean(title: str, score: str, factor: float = 1, where: Callable[[Row], bool] = lambda r: True, **rest) -> Column:
    return Column(title, lambda r: factor * r[score] * where(r), where, score, **rest)


CLASS, PIXEL = "class ACC %", "pixel ACC %"
BENIGN, MALIGNANT = "benign DSC", "malignant DSC"
COLUMNS = (
    _mean(CLASS, "class_correct", 100, digits=1),
    _mean(PIXEL, "pixel_accuracy", 100, digits=1),
    _mean(BENIGN, "dsc", where=lambda r: not r["malignant"]),
    _mean(MALIGNANT, "dsc", where=lambda r: r["malignant"]),
    _mean("object F1", "object_f1"),
    _mean("object Dice", "object_dice"),
    _mean("object Hausdorff", "object_hausdorff", digits=1, better=-1),
)

# Table 1 of the paper, 18 test images at random; a dash where a network gives no such figure.
PAPER = {
    SYSTEMS["alexnet"]: {CLASS: 83.0},
    SYSTEMS["class"]: {CLASS: 83.0},
    SYSTEMS["unet"]: {PIXEL: 78.0, BENIGN: 0.62, MALIGNANT: 0.55},
    SYSTEMS["seg"]: {PIXEL: 86.8, BENIGN: 0.70, MALIGNANT: 0.56},
    SYSTEMS["joint"]: {CLASS: 89.0, PIXEL: 92.0, BENIGN: 0.90, MALIGNANT: 0.76},
}


def _glas(f1: float, dice: float, hausdorff: float | None = None) -> dict[str, float]:
    figures = {"object F1": f1, "object Dice": dice, "object Hausdorff": hausdorff}
    return {title: value for title, value in figures.items() if value is not None}


# The challenge's winner (Sirinukunwattana et al. 2017), MILD-Net (Graham et al. 2019) and U-Net as compared there; they
# trained on the same 85 images, the first with weights from other images.
GLAS_PUBLISHED = {
    "CUMedVision2": {"testA": _glas(0.912, 0.897, 45.4), "testB": _glas(0.716, 0.781, 160.3)},
    "MILD-Net": {"testA": _glas(0.914, 0.913, 41.5), "testB": _glas(0.844, 0.836, 105.9)},
    "U-Net": {"testA": _glas(0.865, 0.884), "testB": _glas(0.768, 0.819)},
}


class Figure(NamedTuple):
    """A figure and the bounds of its 95 % interval."""

    value: float
    low: float
    high: float

    def text(self, digits: int) -> str:
        return f"{self.value:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


def figure(rows: Sequence[Row], column: Column) -> Figure | None:
    """The column over these images, with its bootstrap interval; None where they have no such score."""
    fields, part, whole = _sums(rows, column)
    if not whole.sum():
        return None
    value = part.sum() / whole.sum()
    return Figure(value, *_interval(_drawn(len(fields), part, whole)))


def difference(rows: Sequence[Row], base: Sequence[Row], column: Column) -> Figure | None:
    """figure(rows) - figure(base) on the same images, the same visual fields drawn for both. None if either is."""
    fields, part, whole = _sums(rows, column)
    base_fields, base_part, base_whole = _sums(base, column)
    if not whole.sum() or not base_whole.sum() or fields != base_fields:
        return None
    value = part.sum() / whole.sum() - base_part.sum() / base_whole.sum()
    return Figure(value, *_interval(_drawn(len(fields), part, whole) - _drawn(len(fields), base_part, base_whole)))


def _sums(rows, column):
    """The visual fields of these images, and the column's two sums within each."""
    fields = sorted({row["visual_field"] for row in rows})
    part, whole = np.zeros(len(fields)), np.zeros(len(fields))
    for row in rows:
        if row.get(column.needs) is not None:
            part[fields.index(row["visual_field"])] += column.part(row)
            whole[fields.index(row["visual_field"])] += column.whole(row)
    return fields, part, whole


def _drawn(fields, part, whole):
    """The column for DRAWS bootstrap samples, each of as many visual fields as there are, drawn with replacement.

    Images of one visual field are alike, so drawing single images would give intervals that are too narrow.
    """
    times = np.random.default_rng(0).multinomial(fields, np.full(fields, 1 / fields), size=DRAWS)
    with np.errstate(invalid="ignore"):  # a sample may hold no benign image: it is left out
        return times @ part / (times @ whole)


def _interval(drawn):
    return np.nanpercentile(drawn, [2.5, 97.5])
