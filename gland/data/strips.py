"""Images too large to hold: read a strip of rows at a time.

An uncompressed 24-bit .bmp and an .npy of (H, W, 3) uint8 are read from the file as rows are asked for, whatever their
size. Every other format has to be decoded whole by Pillow, at 4 bytes a pixel, and is refused above WHOLE pixels.
"""

import struct
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from gland.errors import InputError

WHOLE = 200_000_000  # pixels: 0.8 GB once decoded


class Strips:
    """An RGB image (H, W, 3) on disk; `shape`, and rows(start, stop) -> (stop - start, W, 3) uint8. Close it after use."""

    shape: tuple[int, int, int]

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows start to stop, 0 <= start <= stop <= H."""
        raise NotImplementedError

    def close(self) -> None:
        """Give the file back."""

    def __enter__(self) -> "Strips":
        return self

    def __exit__(self, *details: object) -> None:
        self.close()


class _Raw(Strips):
    """Pixels as they lie in the file: `pitch` bytes a row from `start` on, perhaps the last row first, perhaps blue first."""

    def __init__(self, path: Path, shape: tuple[int, int], start: int, pitch: int, upwards: bool, bgr: bool) -> None:
        self.shape = (*shape, 3)
        self._start, self._pitch, self._upwards, self._bgr, self._path = start, pitch, upwards, bgr, path
        needed = start + (shape[0] - 1) * pitch + 3 * shape[1]
        if path.stat().st_size < needed:
            raise InputError(f"{path} is truncated: its header promises {shape[1]}x{shape[0]} pixels; copy it again")
        self._file = path.open("rb")

    def rows(self, start, stop):
        h, w, _ = self.shape
        first = h - stop if self._upwards else start
        self._file.seek(self._start + first * self._pitch)
        count = max(0, (stop - start) * self._pitch)
        bytes_ = np.frombuffer(self._file.read(count).ljust(count, b"\0"), np.uint8)  # a last row may lack its padding
        pixels = bytes_.reshape(stop - start, self._pitch)[:, : 3 * w].reshape(stop - start, w, 3)
        pixels = pixels[::-1] if self._upwards else pixels
        return np.ascontiguousarray(pixels[..., ::-1] if self._bgr else pixels)

    def close(self):
        self._file.close()


class _Decoded(Strips):
    """An image that Pillow holds decoded."""

    def __init__(self, path: Path) -> None:
        with _whatever_size(), Image.open(path) as image:
            image.load()
        self._image = image
        if self._image.mode != "RGB":
            raise InputError(f"{path} has mode {self._image.mode}; an image must be 8-bit RGB.")
        self.shape = (image.height, image.width, 3)

    def rows(self, start, stop):
        return np.asarray(self._image.crop((0, start, self.shape[1], stop)))


def size(path: str | Path) -> tuple[int, int]:
    """(H, W) of an image file, from its header. Raises InputError."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist.")
    try:
        if path.suffix.lower() == ".npy":
            return _npy_header(path)[0]
        with _whatever_size(), Image.open(path) as image:
            return image.height, image.width
    except InputError:
        raise
    except Exception as error:  # Pillow reports damage by many exception types
        raise InputError(f"{path} cannot be read as an image, it may be damaged or truncated: {error}.") from None


def open_strips(path: str | Path) -> Strips:
    """An image file to be read in strips. Raises InputError if it is damaged, not RGB, or too large for its format."""
    path = Path(path)
    h, w = size(path)
    if path.suffix.lower() == ".npy":
        _, start = _npy_header(path)
        return _Raw(path, (h, w), start, 3 * w, upwards=False, bgr=False)
    if path.suffix.lower() == ".bmp" and (bmp := _bmp(path)):
        return bmp
    if h * w > WHOLE:
        raise InputError(
            f"{path} has {h * w // 10**6} million pixels; a compressed image of more than {WHOLE // 10**6} million has to be "
            "saved as an uncompressed .bmp, or as .npy of (H, W, 3) uint8, which are read in strips"
        )
    try:
        return _Decoded(path)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path} cannot be read as an image, it may be damaged or truncated: {error}.") from None


def _npy_header(path: Path) -> tuple[tuple[int, int], int]:
    """(H, W) and where the pixels begin."""
    with path.open("rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
            shape, fortran, dtype = read(file)
        except (ValueError, KeyError, EOFError) as error:
            raise InputError(f"{path} is no .npy file that can be read: {error}.") from None
        if len(shape) != 3 or shape[2] != 3 or dtype != np.uint8 or fortran or 0 in shape:
            raise InputError(f"{path} holds {dtype} {shape}; an image must be uint8 of shape (H, W, 3), rows first.")
        return shape[:2], file.tell()


def _bmp(path: Path) -> _Raw | None:
    """An uncompressed bitmap of 24 bits a pixel, or None for any other kind, which Pillow may know."""
    with path.open("rb") as file:
        header = file.read(34)
    if len(header) < 34 or header[:2] != b"BM":
        return None
    start, info, w, h, planes, bits, compression = struct.unpack("<IIiiHHI", header[10:34])
    if info < 40 or bits != 24 or compression != 0 or w <= 0 or h == 0:
        return None
    return _Raw(path, (abs(h), w), start, -(-3 * w // 4) * 4, upwards=h > 0, bgr=True)


class _whatever_size(warnings.catch_warnings):
    """Pillow without its limit on pixels, which guards against files that unpack to far more than they seem to hold."""

    def __enter__(self):
        self._limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        return super().__enter__()

    def __exit__(self, *details):
        Image.MAX_IMAGE_PIXELS = self._limit
        super().__exit__(*details)
