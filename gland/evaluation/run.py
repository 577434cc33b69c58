"""How good a run is: its test images scored, summed up with intervals, and shown. `python evaluate.py` comes here."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from gland import data
from gland.errors import InputError
from gland.evaluation import pictures
from gland.evaluation.scores import COLUMNS, MORE_COLUMNS, PAPER, Row, choose_settings, figure, score
from gland.files import write_text
from gland.inference import glands
from gland.inference.files import save_png
from gland.inference.predict import predict
from gland.tables import aligned, write_csv
from gland.training import checkpoint

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
    settings = glands.OFF
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
            overlay = glands.overlay(sample.image, prediction.gland_mask()[0], sample.instances > 0)
            save_png(folder / "overlays" / f"{sample.name}.png", overlay)
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
        pictures.save(pictures.figure2(_examples(shown)), folder / "figure2.png")
    return evaluation


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
