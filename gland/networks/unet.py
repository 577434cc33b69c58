"""U-Net as published: the baseline for segmentation in the paper's Table 1.

Ronneberger, Fischer and Brox, "U-Net: convolutional networks for biomedical image segmentation", 2015, section 2: five
levels of two 3x3 convolutions with ReLU, joined downwards by 2x2 max-pools, upwards by 2x2 "up-convolutions" that halve
the channels and by concatenation with the level's own features; a 1x1 convolution at the end; dropout at the end of the
contracting path (0.5 after its last two levels, as in the model they released); weights by He's rule, but the last
layer's, which are a tenth of it.

Departs from the publication: convolutions are padded, so that the output has the input's size and nothing is cropped;
the first level has 16 channels, not 64, which makes a step cost about what the joint network's does (2.3 and 2.0
thousand million multiplications in a 224 x 224 forward pass; 36.9 with 64); the loss is the other networks' plain
cross-entropy, without weights that grow between touching objects.
"""

from typing import Any, NamedTuple

import numpy as np

from gland import backend, loss, ops
from gland.layers import Conv2d, ConvReLU, Deconv2d, Dropout, MaxPool2d, start_small
from gland.networks.base import Losses, Network, Objective, Prediction, reflected

Array = Any
LEVELS = 5
DROPOUT = (0, 0, 0, 0.5, 0.5)


class Level:
    """Two 3x3 convolutions with ReLU, and dropout where the level has it.   x (N, C, H, W) -> y (N, O, H, W)"""

    class Cache(NamedTuple):
        conv1: Any
        conv2: Any
        drop: Any

    def __init__(self, c: int, o: int, rate: float, start: dict[str, Any]) -> None:
        self.conv1 = ConvReLU(c, o, 3, pad=1, **start)
        self.conv2 = ConvReLU(o, o, 3, pad=1, **start)
        self.drop = Dropout(rate)

    def forward(self, x: Array, rng: np.random.Generator | None) -> tuple[Array, Cache]:
        self.drop.rng = rng
        y, cache1 = self.conv1.forward(x)
        y, cache2 = self.conv2.forward(y)
        y, drop = self.drop.forward(y)
        return y, self.Cache(cache1, cache2, drop)

    def backward(self, dy: Array, cache: Cache, first: bool = False) -> Array | None:
        """dx, or None for the level whose x is the image."""
        dy = self.conv2.backward(self.drop.backward(dy, cache.drop), cache.conv2)
        if first:
            self.conv1.weight_grad(dy, cache.conv1)
            return None
        return self.conv1.backward(dy, cache.conv1)


class Pass(NamedTuple):
    """What one forward pass leaves for the backward pass."""

    down: list[Any]
    pools: list[Any]
    deconvs: list[Any]
    up: list[Any]
    head: Any


class UNet(Network):
    """x (N, 3, H, W), H and W multiples of 16 -> logits (N, 2, H, W), channel 0 gland.   width: channels of level 1."""

    kind = "seg"
    random = True  # dropout
    multiple = 2 ** (LEVELS - 1)
    margin = 112  # pixels that the map can see beyond its own place (tests/test_tiling.py), a multiple of 16

    def __init__(self, width: int = 16, seed: int = 0, dtype: Any = np.float32) -> None:
        start = {"rng": np.random.default_rng(seed), "dtype": dtype}
        widths = [width * 2**k for k in range(LEVELS)]
        self.down = [Level(c, o, rate, start) for c, o, rate in zip((3, *widths), widths, DROPOUT, strict=False)]
        self.pool = MaxPool2d(2)
        self.deconvs = [Deconv2d(2 * o, o, 2, stride=2, **start) for o in widths[-2::-1]]
        self.up = [Level(2 * o, o, 0, start) for o in widths[-2::-1]]
        self.head = start_small(Conv2d(width, 2, 1, **start))
        self.layers = {}
        for k, level in enumerate(self.down, 1):
            self.layers |= {f"down{k}.conv1": level.conv1, f"down{k}.conv2": level.conv2}
        for k, deconv, level in zip(range(LEVELS - 1, 0, -1), self.deconvs, self.up, strict=True):
            self.layers |= {f"up{k}.deconv": deconv, f"up{k}.conv1": level.conv1, f"up{k}.conv2": level.conv2}
        self.layers["score"] = self.head
        self.flatten()

    def forward(self, x: Array, rng: np.random.Generator | None = None) -> tuple[Array, Pass]:
        """Logits (N, 2, H, W), and what the backward pass needs."""
        passed, features = Pass([], [], [], [], None), []
        cache: Any
        for k, level in enumerate(self.down):
            if k > 0:
                x, cache = self.pool.forward(x)
                passed.pools.append(cache)
            x, cache = level.forward(x, rng)
            passed.down.append(cache)
            features.append(x)
        for deconv, level, skip in zip(self.deconvs, self.up, features[-2::-1], strict=True):
            y, cache = deconv.forward(x)
            passed.deconvs.append(cache)
            x, cache = level.forward(ops.concat([skip, y]), rng)
            passed.up.append(cache)
        logits, head = self.head.forward(x)
        return logits, passed._replace(head=head)

    def backward(self, dlogits: Array, passed: Pass) -> None:
        """Adds dL/dw to every parameter's gradient; dlogits (N, 2, H, W)."""
        dy: Any = self.head.backward(dlogits, passed.head)
        dfeatures = []
        for k in range(LEVELS - 2, -1, -1):
            both: Any = self.up[k].backward(dy, passed.up[k])
            dskip, dy = ops.split(both, [both.shape[1] // 2] * 2)
            dy = self.deconvs[k].backward(dy, passed.deconvs[k])
            dfeatures.append(dskip)
        for k in range(LEVELS - 1, -1, -1):
            if k < LEVELS - 1:
                dy = ops.add(self.pool.backward(dy, passed.pools[k]), dfeatures[k])
            dy = self.down[k].backward(dy, passed.down[k], first=k == 0)

    def loss_and_grad(
        self, x: Array, mask: Array | None, malignant: Array | None, objective: Objective = Objective()
    ) -> Losses:
        """Eq. (4) with f = 1 everywhere, where all its readings are the plain cross-entropy; the gradient is added.

        x (N, 3, H, W), mask S (N, H, W) in {0, 1}. malignant is the joint network's, and unused.
        """
        logits, passed = self.forward(x, self.rng)
        loss_of, grad_of = loss.SEGMENTATION_LOSSES[objective.reading]
        f = ops.ones_like(mask)
        value = loss_of(logits, mask, f)
        self.backward(grad_of(logits, mask, f)[0], passed)
        return Losses(value, None, value, None, logits)

    def predict(self, x: np.ndarray) -> Prediction:
        """Any H, W: padded by reflection, right and below, to multiples of 16, and the result cropped back."""
        h, w = x.shape[2:]
        x = self.place(reflected(x, h + -h % self.multiple, w + -w % self.multiple))
        logits, _ = self.forward(x)
        return Prediction(None, backend.to_host(ops.softmax(logits)[:, 0])[:, :h, :w], None, ())
