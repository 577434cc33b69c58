"""The phantom set, a painted stand-in for Warwick-QU in its very layout: visual fields cut into tiles, masks and Grade.csv.

It is the built-in default data set. The same (images, seed) gives the same files on the same machine.
"""

import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from gland.data.sample import Sample
from gland.data.tissue import paint
from gland.data.warwick import read
from gland.errors import InputError
from gland.files import write_atomic, write_text

IMAGES = 48
VERSION = 2  # of the painter: a cached set of another version is painted anew
MARKER = "phantom.json"
OWN = re.compile(rf"(train|testA|testB)_\d+(_anno)?\.png|Grade\.csv|{re.escape(MARKER)}")  # what a set consists of
TILE, SMALL = (522, 775), (453, 589)  # (h, w)
# Tiles down and across, in turn; single tiles are small ones. Many small fields: each has a stain of its own.
FIELDS = ((2, 2), (1, 1), (1, 2), (1, 1), (2, 1), (1, 1))
HEADING = "name,patient ID, grade (GlaS), grade (Sirinukunwattana et al. 2015)"
GRADES = (
    ("healthy", "adenomatous"),
    ("moderately differentiated", "moderately-to-poorly differentated"),
)  # as spelt there


class Field(NamedTuple):
    part: str
    number: int
    malignant: bool
    patient: int
    grid: tuple[int, int]  # tiles down and across
    names: list[str]


def write(folder: str | Path, images: int | Mapping[str, int] = IMAGES, seed: int = 0, workers: int = 2) -> Path:
    """Make folder a phantom data set of `images` training images, or {"train": n, "testA": n, ...}; half are malignant.

    A folder that already holds this very set is left as it is. The set is painted beside folder and renamed when
    complete, so an interrupted run leaves nothing that passes for a whole one. Returns folder. Raises InputError.
    """
    folder = Path(folder)
    counts = {"train": images} if isinstance(images, int) else dict(images)
    if any(n < 0 for n in counts.values()) or not sum(counts.values()):
        raise InputError(f"a phantom set of {images} images cannot be made; ask for at least one.")
    settings = {"version": VERSION, "images": counts, "seed": seed}
    fields = plan(counts, seed)
    if _holds(folder, settings, fields):
        return folder
    if folder.exists() and not (folder.is_dir() and (_settings(folder) or not any(folder.iterdir()))):
        raise InputError(f"{folder} exists and is not a phantom set; choose another folder for it.")
    if folder.exists() and (others := sorted(f.name for f in folder.iterdir() if not OWN.fullmatch(f.name))):
        raise InputError(
            f"{folder} is to be painted anew, and {others[0]} in it is not the set's; move that elsewhere."
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        raise InputError(f"the phantom set cannot be written to {folder}: {error.strerror}") from None
    try:
        _paint_all(unfinished, fields, seed, workers)
        write_text(unfinished / MARKER, json.dumps(settings))
        unfinished.chmod(0o755)
        _put(unfinished, folder, settings, fields)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def is_phantom(folder: Path) -> bool:
    """Whether the images of a folder are painted."""
    return (folder / MARKER).exists()


def samples() -> tuple[Path, list[Sample]]:
    """The built-in data set under runs/, painted where it is not there yet. Raises InputError."""
    folder = write(Path("runs") / "phantom-data")
    try:
        return folder, read(folder, progress=True)
    except InputError as error:
        raise InputError(f"{str(error).rstrip('.')}; delete {folder} and it is painted anew") from None


def _put(unfinished: Path, folder: Path, settings: dict, fields: list[Field]) -> None:
    """Rename, unless another process has finished the same set meanwhile: that one may be in use already."""
    if _holds(folder, settings, fields):
        return
    try:
        if folder.exists():
            shutil.rmtree(folder)
        unfinished.rename(folder)
    except OSError as error:
        if not _holds(folder, settings, fields):
            raise InputError(f"the phantom set cannot be put in place at {folder}: {error.strerror}") from None


def _holds(folder: Path, settings: dict, fields: list[Field]) -> bool:
    """Is this very set there, with every file that it should have?"""
    if _settings(folder) != settings:
        return False
    names = [name for field in fields for name in field.names]
    files = ["Grade.csv", *(f"{name}{kind}.png" for name in names for kind in ("", "_anno"))]
    return all((folder / file).is_file() for file in files)


def plan(counts: Mapping[str, int], seed: int) -> list[Field]:
    """The visual fields whose tiles make up the parts: classes alternate, two fields a patient, names shuffled."""
    rng = np.random.default_rng([seed, 0])
    fields: list[Field] = []
    for part, count in counts.items():
        names = [f"{part}_{i + 1}" for i in rng.permutation(count)]
        share = {False: count // 2, True: count - count // 2}
        for turn in range(2 * count):
            malignant = bool(turn % 2)
            left = share[malignant]
            grid = next((g for g in (FIELDS[turn // 2 % len(FIELDS)], (1, 2), (1, 1)) if g[0] * g[1] <= left), None)
            if grid is None:
                continue
            tiles = grid[0] * grid[1]
            share[malignant] -= tiles
            patient = 1 + 2 * (len(fields) // 4) + malignant
            fields.append(Field(part, len(fields), malignant, patient, grid, names[:tiles]))
            names = names[tiles:]
    return fields


def _paint_all(folder: Path, fields: list[Field], seed: int, workers: int) -> None:
    rows = []
    total = sum(len(field.names) for field in fields)
    with (
        threadpool_limits(1),  # small products: BLAS threads would only spin, and could change the bits
        ThreadPoolExecutor(workers) as pool,  # threads do: most of painting is NumPy and SciPy, which release the GIL
        tqdm(total=total, desc="painting the phantom set", unit="image", leave=False) as bar,
    ):
        jobs = [pool.submit(_paint_field, folder, field, seed) for field in fields]
        try:
            for field, job in zip(fields, jobs):
                job.result()
                grade = GRADES[field.malignant][field.number // 2 % 2]
                label = "malignant" if field.malignant else "benign"
                rows += [f"{name},{field.patient}, {label}, {grade}" for name in field.names]
                bar.update(len(field.names))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    write_text(folder / "Grade.csv", "\r\n".join([HEADING, *sorted(rows)]) + "\r\n")


def _paint_field(folder: Path, field: Field, seed: int) -> None:
    down, across = field.grid
    h, w = SMALL if field.grid == (1, 1) else TILE
    rng = np.random.default_rng([seed, 1, field.number])
    image, instances = paint(rng, down * h, across * w, field.malignant)
    corners = [(i * h, j * w) for i in range(down) for j in range(across)]
    for name, (i, j) in zip(field.names, corners):
        tile = slice(i, i + h), slice(j, j + w)
        _save(folder / f"{name}.png", image[tile])
        _, numbers = np.unique(instances[tile], return_inverse=True)  # 0, when there is any background, stays 0
        numbers = numbers.reshape(h, w) + int(instances[tile].min() > 0)
        _save(folder / f"{name}_anno.png", numbers.astype(np.uint8))


def _save(file: Path, pixels: np.ndarray) -> None:
    encoded = BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG", compress_level=3)
    write_atomic(file, lambda stream: stream.write(encoded.getbuffer()))


def _settings(folder: Path) -> dict | None:
    try:
        return json.loads((folder / MARKER).read_text())
    except (OSError, ValueError):
        return None
