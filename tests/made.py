"""What several tests make up or measure: samples, rows of scores, networks that say what they are told, memory."""

import tracemalloc

import numpy as np

from gland.data import Sample
from gland.evaluation.scores import COLUMNS, MORE_COLUMNS
from gland.networks import Prediction


def sample(instances, malignant=False, field=None, image=None):
    """A sample of these glands, its image black unless it is given."""
    image = np.zeros((*instances.shape, 3), np.uint8) if image is None else image
    return Sample("train_1", image, instances.astype(np.int32), malignant, None, field)


def row(field=0, malignant=False, **scores):
    """What gland.evaluation.scores measures of one image."""
    return {"visual_field": field, "malignant": malignant, "part": "train"} | scores


def column(title):
    """That of gland.evaluation.scores which has this title."""
    return next(c for c in (*COLUMNS, *MORE_COLUMNS) if c.title == title)


class Saying:
    """A network that predicts p_gland (H, W) and q (2,), whatever it is shown."""

    scale = 0

    def __init__(self, p_gland=None, q=None):
        self.said = p_gland, q

    def predict(self, x):
        p_gland, q = (said if said is None else np.repeat(np.array([said]), len(x), axis=0) for said in self.said)
        return Prediction(q, p_gland, None, ())


def awake(network, seed=1):
    """The network with random biases: they start at 0, where none could be wrong and no padded edge would show."""
    rng = np.random.default_rng(seed)
    for layer in network.layers.values():
        if "b" in layer.names:
            layer.b[...] = 0.1 * rng.standard_normal(layer.b.shape)
    return network


def measured(call):
    """Bytes that Python and NumPy allocate beside what lives already, at their height."""
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    call()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak - before
