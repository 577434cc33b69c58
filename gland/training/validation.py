"""How good a network is on the validation images, in one number for choosing a checkpoint and five to look at."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gland.data import Sample, resize, to_input
from gland.metrics import dice, pixel_accuracy
from gland.networks import Network


class Validation(NamedTuple):
    """Means over whole images at the training scale; None where the network has no such part."""

    loss: float  # mean negative log-likelihood, of classes plus of pixels
    class_accuracy: float | None
    class_score: float | None  # mean Q of the true class
    pixel_accuracy: float | None
    dsc: float | None  # mean over the classes of each class's mean

    @property
    def merit(self) -> float:
        """Larger is better: the mean of pixel accuracy, DSC and, with a tenth of their weight, class score, less loss / 100.

        Not the class accuracy: of four validation images one would outweigh all that the segmentation has learned. And little of
        the class score: from one checkpoint to the next that of nine images moves by 0.05, the others by 0.01
        (docs/lab-notes.md).
        """
        weighed = (self.class_score, 0.1), (self.pixel_accuracy, 1.0), (self.dsc, 1.0)
        values, weights = zip(*((v, weight) for v, weight in weighed if v is not None), strict=True)
        return float(np.average(values, weights=weights)) - 0.01 * self.loss


def validate(network: Network, samples: Sequence[Sample]) -> Validation:
    """Predict every sample whole and compare."""
    losses, classes, scores, pixels = list[float](), list[bool](), list[float](), list[float]()
    dscs: dict[bool, list[float]] = {False: [], True: []}
    for sample in samples:
        sample = resize(sample, network.scale)
        prediction = network.predict(to_input([sample.image]))
        mask = sample.instances > 0
        loss = 0.0
        if prediction.q is not None:
            scores.append(float(prediction.q[0, int(sample.malignant)]))
            loss -= np.log(max(scores[-1], 1e-12))
            classes.append(bool(prediction.q[0].argmax()) == sample.malignant)
        if prediction.p_gland is not None:
            p = np.clip(prediction.p_gland[0], 1e-7, 1 - 1e-7)
            loss -= np.log(np.where(mask, p, 1 - p)).mean()
            found = prediction.gland_mask()[0]
            pixels.append(pixel_accuracy(found, mask))
            dscs[sample.malignant].append(dice(found, mask))
        losses.append(loss)
    dsc = [np.mean(values) for values in dscs.values() if values]
    return Validation(
        float(np.mean(losses)),
        float(np.mean(classes)) if classes else None,
        float(np.mean(scores)) if scores else None,
        float(np.mean(pixels)) if pixels else None,
        float(np.mean(dsc)) if dsc else None,
    )
