"""Small phantom images, two to learn from and two unseen, and a network that has trained on the first for a moment."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from gland.data.sample import to_input
from gland.data.tissue import paint
from gland.networks.multiloss import MultiLoss
from gland.training.solver import SGD

SIDE, WINDOW, SHRINK = 128, 64, 6
WIDTH, RATE, MOMENTUM, START = 4, 0.01, 0.9, 100
LABEL = np.array([0, 1])  # of each pair: the first image is benign, the second malignant


class Images(NamedTuple):
    x: np.ndarray  # (2, 3, 128, 128) network input
    mask: np.ndarray  # (2, 128, 128) in {0, 1}
    rgb: np.ndarray  # (2, 128, 128, 3) uint8


@lru_cache(1)
def phantoms() -> tuple[Images, Images]:
    """Images to learn from, and unseen ones: a benign and a malignant field each, every 6x6 block of pixels one pixel."""
    with ThreadPoolExecutor(2) as pool:
        fields = list(pool.map(lambda n: _field(np.random.default_rng([n % 2, 5 + n // 2]), bool(n % 2)), range(4)))
    sets = [zip(*fields[:2]), zip(*fields[2:])]
    seen, unseen = (
        Images(to_input(np.stack(rgb)), np.stack(mask).astype(np.float32), np.stack(rgb).round().astype(np.uint8))
        for rgb, mask in sets
    )
    return seen, unseen


def _field(rng: np.random.Generator, malignant: bool) -> tuple[np.ndarray, np.ndarray]:
    image, instances = paint(rng, SIDE * SHRINK, SIDE * SHRINK, malignant)
    blocks = SIDE, SHRINK, SIDE, SHRINK
    return image.reshape(*blocks, 3).mean(axis=(1, 3)), (instances > 0).reshape(blocks).mean(axis=(1, 3)) > 0.5


def window(step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, mask and label of one training step: the same random window of both images, sometimes mirrored."""
    images, _ = phantoms()
    rng = np.random.default_rng([9, step])
    i, j = (slice(n, n + WINDOW) for n in rng.integers(0, SIDE - WINDOW + 1, 2))
    mirror = slice(None, None, -1 if rng.random() < 0.5 else 1)
    return images.x[:, :, i, j][:, :, mirror], images.mask[:, i, j][:, mirror], LABEL


class Descent:
    """The paper's solver, for as long as a reading is watched."""

    def __init__(self, net: MultiLoss, rate: float = RATE, momentum: float = MOMENTUM) -> None:
        self.net, self.rate, self.solver = net, rate, SGD(net, momentum)

    def step(self, add_gradient: Callable[[], Any]) -> float:
        """One step; add_gradient() adds dL/dw to the network's gradients and returns L."""
        self.net.zero_grad()
        value = add_gradient()
        self.solver.step(self.rate)
        return float(value)


def fresh(**options: Any) -> MultiLoss:
    return MultiLoss(width=WIDTH, seed=0, **options)


def started(**options: Any) -> MultiLoss:
    """A network with the weights after START steps under the default readings, with skip connections or without."""
    net = fresh(**options)
    net.flat[...] = _weights(net.skip)
    return net


def _added(net: MultiLoss, x: np.ndarray, mask: np.ndarray, label: np.ndarray) -> Any:
    return net.loss_and_grad(x, mask, label).total


@lru_cache(2)
def _weights(skip: bool) -> np.ndarray:
    net = fresh(skip=skip)
    descent = Descent(net)
    for step in range(START):
        descent.step(partial(_added, net, *window(step)))
    return net.flat
