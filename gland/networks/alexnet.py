"""AlexNet as published, with two classes: the baseline for classification in the paper's Table 1.

Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural networks", 2012, section 3.5.
Its two halves, one for each of two GPUs, are groups here: conv2, conv4 and conv5 have two, conv3 sees all channels. The
normalisation's sum runs over all channels, as its formula is printed.

Departs from the publication: two classes; weights start by He's rule, save the last layer's, and biases at 0
(published: a normal of deviation 0.01 and biases of 1 in some layers; through five convolutions that leaves little of
an image's own signal). The published 224 x 224 input does not give its 55 x 55 outputs without padding; as is usual,
224 is padded by 2 and 227 not at all.
"""

from typing import Any

import numpy as np

from gland import backend, loss, ops
from gland.layers import ConvReLU, Dropout, Flatten, Linear, LocalResponseNorm, MaxPool2d, ReLU
from gland.networks.base import Losses, Network, Objective, Prediction, reflected

Array = Any
PUBLISHED = (96, 256, 384, 384, 256, 4096)  # channels of conv1 .. conv5, units of fc6 and fc7
SMALLEST = 64  # pixels; less leaves nothing after the last pool
AT_ONCE = 16  # windows in one forward pass of predict


class AlexNet(Network):
    """x (N, 3, size, size) -> logits a (N, 2).   size: 224 or 227 as published; any other from SMALLEST up works alike.

    width: channels of the first layer, a multiple of 6; all others keep their proportion to it. 96 is AlexNet.
    """

    kind = "class"
    random = True  # dropout

    def __init__(self, width: int = 96, size: int = 224, seed: int = 0, dtype: Any = np.float32) -> None:
        if width < 6 or width % 6:
            raise ValueError(f"width {width} is no positive multiple of 6, so the two groups would not be equal")
        if size < SMALLEST:
            raise ValueError(
                f"an input of {size} pixels leaves nothing after the last pool; it must be {SMALLEST} or more"
            )
        pad = 0 if (size - 11) % 4 == 0 else 2
        pooled = (size + 2 * pad - 11) // 4 + 1
        for _ in range(3):
            pooled = (pooled - 3) // 2 + 1
        c1, c2, c3, c4, c5, fc = (n * width // PUBLISHED[0] for n in PUBLISHED)
        start = {"rng": np.random.default_rng(seed), "dtype": dtype}
        self.size = size
        self.layers = {
            "conv1": ConvReLU(3, c1, 11, stride=4, pad=pad, **start),
            "norm1": LocalResponseNorm(),
            "pool1": MaxPool2d(3, stride=2),
            "conv2": ConvReLU(c1, c2, 5, pad=2, groups=2, **start),
            "norm2": LocalResponseNorm(),
            "pool2": MaxPool2d(3, stride=2),
            "conv3": ConvReLU(c2, c3, 3, pad=1, **start),
            "conv4": ConvReLU(c3, c4, 3, pad=1, groups=2, **start),
            "conv5": ConvReLU(c4, c5, 3, pad=1, groups=2, **start),
            "pool5": MaxPool2d(3, stride=2),
            "flatten": Flatten(),
            "fc6": Linear(c5 * pooled**2, fc, **start),
            "relu6": ReLU(),
            "drop6": Dropout(0.5),
            "fc7": Linear(fc, fc, **start),
            "relu7": ReLU(),
            "drop7": Dropout(0.5),
            "fc8": Linear(fc, 2, **start),
        }
        self.layers["fc8"].w *= 0.01 / np.sqrt(2 / fc)  # from He's deviation to the published one
        self.flatten()

    def forward(self, x: Array, rng: np.random.Generator | None = None) -> tuple[Array, list[Any]]:
        """Logits a (N, 2), and every layer's cache."""
        caches = []
        for layer in self.layers.values():
            if isinstance(layer, Dropout):
                layer.rng = rng
            x, cache = layer.forward(x)
            caches.append(cache)
        return x, caches

    def backward(self, da: Array, caches: list[Any]) -> None:
        """Adds dL/dw to every parameter's gradient; da (N, 2)."""
        conv1, *above = self.layers.values()
        assert isinstance(conv1, ConvReLU)
        for layer, cache in zip(reversed(above), reversed(caches), strict=False):
            da = layer.backward(da, cache)
        conv1.weight_grad(da, caches[0])

    def loss_and_grad(
        self, x: Array, mask: Array | None, malignant: Array | None, objective: Objective = Objective()
    ) -> Losses:
        """class_loss_and_grad; mask and objective are the joint network's, and unused."""
        return self.class_loss_and_grad(x, malignant)

    def class_loss_and_grad(self, x: Array, malignant: Array) -> Losses:
        """Eq. (1), its gradient added to every parameter's.   x (N, 3, size, size), malignant (N,) in {0, 1}"""
        logits, caches = self.forward(x, self.rng)
        value = loss.class_loss(logits, malignant)
        self.backward(loss.class_loss_grad(logits, malignant), caches)
        return Losses(value, value, None, logits, None)

    def predict(self, x: np.ndarray) -> Prediction:
        """Any H, W: the mean of the class scores over the fewest windows that cover the image, evenly spaced.

        The published test takes ten 224 windows of an image made smaller; a window here keeps the scale that training
        had, and what the scores see is the whole image. An image smaller than a window is padded by reflection.
        """
        h, w = x.shape[2:]
        x = reflected(x, max(h, self.size), max(w, self.size))
        places = [(i, j) for i in _starts(x.shape[2], self.size) for j in _starts(x.shape[3], self.size)]
        q = [self._mean_scores(image, places) for image in x]
        return Prediction(np.stack(q), None, None, ())

    def _mean_scores(self, image: np.ndarray, places: list[tuple[int, int]]) -> np.ndarray:
        total: Any = 0
        for start in range(0, len(places), AT_ONCE):
            some = places[start : start + AT_ONCE]
            windows = np.stack([image[:, i : i + self.size, j : j + self.size] for i, j in some])
            logits, _ = self.forward(self.place(windows))
            total = total + backend.to_host(ops.softmax(logits)).sum(axis=0)
        return total / len(places)


def _starts(n: int, size: int) -> list[int]:
    """Where the fewest windows that cover 0 .. n - 1 begin, evenly spaced from 0 to n - size."""
    count = -(-n // size)
    return [round(k * (n - size) / max(1, count - 1)) for k in range(count)]
