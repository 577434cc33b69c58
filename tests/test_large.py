"""Large images: pieces of a resized image, a mask written as it comes, memory that does not grow, and bad files."""

import io
from itertools import pairwise, product

import numpy as np
import pytest
from made import measured
from PIL import Image

from gland.data.sample import colour_statistics
from gland.errors import InputError
from gland.inference import files, large
from gland.networks import MultiLoss, UNet
from gland.ops.host import arena


def noise(h, w):
    return np.random.default_rng(0).integers(0, 256, (h, w, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(120, 80), (77, 131), (300, 300)])
def test_a_piece_of_a_scaled_image_is_that_piece_of_the_whole(size):
    image = noise(150, 130)
    expected = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC)).astype(int)
    scaled = large.Scaled(image, size)
    for (i, j), (k, l) in product(*(pairwise((0, 1, n // 3, n // 2, n)) for n in size)):
        piece = scaled[i:j, k:l].astype(int)
        assert piece.shape == (j - i, l - k, 3)
        assert np.abs(piece - expected[i:j, k:l]).max() <= 1  # of 255: Pillow rounds its weights


def test_a_piece_that_sees_too_little_of_the_image_is_caught(monkeypatch):
    monkeypatch.setattr(large, "REACH", 0)
    with pytest.raises(AssertionError):
        test_a_piece_of_a_scaled_image_is_that_piece_of_the_whole((300, 300))


def test_colours_counted_in_strips(monkeypatch):
    monkeypatch.setattr(large, "STRIP", 1000)
    image = noise(97, 61)
    for found, expected in zip(large.colour_statistics(image), colour_statistics(image), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_png_in_pieces_reads_back():
    pixels, file = noise(40, 33)[..., 0], io.BytesIO()
    png = large.Png(file, 33, 40)
    for i in range(0, 40, 7):
        png.write(pixels[i : i + 7])
    png.close()
    assert np.array_equal(np.asarray(Image.open(file)), pixels)


def test_a_network_sees_a_large_image_at_its_own_scale(tmp_path, monkeypatch):
    sizes, net, one_colour = [], MultiLoss("class", 2), (np.zeros(3), np.ones(3))
    monkeypatch.setattr(large, "colour_statistics", lambda image: sizes.append(image.shape) or one_colour)
    for net.scale in (0, 0.25):
        large.segment(net, noise(104, 155), tmp_path / "mask.png", 64)
    assert sizes == [(100, 100, 3), (26, 39, 3)]


@pytest.mark.parametrize("net", [MultiLoss(width=2), MultiLoss("seg", 2), UNet(2)], ids=["joint", "seg", "unet"])
def test_the_mask_has_the_images_size_and_the_share_that_is_told(net, tmp_path):
    image, seen = noise(330, 421), []
    _, share = large.segment(net, image, tmp_path / "mask.png", 64, lambda done, of: seen.append((done, of)))
    mask = np.asarray(Image.open(tmp_path / "mask.png"))
    assert mask.shape == image.shape[:2] and set(np.unique(mask)) <= {0, 255}
    assert share == pytest.approx((mask > 0).mean())
    assert seen == [(i + 1, len(seen)) for i in range(len(seen))]


def test_class_only_writes_nothing(tmp_path):
    q, share = large.segment(MultiLoss("class", 2), noise(200, 200), tmp_path / "mask.png", 64)
    assert q.shape == (1, 2) and share is None and not list(tmp_path.iterdir())


@pytest.fixture
def growth(tmp_path, monkeypatch):
    """Bytes that an image of 1.2 million more pixels takes more."""
    monkeypatch.setattr(large, "STRIP", 100_000)

    def peak(h):
        np.save(tmp_path / "image", np.broadcast_to(np.uint8(7), (h, 300, 3)))
        arena.clear()
        image = large.Mapped(tmp_path / "image.npy")
        return measured(lambda: large.segment(UNet(1), image, tmp_path / "mask.png", 256))

    return lambda: peak(9000) - peak(5000)  # both have tiles of every kind


def test_memory_does_not_grow_with_the_image(growth):
    assert growth() < 600_000  # half a byte a pixel: not even the mask is held


def test_an_image_read_whole_is_caught(growth, monkeypatch):
    monkeypatch.setattr(large.Mapped, "__getitem__", lambda self, place: np.load(self.file)[place])
    assert growth() > 600_000


BAD = {
    "grey": (lambda file: np.save(file, np.zeros((5, 5), np.uint8)), "must be uint8"),
    "float": (lambda file: np.save(file, np.zeros((5, 5, 3), np.float32)), "must be uint8"),
    "objects": (lambda file: np.save(file, np.array([{}]), allow_pickle=True), "cannot be read"),
    "no array": (lambda file: file.write_bytes(b"not an array"), "cannot be read"),
    "no file": (lambda file: None, "does not exist"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arrays_are_refused_in_one_sentence(case, tmp_path):
    write, reason = BAD[case]
    write(tmp_path / "a.npy")
    with pytest.raises(InputError, match=reason):
        large.Mapped(tmp_path / "a.npy")


def test_evaluation_takes_large_images_in_tiles_and_small_ones_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(large, "LARGEST", 100)
    monkeypatch.setattr(files.checkpoint, "load_network", lambda *a: UNet(1))
    long, short = tmp_path / "long.npy", tmp_path / "short.npy"
    np.save(long, noise(90, 130))
    np.save(short, noise(90, 80))
    table = files.segment_files(tmp_path, [long, short])
    images = {file.name: np.asarray(Image.open(file)) for file in (tmp_path / "images").iterdir()}
    assert set(images) == {"long_mask.png", "short_mask.png", "short_overlay.png"}
    mask = images["long_mask.png"]
    assert mask.shape == (90, 130) and mask.max() in (0, 255) and f"{100 * (mask > 0).mean():.1f}" in table
    with pytest.raises(InputError, match="--tta"):
        files.segment_files(tmp_path, [long], tta=True)
