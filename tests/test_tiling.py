"""Tiles give what the whole image would have given, whatever its size, and files are read in strips."""

import numpy as np
import pytest
from PIL import Image

from gland import checkpoint, config, tiling, whole
from gland.data import strips, to_input
from gland.errors import InputError
from gland.evaluation import segment_files
from gland.networks import AlexNet, MultiLoss, UNet

TILE = 64
EXACT = 1e-10  # of values in [0, 1], float64; the order of sums differs


def image(h, w, seed=0):
    """Blocks of colour and noise."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(40, 200, (h // 8 + 1, w // 8 + 1, 3)).repeat(8, 0).repeat(8, 1)[:h, :w]
    return (blocks + rng.integers(0, 40, (h, w, 3))).astype(np.uint8)


def joint(**options):
    return MultiLoss("joint", 2, dtype=np.float64, **options)


def difference(network, picture, tile=TILE):
    """The largest difference between tiled and untiled q, p_gland and f; infinite where a pixel is left out."""
    p_gland, f = np.full((2, *picture.shape[:2]), np.inf)

    def each(rows, columns, p, prior):
        p_gland[rows, columns] = p
        if prior is not None:
            f[rows, columns] = prior

    q = tiling.predict_tiles(network, picture, each, tile)
    expected = network.predict(to_input([picture]))
    pairs = [(q, expected.q), (p_gland[None], expected.p_gland), (f[None], expected.f)]
    return max(np.abs(a - b).max() for a, b in pairs if b is not None)


@pytest.mark.parametrize(
    "network",
    [
        joint(),
        joint(prior="gradient-activation", seed=3),
        joint(skip=False, use_scores=False, seed=1),
        joint(use_prior=False),
        MultiLoss("seg", 2, dtype=np.float64),
        MultiLoss("class", 2, dtype=np.float64),
        UNet(2, dtype=np.float64),
        AlexNet(6, 64, dtype=np.float64),
    ],
    ids=["joint", "gradient-activation", "no skip", "no prior", "seg", "class", "unet", "alexnet"],
)
def test_tiles_equal_the_whole_image(network):
    assert difference(network, image(301, 330)) < EXACT


@pytest.mark.parametrize("size", [(1, 40), (31, 33), (64, 64), (65, 200)])
def test_any_size_is_covered(size):
    assert difference(joint(), image(*size)) < EXACT


@pytest.mark.parametrize("network", [joint(), MultiLoss("class", 2, dtype=np.float64), UNet(2, dtype=np.float64)])
def test_a_margin_one_step_smaller_leaves_seams(network, monkeypatch):
    monkeypatch.setattr(tiling, "MARGINS", {name: margin - 32 for name, margin in tiling.MARGINS.items()})
    assert difference(network, image(301, 330)) > EXACT


def test_each_tile_s_own_maximum_would_be_seen(monkeypatch):
    plain = tiling._segment_tile

    def own_maximum(network, t, summary):
        own = tiling._summarise(network, [t])
        return plain(network, t, summary._replace(largest=own.largest * own.positions / summary.positions))

    monkeypatch.setattr(tiling, "_segment_tile", own_maximum)
    assert difference(joint(), image(301, 330)) > EXACT


def test_float32_seams_stay_below_rounding():
    assert difference(MultiLoss("joint", 4), image(301, 330)) < 1e-3


def test_segment_gives_the_mask_of_eq_6():
    network, picture = joint(), image(120, 150)
    q, mask = tiling.segment(network, picture, TILE)
    expected = network.predict(to_input([picture]))
    np.testing.assert_allclose(q, expected.q, atol=EXACT)
    assert np.array_equal(mask, expected.p_gland[0] > 0.5) and 0 < mask.mean() < 1


@pytest.mark.parametrize("name", ["a.bmp", "a.npy", "a.png", "a.tif"])
def test_strips_are_the_rows_of_the_file(tmp_path, name):
    picture, path = image(37, 23), tmp_path / name
    np.save(path, picture) if name.endswith("npy") else Image.fromarray(picture).save(path)
    with strips.open_strips(path) as opened:
        assert opened.shape == (37, 23, 3)
        assert np.array_equal(opened.rows(0, 37), picture)
        assert np.array_equal(opened.rows(5, 12), picture[5:12])


def test_bmp_and_npy_are_never_held_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(strips, "WHOLE", 100)
    picture = image(37, 23)
    Image.fromarray(picture).save(tmp_path / "a.bmp")
    np.save(tmp_path / "a.npy", picture)
    Image.fromarray(picture).save(tmp_path / "a.png")
    for name in ("a.bmp", "a.npy"):
        with strips.open_strips(tmp_path / name) as opened:
            assert np.array_equal(opened.rows(36, 37), picture[36:])
    with pytest.raises(InputError, match="saved as an uncompressed"):
        strips.open_strips(tmp_path / "a.png")


def test_pillow_s_limit_does_not_hold_for_the_header(tmp_path, monkeypatch):
    Image.fromarray(image(37, 23)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert strips.size(tmp_path / "a.png") == (37, 23)
    assert Image.MAX_IMAGE_PIXELS == 10


def spoilt(folder, kind):
    path = folder / ("a.bmp" if "bmp" in kind else "a.npy" if "npy" in kind else "a.png")
    if kind == "truncated bmp":
        Image.fromarray(image(37, 23)).save(path)
        path.write_bytes(path.read_bytes()[:-200])
    elif kind == "grey png":
        Image.fromarray(image(37, 23)[..., 0]).save(path)
    elif kind == "float npy":
        np.save(path, image(37, 23) / 255)
    elif kind == "truncated npy":
        np.save(path, image(37, 23))
        path.write_bytes(path.read_bytes()[:-200])
    elif kind != "absent png":
        path.write_bytes(b"not an image")
    return path


@pytest.mark.parametrize(
    "kind", ["truncated bmp", "grey png", "float npy", "truncated npy", "absent png", "no png", "no bmp", "no npy"]
)
def test_a_bad_file_is_one_sentence_that_names_it(tmp_path, kind):
    path = spoilt(tmp_path, kind)
    with pytest.raises(InputError) as error:
        strips.open_strips(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.fixture
def run(tmp_path):
    """A run of an untrained joint network."""
    c = config.complete(config.parser().parse_args(["--width", "2"]))
    folder = tmp_path / "run"
    checkpoint.save_config(folder, c | {"data": "made up", "split": {}})
    checkpoint.save(folder / "last.npz", MultiLoss("joint", 2, seed=c["seed"]).parameters(), {})
    return folder


def test_evaluate_segments_a_large_image_in_tiles(run, tmp_path, monkeypatch):
    monkeypatch.setattr(whole, "LARGE", 100 * 100)
    large, small = image(120, 150), image(90, 100)
    Image.fromarray(large).save(tmp_path / "large.bmp")
    Image.fromarray(small).save(tmp_path / "small.png")
    table = segment_files(run, [str(tmp_path / "large.bmp"), str(tmp_path / "small.png")], device="cpu")
    mask = np.asarray(Image.open(run / "images" / "large_mask.png"))
    expected = checkpoint.load_network(run).predict(to_input([large]))
    assert np.array_equal(mask == 255, expected.p_gland[0] > 0.5) and set(np.unique(mask)) <= {0, 255}
    assert f"{expected.q[0].max():.3f}" in table.splitlines()[2]
    assert (run / "images" / "small_overlay.png").exists() and not (run / "images" / "large_overlay.png").exists()


def test_tiles_and_tta_exclude_each_other(run, tmp_path, monkeypatch):
    monkeypatch.setattr(whole, "LARGE", 100)
    Image.fromarray(image(20, 20)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="leave out --tta"):
        segment_files(run, [str(tmp_path / "a.png")], tta=True, device="cpu")
