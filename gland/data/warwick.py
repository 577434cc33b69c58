"""Reader of Warwick-QU (the GlaS challenge), as released: https://warwick.ac.uk/fac/cross_fac/tia/data/glascontest/

A folder holds NAME.bmp or NAME.png with NAME_anno.bmp or .png (instance numbers, 0 = background), NAME = train_N,
testA_N or testB_N, and Grade.csv with a row for every name. As released, that table has spaces before its values and
headings and one grade is misspelt ("differentated"); only the column "grade (GlaS)", benign or malignant, is read here.
Anything wrong raises InputError, one sentence that names the file.
"""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from gland.data.sample import Sample
from gland.data.visual_fields import with_visual_fields
from gland.errors import InputError

PARTS = ("train", "testA", "testB")
RELEASE = {"train": (37, 48), "testA": (33, 27), "testB": (4, 16)}  # benign, malignant
SUFFIXES = (".png", ".bmp")
NAME = re.compile(r"(train|testA|testB)_(\d+)")
GRADE = "grade (GlaS)"
LARGE_INTEGERS = ("I", "I;16", "I;16B")
MASK_MODES = ("L", "P", *LARGE_INTEGERS)
DEEP = (*LARGE_INTEGERS, "F")  # more than 8 bits a pixel


class Grade(NamedTuple):
    malignant: bool
    patient: int | None


def read(folder: str | Path, parts: Sequence[str] = PARTS, progress: bool = False) -> list[Sample]:
    """Every annotated image of these parts, ordered by part and number, visual fields found from the images.

    Any subset of the release is a valid folder. Raises InputError.
    """
    folder = Path(folder)
    if unknown := [part for part in parts if part not in PARTS]:
        raise InputError(f"{unknown[0]!r} is not a part of Warwick-QU; choose from {', '.join(PARTS)}.")
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give the folder that holds Grade.csv and the images.")
    grades = read_grades(folder / "Grade.csv")
    images = _image_files(folder, parts)
    if not images:
        raise InputError(f"{folder} holds no image of {', '.join(parts)}, such as train_1.bmp or train_1.png.")
    with tqdm(images.items(), f"reading {folder.name}", unit="image", disable=not progress, leave=False) as files:
        samples = [_read_sample(name, file, grades) for name, file in files]
    return with_visual_fields(samples)


def read_grades(file: Path) -> dict[str, Grade]:
    """Grade.csv: name -> Grade. Raises InputError."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{file} is missing; it comes with the images and says which are malignant.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read as text: {error}.") from None
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if any(map(str.strip, row))]
    except csv.Error as error:
        raise InputError(f"{file} cannot be read as a table: {error}.") from None
    heading = rows[0] if rows else []
    if missing := [column for column in ("name", GRADE) if column not in heading]:
        raise InputError(f"{file} has no column {missing[0]!r} in its first line.")
    grades = {}
    for row in rows[1:]:
        cells = dict(zip(heading, row))
        name, grade, patient = (cells.get(column, "") for column in ("name", GRADE, "patient ID"))
        if grade not in ("benign", "malignant"):
            raise InputError(f"{file} gives {name} the unknown grade {grade!r}; it must be benign or malignant.")
        if patient and not re.fullmatch("[0-9]{1,18}", patient):
            raise InputError(f"{file} gives {name} the patient ID {patient!r}, which is not a number.")
        if name in grades:
            raise InputError(f"{file} lists {name} twice; remove one of the rows.")
        grades[name] = Grade(grade == "malignant", int(patient) if patient else None)
    return grades


def read_image(file: str | Path, convert: bool = False) -> np.ndarray:
    """Any RGB image file as (H, W, 3) uint8; convert: grey, palette and transparent ones too. Raises InputError."""
    pixels, mode = _decode(Path(file), "RGB" if convert else None)
    if mode != "RGB":
        raise InputError(f"{file} has mode {mode}; an image must be RGB of 8 bits a channel.")
    return pixels


def read_instances(file: str | Path) -> np.ndarray:
    """An annotation file as (H, W) int32 instance numbers, 0 = background. Raises InputError."""
    pixels, mode = _decode(Path(file))
    if mode not in MASK_MODES:
        raise InputError(f"{file} has mode {mode}; an annotation must have one channel of instance numbers.")
    return pixels.astype(np.int32)


def summary(samples: Sequence[Sample]) -> str:
    """A table of images, glands, patients and visual fields by part and class."""
    lines = [f"{'part':<8}{'class':<11}{'images':>7}{'glands':>8}{'patients':>10}{'visual fields':>15}"]
    for part in sorted({s.part for s in samples}, key=PARTS.index):
        for malignant in (False, True):
            chosen = [s for s in samples if s.part == part and s.malignant == malignant]
            glands = sum(np.unique(s.instances[s.instances > 0]).size for s in chosen)
            patients, fields = ({getattr(s, key) for s in chosen} for key in ("patient", "visual_field"))
            label = "malignant" if malignant else "benign"
            lines.append(f"{part:<8}{label:<11}{len(chosen):>7}{glands:>8}{len(patients):>10}{len(fields):>15}")
    return "\n".join(lines)


def release_warnings(samples: Sequence[Sample]) -> list[str]:
    """One sentence for every part whose counts differ from the release (85, 60 and 20 images)."""
    counts = Counter((s.part, s.malignant) for s in samples)
    found = {part: (counts[part, False], counts[part, True]) for part in PARTS}
    return [
        f"{part} has {sum(found[part])} images ({found[part][0]} benign, {found[part][1]} malignant); "
        f"the release has {benign + malignant} ({benign} and {malignant})."
        for part, (benign, malignant) in RELEASE.items()
        if found[part] != (benign, malignant)
    ]


def _image_files(folder: Path, parts: Sequence[str]) -> dict[str, Path]:
    """name -> image file, ordered by part and number."""
    images: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        match = NAME.fullmatch(file.stem)
        if match and match[1] in parts and file.suffix.lower() in SUFFIXES:
            if file.stem in images:
                raise InputError(f"{folder} holds both {images[file.stem].name} and {file.name}; remove one.")
            images[file.stem] = file

    def order(name: str) -> tuple[int, int]:
        part, number = name.split("_")
        return PARTS.index(part), int(number)

    return {name: images[name] for name in sorted(images, key=order)}


def _read_sample(name: str, file: Path, grades: dict[str, Grade]) -> Sample:
    if name not in grades:
        raise InputError(f"{file} has no row in Grade.csv; add its grade or remove the image.")
    suffixes = dict.fromkeys((file.suffix, *SUFFIXES))
    anno = next((f for s in suffixes if (f := file.with_name(f"{name}_anno{s}")).exists()), None)
    if anno is None:
        raise InputError(f"{file} has no annotation: {name}_anno{file.suffix} is missing beside it.")
    image, instances = read_image(file), read_instances(anno)
    if image.shape[:2] != instances.shape:
        (h, w), (ah, aw) = image.shape[:2], instances.shape
        raise InputError(f"{anno} is {aw}x{ah} pixels but its image {file.name} is {w}x{h}; they must agree.")
    return Sample(name, image, instances, *grades[name])


def _decode(file: Path, mode: str | None = None) -> tuple[np.ndarray, str]:
    """Pixels and Pillow mode, converted to `mode` where one is given.

    Pillow reports damage by many exception types, so all of them become one sentence.
    """
    try:
        with Image.open(file) as image:
            image.load()
            deep = image.mode in DEEP  # Pillow would clip those to white
            picture = image.convert(mode) if mode and not deep else image
            return np.asarray(picture), picture.mode
    except FileNotFoundError:
        raise InputError(f"{file} does not exist.") from None
    except Image.DecompressionBombError:
        raise InputError(f"{file} has more pixels than is safe to decode at once; save it as a .npy array.") from None
    except Exception as error:
        raise InputError(f"{file} cannot be read as an image, it may be damaged or truncated: {error}.") from None
