"""What a network says of a whole image, averaged over flips and turns if asked.

An image is resized to the scale of the network's training and predicted whole; the gland probabilities and the prior are brought
back to the image's own size bilinearly.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from gland import backend, ops
from gland.data import Sample, resize, to_input
from gland.networks import Network, Prediction

Turn = Callable[[np.ndarray], np.ndarray]


@backend.memory_explained("the image, or choose --device cpu")
def predict(network: Network, sample: Sample, tta: bool = False) -> Prediction:
    """The prediction for the whole image, its maps at the image's own size.

    tta: scores and probabilities averaged over the eight flips and quarter turns.
    """
    image = resize(sample, network.scale).image
    prediction = network.predict(to_input([image]))
    if tta:
        turned = [network.predict(to_input([t(image)])) for t, _ in _SYMMETRIES[1:]]
        prediction = _average([prediction, *turned])
    size = sample.image.shape[:2]

    def at_own_size(m: np.ndarray | None) -> np.ndarray | None:
        return None if m is None else ops.upsample_bilinear(np.ascontiguousarray(m)[:, None], size)[:, 0]

    return prediction._replace(p_gland=at_own_size(prediction.p_gland), f=at_own_size(prediction.f))


def _symmetry(turns: int, flip: bool) -> tuple[Turn, Turn]:
    def forward(image: np.ndarray) -> np.ndarray:
        image = np.rot90(image, turns)
        return np.ascontiguousarray(image[:, ::-1] if flip else image)

    def back(m: np.ndarray) -> np.ndarray:
        return np.rot90(m[:, :, ::-1] if flip else m, -turns, axes=(1, 2))

    return forward, back


_SYMMETRIES = [_symmetry(turns, flip) for flip in (False, True) for turns in range(4)]


def _average(predictions: list[Prediction]) -> Prediction:
    mean: dict[str, Any] = {}
    for name in ("q", "p_gland", "f"):
        values = [getattr(p, name) for p in predictions]
        if values[0] is not None:
            backs = [(lambda q: q) if name == "q" else back for _, back in _SYMMETRIES]
            mean[name] = np.mean([back(v) for back, v in zip(backs, values, strict=True)], axis=0)
    return predictions[0]._replace(**mean)
