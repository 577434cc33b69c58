"""Large images: read a tile at a time, segmented at the training scale, the mask written row by row.

A network trained at 500 x 500 sees every image so, as in the paper; of a whole slide's glands nothing would be left. Departs
from paper: an image longer than LARGEST is taken to have Warwick-QU's pixels (0.62 micrometres) and scaled by the factors
that bring its usual 522 x 775 to 500 x 500. A network trained at another scale needs no exception.
"""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from gland.data.sample import FLAT, to_input
from gland.errors import InputError
from gland.files import write_atomic
from gland.inference.tiling import CORE, Tiled
from gland.networks import Network

LARGEST = 1550  # pixels along the longer side: twice Warwick-QU's
SCALE = (500 / 522, 500 / 775)  # rows, columns
REACH = 2  # pixels that bicubic interpolation sees to each side
STRIP = 1 << 22  # pixels read at once for the colour statistics


class Mapped:
    """An (H, W, 3) uint8 array in a .npy file; only what is sliced is read, and none of it stays in memory."""

    def __init__(self, file: str | Path) -> None:
        self.file = file
        try:
            array = np.load(file, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:
            raise InputError(f"{file} does not exist.") from None
        except Exception as error:  # NumPy reports damage by many types
            raise InputError(f"{file} cannot be read as an array, it may be damaged or truncated: {error}.") from None
        if not isinstance(array, np.ndarray):
            raise InputError(f"{file} holds several arrays; an image must be one, uint8 (H, W, 3).")
        if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8 or 0 in array.shape:
            raise InputError(f"{file} holds {array.dtype} {array.shape}; an image must be uint8 (H, W, 3).")
        self.shape = array.shape

    def __getitem__(self, place: tuple[slice, slice]) -> np.ndarray:
        return np.array(np.load(self.file, mmap_mode="r")[place])


class Scaled:
    """An image (H, W, 3) resized to `size` by antialiased bicubic interpolation, each slice when it is asked for."""

    def __init__(self, image: Any, size: tuple[int, int]) -> None:
        self.image, self.shape = image, (*size, 3)
        self.factors = [
            n / m for n, m in zip(image.shape[:2], size, strict=True)
        ]  # of the image's pixels per pixel here

    def __getitem__(self, place: tuple[slice, slice]) -> np.ndarray:
        spans = []
        for at, factor, n in zip(place, self.factors, self.image.shape[:2], strict=True):
            reach = REACH * (max(factor, 1) + 1)
            start, stop = at.start * factor, at.stop * factor
            first, last = max(int(start - reach), 0), min(int(np.ceil(stop + reach)), n)
            spans.append((slice(first, last), start - first, min(stop, n) - first, at.stop - at.start))
        (rows, top, bottom, h), (columns, left, right, w) = spans
        pixels = Image.fromarray(self.image[rows, columns])
        return np.asarray(pixels.resize((w, h), Image.Resampling.BICUBIC, box=(left, top, right, bottom)))


def is_large(image: Any) -> bool:
    """Whether an image (H, W, 3) is segmented at its own scale, in tiles."""
    return max(image.shape[:2]) > LARGEST


def colour_statistics(image: Any) -> tuple[np.ndarray, np.ndarray]:
    """As gland.data.sample.colour_statistics, of an image too large to hold."""
    h, w, _ = image.shape
    step = max(1, STRIP // w)
    count, sums, squares = h * w, np.zeros(3), np.zeros(3)
    for i in range(0, h, step):
        pixels = image[i : min(i + step, h), 0:w].reshape(-1, 3)
        values = np.arange(256.0)
        counts = np.stack([np.bincount(pixels[:, c], minlength=256) for c in range(3)])
        sums += counts @ values
        squares += counts @ values**2
    mean = sums / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0) + FLAT**2)
    return mean.astype(np.float32), deviation.astype(np.float32)


def segment(
    network: Network, image: Any, target: Path, core: int = CORE, progress: Callable[[int, int], None] | None = None
) -> tuple[np.ndarray | None, float | None]:
    """Class scores (1, 2) and gland share of a large image; its mask, 255 where gland, goes to the PNG file target.

    Either is None where the network has no such part. progress(done, of) is called after every tile.
    """
    factors = (network.scale,) * 2 if network.scale else SCALE
    scaled = Scaled(image, tuple(max(1, round(n * s)) for n, s in zip(image.shape[:2], factors, strict=True)))
    statistics = colour_statistics(scaled)
    tiled = Tiled(network, scaled, lambda pixels: to_input([pixels], statistics), core)
    segments = network.kind != "class"
    done, of = 0, len(tiled) * (tiled.classifies + segments)

    def step() -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done, of)

    whole = tiled.whole(step)
    if not segments:
        return whole.q, None
    (h, w), inside = image.shape[:2], 0
    # a pixel of the image takes the nearest one of the scaled map
    i, j = (((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip((h, w), scaled.shape[:2], strict=True))

    def write(file: IO[bytes]) -> None:
        nonlocal inside
        png, strip = Png(file, w, h), np.empty((core, scaled.shape[1]), bool)
        for piece in tiled.pieces(whole):
            strip[: piece.rows.stop - piece.rows.start, piece.columns] = piece.p_gland > 0.5
            step()
            if piece.columns.stop == scaled.shape[1]:
                first, last = np.searchsorted(i, [piece.rows.start, piece.rows.stop])
                rows = strip[i[first:last] - piece.rows.start][:, j]
                inside += int(rows.sum())
                png.write(rows * np.uint8(255))
        png.close()

    write_atomic(target, write)
    return whole.q, inside / (h * w)


class Png:
    """A grey 8-bit PNG file, written as its rows come.   Source: W3C, PNG Specification, third edition, sections 5, 9, 11"""

    def __init__(self, file: IO[bytes], width: int, height: int) -> None:
        self._file, self._deflate = file, zlib.compressobj(6)
        file.write(b"\x89PNG\r\n\x1a\n")
        self._chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))

    def write(self, rows: np.ndarray) -> None:
        """rows (h, width) uint8"""
        filtered = np.zeros((len(rows), rows.shape[1] + 1), np.uint8)  # each row after its filter type, 0: none
        filtered[:, 1:] = rows
        if data := self._deflate.compress(filtered.tobytes()):
            self._chunk(b"IDAT", data)

    def close(self) -> None:
        """Write what is left; the file itself stays open."""
        self._chunk(b"IDAT", self._deflate.flush())
        self._chunk(b"IEND", b"")

    def _chunk(self, name: bytes, data: bytes) -> None:
        self._file.write(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))
