"""The scores of every test image, at the image's own size; post-processing chosen on the validation images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from gland import metrics, ops, postprocess
from gland.data import Sample, resize, to_input
from gland.networks import Prediction


def score(network: Any, val: Sequence[Sample], test: Sequence[Sample]) -> dict[str, Any]:
    """{"rows": one dict per test image, "postprocess": the settings}, as JSON can hold it."""
    settings = postprocess.OFF
    seen = [_predict(network, s) for s in tqdm(val, desc="validating", unit="image", leave=False)]
    if seen and seen[0].p_gland is not None:
        settings, _ = postprocess.choose(
            [p.p_gland[0] for p in seen],
            [metrics.relabelled(s.instances) for s in val],
            _object_score,
            progress=lambda names: tqdm(names, desc="post-processing", unit="setting", leave=False),
        )
    rows = [_row(s, _predict(network, s), settings) for s in tqdm(test, desc="testing", unit="image", leave=False)]
    return {"rows": rows, "postprocess": settings._asdict()}


def _object_score(segmented: np.ndarray, truth: np.ndarray) -> float:
    """What the post-processing is chosen by."""
    objects = metrics.compare_objects(segmented, truth, distances=False)
    return (metrics.object_f1(objects) + metrics.object_dice(objects)) / 2


def _predict(network: Any, sample: Sample) -> Prediction:
    """The prediction for the image at the training scale of 500 x 500, its probabilities at the sample's own size."""
    prediction = network.predict(to_input([resize(sample).image]))
    if prediction.p_gland is None:
        return prediction
    return prediction._replace(p_gland=ops.upsample_bilinear(prediction.p_gland[:, None], sample.instances.shape)[:, 0])


def _row(sample: Sample, prediction: Prediction, settings: postprocess.Settings) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": sample.name,
        "part": sample.part,
        "visual_field": sample.visual_field,
        "malignant": bool(sample.malignant),
    }
    if prediction.q is not None:
        row["class_correct"] = bool(prediction.q[0].argmax() == int(sample.malignant))
    if prediction.p_gland is not None:
        mask, truth = prediction.p_gland[0] > 0.5, metrics.relabelled(sample.instances)  # Eq. (6)
        row |= {"pixel_accuracy": metrics.pixel_accuracy(mask, truth), "dsc": metrics.dice(mask, truth)}
        row |= _object_scores(postprocess.postprocess(prediction.p_gland[0], settings), truth)
    return row


def _object_scores(segmented: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """The image's own object metrics, and the sums that pool them over images."""
    objects = metrics.compare_objects(segmented, truth)
    found = {
        "object_f1": metrics.object_f1(objects),
        "object_dice": metrics.object_dice(objects),
        "true": objects.true_positives,
        "wrong": objects.false_positives + objects.false_negatives,
    }
    distance = metrics.object_hausdorff(objects)
    if np.isfinite(distance):
        found["object_hausdorff"] = distance
    for k, side in enumerate(("segmented", "truth")):
        areas, known = objects.areas[k], np.isfinite(objects.hausdorff[k])
        found[side] = {
            "area": float(areas.sum()),
            "dice": float((areas * objects.dice[k]).sum()),
            "known_area": float(areas[known].sum()),
            "hausdorff": float((areas * objects.hausdorff[k])[known].sum()),
        }
    return found
