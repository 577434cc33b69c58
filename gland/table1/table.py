"""From scores per image to the table: every column made of ratios of sums, with its interval; the paper's figures."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gland.table1.jobs import SYSTEMS

Row = dict[str, Any]  # the scores of one image, as gland/table1/scores.py makes them
DRAWS = 4000


Sum = Callable[[Row], float]


class Column(NamedTuple):
    """A figure of the table: the mean of one or two ratios, each  sum of part(row) / sum of whole(row)  over images."""

    title: str
    ratios: tuple[tuple[Sum, Sum], ...]
    needs: str  # the score without which an image has no part in it
    digits: int = 3
    better: int = 1  # -1: smaller is better


def _mean(title: str, score: str, factor: float = 1, where: Callable[[Row], bool] = lambda r: True, **rest) -> Column:
    """The mean of one score over the images of which `where` holds."""
    return Column(title, ((lambda r: factor * r[score] * where(r), where),), score, **rest)


def _pooled(title: str, part: str, whole: str, **rest) -> Column:
    """The objects of all images as if of one: sums over segmented and over ground-truth objects, half each."""
    sides = [(lambda r, s=s: r[s][part], lambda r, s=s: r[s][whole]) for s in ("segmented", "truth")]
    return Column(title, tuple(sides), "segmented", **rest)


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
    Column("pooled F1", ((lambda r: 2 * r["true"], lambda r: 2 * r["true"] + r["wrong"]),), "true"),
    _pooled("pooled Dice", "dice", "area"),
    _pooled("pooled Hausdorff", "hausdorff", "known_area", digits=1, better=-1),
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
    figures = {"pooled F1": f1, "pooled Dice": dice, "pooled Hausdorff": hausdorff}
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
    fields, sums = _sums(rows, column)
    if not _known(sums):
        return None
    return Figure(float(_value(sums, np.ones(len(fields)))), *_interval(_value(sums, _draws(len(fields)))))


def difference(rows: Sequence[Row], base: Sequence[Row], column: Column) -> Figure | None:
    """figure(rows) - figure(base) on the same images, the same visual fields drawn for both. None if either is."""
    fields, sums = _sums(rows, column)
    base_fields, base_sums = _sums(base, column)
    if fields != base_fields or not _known(sums) or not _known(base_sums):
        return None
    value, drawn = (
        _value(sums, times) - _value(base_sums, times) for times in (np.ones(len(fields)), _draws(len(fields)))
    )
    return Figure(float(value), *_interval(drawn))


def _sums(rows, column):
    """The visual fields of these images; and the two sums of each ratio within each field, (ratios, 2, fields)."""
    fields = sorted({row["visual_field"] for row in rows})
    sums = np.zeros((len(column.ratios), 2, len(fields)))
    for row in rows:
        if row.get(column.needs) is not None:
            sums[:, :, fields.index(row["visual_field"])] += [[part(row), whole(row)] for part, whole in column.ratios]
    return fields, sums


def _known(sums):
    return bool((sums[:, 1].sum(axis=1) > 0).all())


def _value(sums, times):
    """The column when visual field k is there times[..., k] times."""
    part, whole = np.moveaxis(sums, 1, 0) @ np.moveaxis(np.atleast_2d(times), 0, 1)
    with np.errstate(invalid="ignore"):  # a draw may hold no benign image: it is left out
        return (part / whole).mean(axis=0).reshape(np.shape(times)[:-1])


def _draws(fields):
    """DRAWS bootstrap samples, each of as many visual fields as there are, with replacement: (DRAWS, fields) times.

    Images of one visual field are alike, so drawing single images would give intervals that are too narrow.
    """
    return np.random.default_rng(0).multinomial(fields, np.full(fields, 1 / fields), size=DRAWS)


def _interval(drawn):
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return float(low), float(high)
