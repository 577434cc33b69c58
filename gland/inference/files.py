"""Any image: classified, segmented, its glands numbered and drawn. `python evaluate.py RUN --image FILE` comes here."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from gland import data
from gland.errors import InputError
from gland.files import write_atomic
from gland.inference import glands, large
from gland.inference.predict import predict
from gland.networks import Network
from gland.tables import aligned
from gland.training import checkpoint


def segment_files(
    run: str | Path,
    files: list[str],
    weights: str = "best",
    tta: bool | None = None,
    device: str = "auto",
    folder: Path | None = None,
) -> str:
    """Classify and segment any images; NAME_mask.png (instance numbers) and NAME_overlay.png go to folder (RUN/images).

    Glands are separated as RUN/postprocess.json says, if the run was evaluated.

    tta: average over flips and turns, None: but for large images (large.py). Those are segmented in tiles, and get only a mask,
    255 where gland. A .npy file is an image too.
    Returns a table for the screen. Raises InputError; nothing is written if one file cannot be read.
    """
    run = Path(run)
    folder = folder or run / "images"
    network, settings = checkpoint.load_network(run, weights, device), _kept_settings(run)
    stems = [Path(file).stem for file in files]
    if twice := [stem for i, stem in enumerate(stems) if stem in stems[:i]]:
        raise InputError(f"two images are named {twice[0]}, so one's pictures would replace the other's; rename one")
    images = [
        large.Mapped(file) if Path(file).suffix == ".npy" else data.read_image(file, convert=True) for file in files
    ]
    lines = []
    for file, image in zip(files, images, strict=True):
        if network.margin is not None and large.is_large(image):
            lines.append(_segment_large(network, file, image, folder / f"{Path(file).stem}_mask.png", tta))
            continue
        image = image[:, :]
        nothing = np.zeros(image.shape[:2], np.int32)
        prediction = predict(network, data.Sample(Path(file).stem, image, nothing, False), tta is not False)
        count = share = "-"
        if prediction.p_gland is not None:
            instances = glands.postprocess(prediction.p_gland[0], settings)
            count, share = str(instances.max()), f"{100 * (instances > 0).mean():.1f}"
            target = folder / Path(file).stem
            save_png(target.with_name(target.name + "_mask.png"), instances.astype(np.uint16))
            save_png(target.with_name(target.name + "_overlay.png"), glands.overlay(image, instances > 0))
        lines.append([Path(file).name, *_verdict(prediction.q), count, share])
    table = aligned(["image", "class", "score", "glands", "gland area %"], lines)
    if network.kind == "class":
        return table
    masks = f"NAME_mask.png (every gland its number; longer than {large.LARGEST} pixels: 255 where gland)"
    return f"{table}\n\nwritten to {folder}: {masks}, NAME_overlay.png"


def _kept_settings(run: Path) -> glands.Settings:
    path = run / "postprocess.json"
    if not path.exists():
        return glands.OFF
    try:
        return glands.Settings(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path} cannot be read ({error}); delete it and evaluate the run again") from error


def _segment_large(network: Network, file: str, image: Any, target: Path, tta: bool | None) -> list[str]:
    if tta:
        raise InputError(f"{file} is longer than {large.LARGEST} pixels, where --tta is not offered; leave it out")
    with tqdm(desc=Path(file).name, unit="tile", dynamic_ncols=True) as bar:

        def progress(done: int, of: int) -> None:
            bar.total = of
            bar.update()

        q, share = large.segment(network, image, target, progress=progress)
    return [Path(file).name, *_verdict(q), "-", "-" if share is None else f"{100 * share:.1f}"]


def _verdict(q: np.ndarray | None) -> tuple[str, str]:
    if q is None:
        return "-", "-"
    return "malignant" if q[0, 1] > q[0, 0] else "benign", f"{q[0].max():.3f}"


def save_png(path: Path, pixels: np.ndarray) -> None:
    """Write pixels (H, W) or (H, W, 3) as PNG; atomic."""
    write_atomic(path, lambda file: Image.fromarray(pixels).save(file, format="PNG"))
