"""Runs train.py and evaluate.py as a user does, on data so small that a run takes a second or two."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from gland.data import phantom

ROOT = Path(__file__).parent.parent
TINY = (
    "--width 1 --batch 1 --crop 32 --pretrain 4 --iterations 12 --log-every 3 --validate-every 6 --device cpu".split()
)


def write_set(folder: Path, names: list[str]) -> Path:
    """Noise of 64 x 64 pixels with a dark square for a gland, larger where malignant, in the layout of Warwick-QU."""
    folder.mkdir(parents=True)
    rows = ["name,patient ID, grade (GlaS), grade (Sirinukunwattana et al. 2015)"]
    for i, name in enumerate(names):
        image = np.random.default_rng(i).integers(0, 256, (64, 64, 3)).astype(np.uint8)
        instances = np.zeros((64, 64), np.uint8)
        half = 24 if i % 2 else 12
        instances[32 - half : 32 + half, 32 - half : 32 + half] = 1
        image[instances > 0] //= 3
        Image.fromarray(image).save(folder / f"{name}.png")
        Image.fromarray(instances).save(folder / f"{name}_anno.png")
        rows.append(f"{name},{i}, {'malignant' if i % 2 else 'benign'}, healthy")
    (folder / "Grade.csv").write_text("\n".join(rows) + "\n")
    return folder


def write_phantom(place: Path) -> Path:
    """What train.py takes for a phantom set in this place; painting a real one is test_data_phantom.py's subject."""
    folder = write_set(place / "runs" / "phantom-data", [f"train_{i + 1}" for i in range(phantom.IMAGES)])
    marker = {"version": phantom.VERSION, "images": {"train": phantom.IMAGES}, "seed": 0}
    (folder / phantom.MARKER).write_text(json.dumps(marker))
    return folder


def damage(file: Path, keep: int) -> None:
    """Cut a file off after its first bytes."""
    file.write_bytes(file.read_bytes()[:keep])


def start(script, *arguments, cwd, env=(), **options) -> subprocess.Popen:
    """A script of the checkout (or "-m", "-c") as a process of its own, its output kept. env: more environment variables."""
    command = [sys.executable, script if script[0] == "-" else str(ROOT / script), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | dict(env)
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=cwd, stdout=pipe, stderr=pipe, text=True, env=environment, **options)


def run(script, *arguments, cwd, **options) -> subprocess.CompletedProcess:
    """start, and wait for its end."""
    process = start(script, *arguments, cwd=cwd, **options)
    out, err = process.communicate(timeout=240)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def finish(script, *arguments, cwd, **options) -> str:
    """What a run that must succeed prints."""
    result = run(script, *arguments, cwd=cwd, **options)
    assert result.returncode == 0, result.stderr
    return result.stdout


def sentences(err: str) -> list[str]:
    """The lines of stderr but for the progress bars, which overwrite themselves, and the warnings about the data."""
    lines = [line.strip() for line in re.split("[\r\n]", err)]
    return [line for line in lines if line and not re.search(r"\d+%\|", line) and not line.startswith("warning: ")]


def files(folder: Path) -> dict[str, bytes]:
    """All that a folder holds."""
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def assert_one_sentence(result, *parts):
    """Exit status 2 and a single line on stderr, which names all parts; no traceback."""
    said = sentences(result.stderr)
    assert result.returncode == 2, result.stderr
    assert len(said) == 1 and "Traceback" not in result.stderr, result.stderr
    assert all(part in said[0] for part in parts), said[0]
