"""Tiles against one large forward pass, in float64: scores, prior and probabilities, with no seam, for every network."""

import numpy as np
import pytest
from made import awake
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


def check(net, image):
    """In tiles the network says of the image what it says of it whole."""
    tiled = tiling.Tiled(net, image, to_input, CORE)
    whole = tiled.whole()
    p_gland, f = np.full((2, *image.shape[:2]), np.nan)
    for piece in tiled.pieces(whole):
        assert np.isnan(p_gland[piece.rows, piece.columns]).all()  # the pieces do not overlap
        p_gland[piece.rows, piece.columns] = piece.p_gland
        f[piece.rows, piece.columns] = np.nan if piece.f is None else piece.f
    expected = net.predict(to_input(image))
    for found, one_pass in ((p_gland[None], expected.p_gland), (f[None], expected.f), (whole.q, expected.q)):
        if one_pass is not None:
            np.testing.assert_allclose(found, one_pass, rtol=0, atol=1e-12)


def joint(**options):
    return awake(MultiLoss(width=2, dtype=np.float64, **options))


NETWORKS = {
    "joint": lambda: joint(),
    "literal probability, with activation": lambda: joint(eq3_of="probability", prior_kind="gradient-activation"),
    "without prior": lambda: joint(use_prior=False),
    "without scores": lambda: joint(use_scores=False, skip=False),
    "seg": lambda: joint(kind="seg"),
    "unet": lambda: awake(UNet(2, dtype=np.float64)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_tiles_give_what_one_pass_gives(name, image):
    check(NETWORKS[name](), image)


def test_class_only_has_scores_and_nothing_else(image):
    net = joint(kind="class")
    q = tiling.Tiled(net, image, to_input, CORE).whole().q
    np.testing.assert_allclose(q, net.predict(to_input(image)).q, atol=1e-12)


@pytest.mark.parametrize("name", ["joint", "unet"])
def test_a_margin_that_is_too_narrow_shows_a_seam(name, image):
    net = NETWORKS[name]()
    net.margin = 64
    with pytest.raises(AssertionError):
        check(net, image)


MISTAKES = {
    "not divided by the image's maximum": (tiling.Tiled, "_peak", lambda self, c, core, read: 1.0),
    "a wrong prior": (tiling.Tiled, "_maps", lambda self, cache, label: list(map(np.ones_like, cache.pooled))),
    "positions counted twice": (tiling, "_middle", lambda m, core, read, scale: m),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_caught(mistake, image, monkeypatch):
    monkeypatch.setattr(*MISTAKES[mistake])
    with pytest.raises(AssertionError):
        check(joint(), image)


def test_a_core_between_two_pools_is_refused(image):
    with pytest.raises(ValueError, match="not a multiple of 32"):
        tiling.Tiled(joint(), image, to_input, 100)
