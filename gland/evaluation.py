"""How good a run is: its test images scored, summed up with intervals, and shown. `python evaluate.py` comes here."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from gland import checkpoint, data, figures, large, postprocess
from gland.errors import InputError
from gland.files import write_atomic, write_text
from gland.report import aligned, write_csv
from gland.scores import COLUMNS, MORE_COLUMNS, PAPER, Row, choose_settings, figure, predict, score

SETS = ("train", "val", "test", "all", "testA", "testB")


class Evaluation(NamedTuple):
    """The scores of every image; str() is the table for the screen."""

    network: str
    rows: list[Row]
    setting: str  # which images, how chosen
    folder: Path
    files: list[str]  # what was written into folder

    def summary(self) -> list[dict[str, Any]]:
        """One dict per figure: its value, 95 % interval over visual fields, and the paper's value."""
        found = [(c, figure(self.rows, c)) for c in (*COLUMNS, *MORE_COLUMNS)]
        paper = PAPER.get(self.network, {})
        return [
            {"figure": c.title, "value": f and f.value, "low": f and f.low, "high": f and f.high,
             "paper": paper.get(c.title), "digits": c.digits}
            for c, f in found
        ]  # fmt: skip

    def __str__(self) -> str:
        def cells(entry):
            digits = entry["digits"]
            value, low, high, paper = (entry[k] for k in ("value", "low", "high", "paper"))
            interval = "" if value is None else f"{low:.{digits}f} to {high:.{digits}f}"
            return [entry["figure"], "-" if value is None else f"{value:.{digits}f}", interval,
                    "-" if paper is None else f"{paper:.{min(digits, 2)}f}"]  # fmt: skip

        table = aligned(["", "value", "95 % interval", "paper"], [cells(entry) for entry in self.summary()])
        return f"{self.network} network, {self.setting}\n\n{table}"


def evaluate_run(
    run: str | Path,
    which: str = "test",
    data_folder: str | None = None,
    weights: str = "best",
    tta: bool = True,
    post: bool = True,
    device: str = "auto",
) -> Evaluation:
    """Score one set of a run's images and write everything to RUN/evaluation/SET. Raises InputError.

    post: choose post-processing for the object metrics on the validation images, and keep it in RUN/postprocess.json.
    """
    run = Path(run)
    config = checkpoint.load_config(run, ("data", "split"))
    network = checkpoint.load_network(run, weights, device)
    samples = data.read(config["data"] if data_folder is None else data_folder, progress=True)
    chosen = _choose(samples, config["split"], which)
    settings = postprocess.OFF
    if post:
        elsewhere = data_folder is not None and Path(config["data"]).is_dir()
        own = data.read(config["data"]) if elsewhere else samples
        settings = choose_settings(network, data.choose(own, config["split"]["val"]), tta)
        write_text(run / "postprocess.json", json.dumps(settings._asdict()) + "\n")
    folder = run / "evaluation" / which
    rows, shown = [], []
    for sample in tqdm(chosen, desc="evaluate", unit="image", dynamic_ncols=True):
        prediction = predict(network, sample, tta)
        rows.append(score(network, sample, prediction, settings))
        if prediction.p_gland is not None:
            shown.append((sample, prediction))
            overlay = figures.overlay(sample.image, prediction.gland_mask()[0], sample.instances > 0)
            _save_png(folder / "overlays" / f"{sample.name}.png", overlay)
    split = config["split"]
    fields = len({row["visual_field"] for row in rows})
    setting = (
        f"{len(rows)} {which} images of {fields} visual fields, split by {split['by']}, seed {split['seed']}"
        + (f", fold {split['fold']}" if split["fold"] is not None else "")
        + (", averaged over flips and turns" if tta else "")
        + (f"; post-processing: {settings}" if post else "")
        + (f"; images of {data_folder}" if data_folder is not None else "")
        + (f"; weights of {weights}.npz" if weights != "best" else "")
    )
    files = ["table.csv", "table.json", "images.csv", *(["figure2.png", "overlays/"] if shown else [])]
    evaluation = Evaluation(config["network"], rows, setting, folder, files)
    write_csv(folder / "images.csv", rows)
    write_csv(folder / "table.csv", evaluation.summary())
    write_text(
        folder / "table.json",
        json.dumps({"setting": setting, "summary": evaluation.summary(), "images": rows}, indent=1) + "\n",
    )
    if shown:
        figures.save(figures.figure2(_examples(shown)), folder / "figure2.png")
    return evaluation


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

    tta: average over flips and turns, None: but for large images (gland/large.py). Those are segmented in tiles, and get only a
    mask, 255 where gland. A .npy file is an image too.
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
        if hasattr(network, "margin") and large.is_large(image):
            lines.append(_segment_large(network, file, image, folder / f"{Path(file).stem}_mask.png", tta))
            continue
        image = image[:, :]
        nothing = np.zeros(image.shape[:2], np.int32)
        prediction = predict(network, data.Sample(Path(file).stem, image, nothing, False), tta is not False)
        glands = share = "-"
        if prediction.p_gland is not None:
            instances = postprocess.postprocess(prediction.p_gland[0], settings)
            glands, share = str(instances.max()), f"{100 * (instances > 0).mean():.1f}"
            target = folder / Path(file).stem
            _save_png(target.with_name(target.name + "_mask.png"), instances.astype(np.uint16))
            _save_png(target.with_name(target.name + "_overlay.png"), figures.overlay(image, instances > 0))
        lines.append([Path(file).name, *_verdict(prediction.q), glands, share])
    table = aligned(["image", "class", "score", "glands", "gland area %"], lines)
    if network.kind == "class":
        return table
    masks = f"NAME_mask.png (every gland its number; longer than {large.LARGEST} pixels: 255 where gland)"
    return f"{table}\n\nwritten to {folder}: {masks}, NAME_overlay.png"


def _kept_settings(run):
    path = run / "postprocess.json"
    if not path.exists():
        return postprocess.OFF
    try:
        return postprocess.Settings(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path} cannot be read ({error}); delete it and evaluate the run again") from error


def _segment_large(network, file, image, target, tta):
    if tta:
        raise InputError(f"{file} is longer than {large.LARGEST} pixels, where --tta is not offered; leave it out")
    with tqdm(desc=Path(file).name, unit="tile", dynamic_ncols=True) as bar:

        def progress(done, of):
            bar.total = of
            bar.update()

        q, share = large.segment(network, image, target, progress=progress)
    return [Path(file).name, *_verdict(q), "-", "-" if share is None else f"{100 * share:.1f}"]


def _verdict(q):
    if q is None:
        return "-", "-"
    return "malignant" if q[0, 1] > q[0, 0] else "benign", f"{q[0].max():.3f}"


def _choose(samples, split, which):
    if which in ("train", "val", "test"):
        return data.choose(samples, split[which])
    if which == "all":
        return list(samples)
    chosen = [s for s in samples if s.part == which]
    if not chosen:
        raise InputError(
            f"the data folder has no images of part {which}; put {which}_N there, or choose another --split"
        )
    return chosen


def _examples(shown):
    """Two benign and two malignant images for Figure 2, the first of each."""
    by_class = {label: [pair for pair in shown if pair[0].malignant == label][:2] for label in (False, True)}
    return by_class[False] + by_class[True]


def _save_png(path: Path, pixels: np.ndarray) -> None:
    write_atomic(path, lambda file: Image.fromarray(pixels).save(file, format="PNG"))
