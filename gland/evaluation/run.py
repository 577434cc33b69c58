"""How good a run is: its test images measured, summed up with intervals, and shown. evaluate.py comes here."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from gland import data
from gland.errors import InputError
from gland.evaluation import pictures
from gland.evaluation.scores import COLUMNS, MORE_COLUMNS, PAPER, Row, choose_settings, estimate, measure
from gland.files import write_text
from gland.inference import glands
from gland.inference.files import save_png
from gland.inference.predict import predict
from gland.networks import Prediction
from gland.tables import aligned, write_csv
from gland.training import checkpoint
from gland.training.options import Sets

SETS = ("train", "val", "test", "all", "testA", "testB")
Shown = list[tuple[data.Sample, Prediction]]


class Evaluation(NamedTuple):
    """What was measured of every image; str() is the table for the screen."""

    network: str
    rows: list[Row]
    setting: str  # which images, how chosen
    folder: Path
    files: list[str]  # what was written into folder
    paper: dict[str, float]  # the paper's values, by column; none beside phantom images

    def summary(self) -> list[dict[str, Any]]:
        """One dict per column: its value, 95 % interval over visual fields, and the paper's value."""
        found = [(c, estimate(self.rows, c)) for c in (*COLUMNS, *MORE_COLUMNS)]
        return [
            {"figure": c.title, "value": e and e.value, "low": e and e.low, "high": e and e.high,
             "paper": self.paper.get(c.title), "digits": c.digits}
            for c, e in found
        ]  # fmt: skip

    def __str__(self) -> str:
        def cells(entry: dict[str, Any]) -> list[str]:
            digits = entry["digits"]
            value, low, high, paper = (entry[k] for k in ("value", "low", "high", "paper"))
            interval = "" if value is None else f"{low:.{digits}f} to {high:.{digits}f}"
            theirs = "-" if paper is None else f"{paper:.{min(digits, 2)}f}"
            return [entry["figure"], "-" if value is None else f"{value:.{digits}f}", interval, theirs][:columns]

        columns = 4 if self.paper else 3
        heading = ["", "value", "95 % interval", "paper"][:columns]
        return f"{self.network} network, {self.setting}\n\n{aligned(heading, [cells(e) for e in self.summary()])}"


def evaluate_run(
    run: str | Path,
    which: str = "test",
    data_folder: str | None = None,
    weights: str = "best",
    tta: bool = True,
    post: bool = True,
    device: str = "auto",
) -> Evaluation:
    """Measure one set of a run's images and write everything to RUN/evaluation/SET. Raises InputError.

    post: choose post-processing for the object metrics on the validation images, and keep it in RUN/postprocess.json.
    """
    run = Path(run)
    options = checkpoint.load_options(run, ("data", "split"))
    own_folder, sets = options.data_folder, options.sets
    network = checkpoint.load_network(run, weights, device)
    source = own_folder if data_folder is None else Path(data_folder)
    samples = data.read(source, progress=True)
    chosen = _choose(samples, sets, which)
    settings = glands.OFF
    if post:
        own = data.read(own_folder) if source != own_folder and own_folder.is_dir() else samples
        settings = choose_settings(network, data.choose(own, sets.val), tta)
        write_text(run / "postprocess.json", json.dumps(settings._asdict()) + "\n")
    folder = run / "evaluation" / which
    rows: list[Row] = []
    shown: Shown = []
    for sample in tqdm(chosen, desc="evaluate", unit="image", dynamic_ncols=True):
        prediction = predict(network, sample, tta)
        rows.append(measure(network, sample, prediction, settings))
        if prediction.p_gland is not None:
            shown.append((sample, prediction))
            overlay = glands.overlay(sample.image, prediction.gland_mask()[0], sample.instances > 0)
            save_png(folder / "overlays" / f"{sample.name}.png", overlay)
    fields = len({row["visual_field"] for row in rows})
    setting = (
        f"{len(rows)} {which} images of {fields} visual fields, split by {sets.by}, seed {sets.seed}"
        + (f", fold {sets.fold}" if sets.fold is not None else "")
        + (", averaged over flips and turns" if tta else "")
        + (f"; post-processing: {settings}" if post else "")
        + (f"; images of {data_folder}" if data_folder is not None else "")
        + (f"; weights of {weights}.npz" if weights != "best" else "")
    )
    files = ["table.csv", "table.json", "images.csv", *(["figure2.png", "overlays/"] if shown else [])]
    paper = {} if data.phantom.is_phantom(source) else PAPER.get(options.network, {})
    evaluation = Evaluation(options.network, rows, setting, folder, files, paper)
    write_csv(folder / "images.csv", rows)
    write_csv(folder / "table.csv", evaluation.summary())
    write_text(
        folder / "table.json",
        json.dumps({"setting": setting, "summary": evaluation.summary(), "images": rows}, indent=1) + "\n",
    )
    if shown:
        pictures.save(pictures.figure2(_examples(shown)), folder / "figure2.png")
    return evaluation


def _choose(samples: Sequence[data.Sample], sets: Sets, which: str) -> list[data.Sample]:
    if which in ("train", "val", "test"):
        return data.choose(samples, getattr(sets, which))
    if which == "all":
        return list(samples)
    chosen = [s for s in samples if s.part == which]
    if not chosen:
        raise InputError(
            f"the data folder has no images of part {which}; put {which}_N there, or choose another --split"
        )
    return chosen


def _examples(shown: Shown) -> Shown:
    """Two benign and two malignant images for Figure 2, the first of each."""
    return [pair for label in (False, True) for pair in [p for p in shown if p[0].malignant == label][:2]]
