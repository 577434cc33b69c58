"""The smallest joint network and a batch for it, on which Eq. (3), the prior and the joint gradient are audited."""

from collections.abc import Callable
from typing import Any

import numpy as np

from gland.gradcheck.numeric import directions, moved
from gland.networks.multiloss import MultiLoss

Array = Any
LAM = 0.3  # not the paper's 0.5, at which an exchange of lambda and 1 - lambda would not show


def network(**options: Any) -> MultiLoss:
    """The smallest joint network, with biases away from zero so that every tensor matters."""
    net = MultiLoss(width=1, seed=3, dtype=np.float64, **options)
    rng = np.random.default_rng(11)
    for path, value in net.parameters().items():
        if path.endswith(".b"):
            value[...] = rng.uniform(0.05, 0.3, value.shape)
    return net


def batch() -> tuple[Array, Array, Array]:
    """Two 32x64 images, one of each class, and their masks. z_5 is 1x2: at 1x1 a map divided by its maximum would
    be constant.
    """
    rng = np.random.default_rng(0)
    images = rng.standard_normal((2, 3, 32, 64))
    return images, (rng.random((2, 32, 64)) < 0.5).astype(float), np.array([0, 1])


def as_complex(net: MultiLoss, **options: Any) -> MultiLoss:
    """The same network with complex parameters of the same values."""
    other = MultiLoss(width=1, seed=3, dtype=np.complex128, **options)
    other.flat[...] = net.flat
    return other


def probe(z: MultiLoss, path: str, d: Array, s: Callable[[], Any], elements: int = 0) -> tuple[Array, Array]:
    """d, and the same by a complex step of s, along one random direction through all of a tensor and for some of
    its elements.
    """
    parameter = z.parameters()[path]
    ways = [t for _, t in directions(d, np.random.default_rng([13, d.size]), elements)]
    return np.array([(d * t).sum() for t in ways]), np.array([moved(parameter, t, s) for t in ways])
