"""The README's pictures, from a run on the phantom set:  python train.py && python docs/pictures/make.py runs/joint-phantom

Curves, Figure 2 and one overlay of each class, made small. The real images may not be redistributed, so a run on
anything but the phantom set is refused.
"""

import sys
from pathlib import Path

from PIL import Image

from gland import console, data
from gland.errors import InputError
from gland.training import checkpoint

WIDTH, COLOURS = 900, 128
HERE = Path(__file__).parent


def small(source: Path, name: str, width: int = WIDTH) -> None:
    """source, scaled to `width` pixels and reduced to COLOURS colours, as docs/pictures/NAME.png."""
    picture = Image.open(source).convert("RGB")
    picture = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
    picture.quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        HERE / f"{name}.png", optimize=True
    )


def main() -> None:
    if len(sys.argv) != 2:
        raise InputError("name one run folder, such as runs/joint-phantom")
    run = Path(sys.argv[1])
    options = checkpoint.load_options(run, ("data", "split"))
    if not data.phantom.is_phantom(options.data_folder):
        raise InputError(f"{run} was trained on {options.data}, not on the phantom set; its pictures stay private")
    small(run / "curves.png", "curves")
    small(run / "evaluation" / "test" / "figure2.png", "figure2")
    overlays = run / "evaluation" / "test" / "overlays"
    grades = {sample.name: sample.malignant for sample in data.read(options.data_folder)}
    for malignant, name in ((False, "benign"), (True, "malignant")):
        first = next(n for n in options.sets.test if grades[n] == malignant)
        small(overlays / f"{first}.png", f"overlay-{name}", WIDTH // 2)


if __name__ == "__main__":
    sys.exit(console.call("make.py", main))
