"""From predictions to measurements: of one image, and what a set of images adds up to, with intervals.

Protocol: an image is resized to the scale of the network's training and predicted whole; the gland probabilities are brought
back to the image's own size bilinearly, and a pixel is gland where P_g > P_b (Eq. 6). All is measured there, against
the annotation as drawn. The class is the one with the larger score of the whole image.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from gland.data import Sample, quadrants, resize, to_input
from gland.inference import glands
from gland.inference.predict import predict
from gland.metrics import compare_objects, dice, object_dice, object_f1, object_hausdorff, pixel_accuracy, relabelled
from gland.networks import Network, Prediction

Row = dict[str, Any]  # what was measured of one image, as JSON can hold it
DRAWS = 2000


def measure(network: Network, sample: Sample, prediction: Prediction, settings: glands.Settings = glands.OFF) -> Row:
    """All that is measured of one image. settings: post-processing of the glands before the object metrics."""
    row: Row = {
        "name": sample.name,
        "part": sample.part,
        "visual_field": sample.visual_field,
        "malignant": bool(sample.malignant),
    }
    if prediction.q is not None:
        row["q_malignant"] = float(prediction.q[0, 1])
        row["class_correct"] = bool(prediction.q[0].argmax()) == bool(sample.malignant)
        crops = network.predict(to_input([crop.image for crop in quadrants(resize(sample, network.scale))]))
        assert crops.q is not None
        row["crops_correct"] = int((crops.q.argmax(axis=1) == int(sample.malignant)).sum())
    if prediction.p_gland is not None:
        mask, truth = prediction.gland_mask()[0], sample.instances > 0
        objects = compare_objects(glands.postprocess(prediction.p_gland[0], settings), _separate(sample.instances))
        row |= {
            "pixel_accuracy": pixel_accuracy(mask, truth),
            "dsc": dice(mask, truth),
            "object_f1": object_f1(objects),
            "object_dice": object_dice(objects),
            "object_hausdorff": object_hausdorff(objects),
            "true_positives": objects.true_positives,
            "false_positives": objects.false_positives,
            "false_negatives": objects.false_negatives,
        }
        for side, areas, dices, distances in zip(("segmented", "truth"), *objects[3:], strict=True):
            known = np.isfinite(distances)
            row[f"{side}_area"] = float(areas.sum())
            row[f"{side}_dice"] = float(areas @ dices)
            row[f"{side}_known_area"] = float(areas[known].sum())
            row[f"{side}_hausdorff"] = float(areas[known] @ distances[known])
    return {k: v for k, v in row.items() if not (isinstance(v, float) and np.isnan(v))}


def choose_settings(network: Network, val: Sequence[Sample], tta: bool = False) -> glands.Settings:
    """The post-processing that is best for the validation images; none for a network without a map, or without images."""
    if network.kind == "class" or not val:
        return glands.OFF
    bar = partial(tqdm, leave=False, dynamic_ncols=True)
    maps = [predict(network, s, tta).gland_probability()[0] for s in bar(val, desc="validation", unit="image")]
    return choose(maps, [s.instances for s in val], progress=partial(bar, desc="post-processing"))[0]


def _separate(instances: np.ndarray) -> np.ndarray:
    """The annotation, or its connected components where all glands share one number, as in four released test masks."""
    return relabelled(instances) if len(np.unique(instances[instances > 0])) == 1 else instances


Ratio = tuple[Callable[[Row], float], Callable[[Row], float]]
Sums = list[tuple[np.ndarray, np.ndarray]]


class Column(NamedTuple):
    """What is measured over a set of images: the mean of one or two ratios, each sum of part(row) / sum of whole(row)."""

    title: str
    ratios: tuple[Ratio, ...]
    needs: str  # the entry without which an image has no part in it
    digits: int = 3
    better: int = 1  # -1: smaller is better


def _mean(
    title: str,
    name: str,
    factor: float = 1,
    where: Callable[[Row], bool] = lambda r: True,
    whole: Callable[[Row], float] = lambda r: 1,
    **rest: Any,
) -> Column:
    ratio = (lambda r: factor * r[name] * where(r), lambda r: whole(r) * where(r))
    return Column(title, (ratio,), name, **rest)


def _both_sides(title: str, name: str, area: str, **rest: Any) -> Column:
    def ratio(side: str) -> Ratio:
        return (lambda r: r[f"{side}_{name}"], lambda r: r[f"{side}_{area}"])

    return Column(title, (ratio("segmented"), ratio("truth")), "truth_area", **rest)


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
MORE_COLUMNS = (
    _mean("class ACC per crop %", "crops_correct", 100, whole=lambda r: 4, digits=1),
    Column(
        "object F1, pooled",
        ((
            lambda r: 2 * r["true_positives"],
            lambda r: 2 * r["true_positives"] + r["false_positives"] + r["false_negatives"],
        ),),
        "true_positives",
    ),
    _both_sides("object Dice, pooled", "dice", "area"),
    _both_sides("object Hausdorff, pooled", "hausdorff", "known_area", digits=1, better=-1),
)  # fmt: skip

# Table 1 of the paper: probably 18 test images, drawn at random.
PAPER: dict[str, dict[str, float]] = {
    "alexnet": {CLASS: 83.0},
    "class": {CLASS: 83.0},
    "unet": {PIXEL: 78.0, BENIGN: 0.62, MALIGNANT: 0.55},
    "seg": {PIXEL: 86.8, BENIGN: 0.70, MALIGNANT: 0.56},
    "joint": {CLASS: 89.0, PIXEL: 92.0, BENIGN: 0.90, MALIGNANT: 0.76},
}


class Estimate(NamedTuple):
    """A value and the bounds of its 95 % interval."""

    value: float
    low: float
    high: float

    def text(self, digits: int) -> str:
        """value [low, high]"""
        return f"{self.value:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


def estimate(rows: Sequence[Row], column: Column) -> Estimate | None:
    """The column over these images, with its bootstrap interval; None where they have no such entry."""
    fields, ratios = _sums(rows, column)
    if not all(whole.sum() for _, whole in ratios):
        return None
    return Estimate(_value(ratios), *_interval(_drawn(len(fields), ratios)))


def difference(rows: Sequence[Row], base: Sequence[Row], column: Column) -> Estimate | None:
    """estimate(rows) - estimate(base) on the same images, the same visual fields drawn for both. None if either is."""
    fields, ratios = _sums(rows, column)
    base_fields, base_ratios = _sums(base, column)
    if fields != base_fields or not all(whole.sum() for _, whole in (*ratios, *base_ratios)):
        return None
    drawn = _drawn(len(fields), ratios) - _drawn(len(fields), base_ratios)
    return Estimate(_value(ratios) - _value(base_ratios), *_interval(drawn))


def _sums(rows: Sequence[Row], column: Column) -> tuple[list[str], Sums]:
    """The visual fields of these images, and each ratio's two sums within every field."""
    fields = sorted({str(row["visual_field"]) for row in rows})
    ratios = [(np.zeros(len(fields)), np.zeros(len(fields))) for _ in column.ratios]
    for row in rows:
        if row.get(column.needs) is not None:
            at = fields.index(str(row["visual_field"]))
            for (part, whole), (part_of, whole_of) in zip(ratios, column.ratios, strict=True):
                part[at] += part_of(row)
                whole[at] += whole_of(row)
    return fields, ratios


def _value(ratios: Sums) -> float:
    return float(np.mean([part.sum() / whole.sum() for part, whole in ratios]))


def _drawn(fields: int, ratios: Sums) -> np.ndarray:
    """The column for DRAWS bootstrap samples, each of as many visual fields as there are, drawn with replacement.

    Images of one visual field are alike, so drawing single images would give intervals that are too narrow.
    """
    times = np.random.default_rng(0).multinomial(fields, np.full(fields, 1 / fields), size=DRAWS)
    with np.errstate(invalid="ignore"):  # a sample may hold no benign image: it is left out
        return np.mean([times @ part / (times @ whole) for part, whole in ratios], axis=0)


def _interval(drawn: np.ndarray) -> tuple[float, float]:
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return float(low), float(high)


# The choice of post-processing, on validation images.

# Where a choice starts, found on held-out images: docs/lab-notes.md.
USUAL = glands.Settings(largest_hole=1600, separation=4.0, smallest=800)
# What choose tries for each setting, the others held; "off" is among them. The threshold stays Eq. (6)'s: chosen on few images
# it did harm (the same).
CANDIDATES: dict[str, Sequence[float]] = {
    "largest_hole": (0, 100, 400, 1600, 6400),
    "separation": (0.0, 2.0, 3.0, 4.0, 6.0, 8.0, 11.0),
    "smallest": (1, 50, 100, 200, 400, 800),
}


def object_merit(segmented: np.ndarray, truth: np.ndarray) -> float:
    """The mean of object F1 and object Dice of one image."""
    objects = compare_objects(segmented, truth, distances=False)
    return (object_f1(objects) + object_dice(objects)) / 2


def choose(
    p_gland: Sequence[np.ndarray],
    truth: Sequence[np.ndarray],
    score: Callable[[np.ndarray, np.ndarray], float] = object_merit,
    start: glands.Settings = USUAL,
    progress: Callable[[Iterable], Iterable] = iter,
) -> tuple[glands.Settings, float]:
    """The settings with the best mean of score(instances, truth) over validation images, and that mean.

    One setting after the other, over its CANDIDATES, the others held, from start on. Of equal candidates the one closest to
    start wins, so that nothing is changed that brings nothing.
    """

    def mean_score(settings: glands.Settings) -> float:
        return float(np.mean([score(glands.postprocess(p, settings), t) for p, t in zip(p_gland, truth, strict=True)]))

    best, best_score = start, mean_score(start)
    for name in progress(list(CANDIDATES)):
        at_start, before = getattr(start, name), best
        for value in sorted(CANDIDATES[name], key=lambda v: abs(v - at_start)):
            candidate = before._replace(**{name: value})  # type: ignore[arg-type]
            if candidate != before and (found := mean_score(candidate)) > best_score:
                best, best_score = candidate, found
    return best, best_score
