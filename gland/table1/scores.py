"""The scores of every test image, at the image's own size; post-processing chosen on the validation images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from gland import ops, postprocess
from gland.data import Sample, resize, to_input
from gland.metrics import dice, object_dice, object_f1, object_hausdorff, pixel_accuracy
from gland.networks import Prediction


def score(network: Any, val: Sequence[Sample], test: Sequence[Sample]) -> dict[str, Any]:
    """{"rows": one dict per test image, "postprocess": the settings}, as JSON can hold it."""
    settings = postprocess.OFF
    seen = [_predict(network, s) for s in tqdm(val, desc="validating", unit="image", leave=False)]
    if seen and seen[0].p_gland is not None:
        settings, _ = postprocess.choose(
            [p.p_gland[0] for p in seen],
            [s.instances for s in val],
            lambda segmented, truth: (object_f1(segmented, truth) + object_dice(segmented, truth)) / 2,
            progress=lambda names: tqdm(names, desc="post-processing", unit="setting", leave=False),
        )
    rows = [_row(s, _predict(network, s), settings) for s in tqdm(test, desc="testing", unit="image", leave=False)]
    return {"rows": rows, "postprocess": settings._asdict()}


def _predict(network: Any, sample: Sample) -> Prediction:
    """The prediction for the image at the training scale of 500 x 500, its probabilities at the sample's own size."""
    prediction = network.predict(to_input([resize(sample).image]))
    if prediction.p_gland is None:
        return prediction
    return prediction._replace(p_gland=ops.upsample_bilinear(prediction.p_gland[:, None], sample.instances.shape)[:, 0])


def _row(sample: Sample, prediction: Prediction, settings: postprocess.Settings) -> dict[str, Any]:
    row = {
        "name": sample.name,
        "part": sample.part,
        "visual_field": sample.visual_field,
        "malignant": bool(sample.malignant),
    }
    if prediction.q is not None:
        row["class_correct"] = bool(prediction.q[0].argmax() == int(sample.malignant))
    if prediction.p_gland is not None:
        mask = prediction.p_gland[0] > 0.5  # Eq. (6)
        segmented = postprocess.postprocess(prediction.p_gland[0], settings)
        row |= {
            "pixel_accuracy": float(pixel_accuracy(mask, sample.instances > 0)),
            "dsc": float(dice(mask, sample.instances > 0)),
            "object_f1": float(object_f1(segmented, sample.instances)),
            "object_dice": float(object_dice(segmented, sample.instances)),
            "object_hausdorff": float(object_hausdorff(segmented, sample.instances)),
        }
    return {k: v for k, v in row.items() if not (isinstance(v, float) and np.isnan(v))}
