"""What all networks promise: one seed, one network; images of any size; gradients that add up; arguments left alone."""

import numpy as np
import pytest
from made import awake

from gland.networks import KINDS, NETWORKS, AlexNet, Architecture, MultiLoss, UNet, build

MAKERS = {kind: lambda seed, kind=kind: MultiLoss(kind, 1, seed=seed) for kind in KINDS}
MAKERS |= {"alexnet": lambda seed: AlexNet(6, 96, seed), "unet": lambda seed: UNet(1, seed)}
every_network = pytest.mark.parametrize("name", NETWORKS)


def built(name, seed=0):
    return build(Architecture(network=name, width=6 if name == "alexnet" else 1, crop=96, seed=seed))


@every_network
def test_one_seed_one_network_built_by_its_name_or_directly(name):
    a, b, c = MAKERS[name](4).flat, built(name, 4).flat, built(name, 5).flat
    assert np.array_equal(a, b) and not np.array_equal(a, c)


@every_network
def test_gradients_add_and_arguments_stay(name):
    rng, net = np.random.default_rng(0), awake(built(name))
    net.flatten(np.float64)
    batch = rng.standard_normal((2, 3, 96, 96)), (rng.random((2, 96, 96)) < 0.5).astype(float), np.array([0, 1])
    for a in batch:
        a.flags.writeable = False  # writing into one raises
    net.loss_and_grad(*batch)
    once = net.flat_grad.copy()
    net.loss_and_grad(*batch)
    assert once.any()
    np.testing.assert_allclose(net.flat_grad, 2 * once, rtol=1e-12)


SIZES = [(1, 1), (1, 40), (16, 16), (17, 31), (40, 5), (31, 33), (32, 64), (30, 96), (97, 50), (98, 150), (300, 299)]


@every_network
@pytest.mark.parametrize("size", SIZES)
def test_any_image_size_is_predicted(name, size):
    net = built(name)
    q, p, f, f_k = net.predict(np.random.default_rng(0).standard_normal((2, 3, *size)).astype(np.float32))
    assert (q is not None, p is not None, f is not None) == (net.kind != "seg", net.kind != "class", name == "joint")
    assert q is None or (q.shape == (2, 2) and np.allclose(q.sum(axis=1), 1, rtol=1e-6))
    assert p is None or (p.shape == (2, *size) and ((p >= 0) & (p <= 1)).all())
    assert f is None or f.shape == (2, *size)
    levels = range(1, 6) if name == "joint" else ()
    assert [m.shape[1:] for m in f_k] == [tuple(-(-n // 2**k) for n in size) for k in levels]
