"""Tiles against one large forward pass, in float64: scores, prior and probabilities, with no seam, for every network."""

import numpy as np
import pytest
from scipy import ndimage

from gland.inference import tiling
from gland.networks import MultiLoss, UNet

CORE = 96


@pytest.fixture(scope="module")
def image():  # longer than a tile, so that the middle tiles see no edge of it; no multiple of 32
    rng = np.random.default_rng(0)
    return ndimage.gaussian_filter(rng.random((517, 70, 3)), (3, 3, 0)) * 10 - 5


def to_input(pixels):
    return np.ascontiguousarray(pixels)[None].transpose(0, 3, 1, 2)


def random_biases(net):  # they start at 0, and what a padded edge does would not show
    rng = np.random.default_rng(1)
    for layer in net.layers.values():
        layer.b[...] = 0.1 * rng.normal(size=layer.b.shape)
    return net


def in_tiles(net, image):
    tiled = tiling.Tiled(net, image, to_input, CORE)
    whole = tiled.whole()
    p_gland = np.full(image.shape[:2], np.nan)
    f = p_gland.copy()
    for piece in tiled.pieces(whole):
        assert np.isnan(p_gland[piece.rows, piece.columns]).all()  # the pieces do not overlap
        p_gland[piece.rows, piece.columns] = piece.p_gland
        f[piece.rows, piece.columns] = np.nan if piece.f is None else piece.f
    return whole, p_gland, f


def check(net, image):
    whole, p_gland, f = in_tiles(net, image)
    expected = net.predict(to_input(image))
    np.testing.assert_allclose(p_gland, expected.p_gland[0], rtol=0, atol=1e-12)
    if expected.f is not None:
        np.testing.assert_allclose(f, expected.f[0], rtol=0, atol=1e-12)
    if expected.q is not None:
        np.testing.assert_allclose(whole.q, expected.q, rtol=0, atol=1e-12)


def joint(**options):
    return random_biases(MultiLoss(width=2, dtype=np.float64, **options))


NETWORKS = {
    "joint": lambda: joint(),
    "literal probability, gradient times activation": lambda: joint(
        eq3_of="probability", prior_kind="gradient-activation"
    ),
    "without prior": lambda: joint(use_prior=False),
    "without scores": lambda: joint(use_scores=False, skip=False),
    "seg": lambda: joint(kind="seg"),
    "unet": lambda: random_biases(UNet(2, dtype=np.float64)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_tiles_give_what_one_pass_gives(name, image):
    check(NETWORKS[name](), image)


def test_class_only_has_scores_and_nothing_else(image):
    net = joint(kind="class")
    np.testing.assert_allclose(
        tiling.Tiled(net, image, to_input, CORE).whole().q, net.predict(to_input(image)).q, atol=1e-12
    )


@pytest.mark.parametrize("name", ["joint", "unet"])
def test_a_margin_that_is_too_narrow_shows_a_seam(name, image):
    net = NETWORKS[name]()
    net.margin = 64
    with pytest.raises(AssertionError):
        check(net, image)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("_peak", lambda self, c, core, read: 1.0),  # not divided by the image's maximum
        ("_maps", lambda self, cache, label: list(map(np.ones_like, cache.pooled))),
    ],
)
def test_a_wrong_prior_is_caught(name, wrong, image, monkeypatch):
    monkeypatch.setattr(tiling.Tiled, name, wrong)
    with pytest.raises((AssertionError, ValueError)):
        check(joint(), image)


def test_positions_counted_twice_are_caught(image, monkeypatch):
    monkeypatch.setattr(tiling, "_middle", lambda m, core, read, scale: m)
    with pytest.raises(AssertionError):
        check(joint(), image)


def test_a_core_between_two_pools_is_refused(image):
    with pytest.raises(ValueError, match="not a multiple of 32"):
        tiling.Tiled(joint(), image, to_input, 100)
