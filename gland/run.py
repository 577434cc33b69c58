"""A whole run: its folder, its data, its training, its curves and its evaluation. train.py and table1 come here."""

from pathlib import Path
from typing import Any

from gland import checkpoint, data, figures
from gland.errors import InputError
from gland.evaluation import evaluate_run
from gland.training import Training, choose_split

PHANTOM = Path("runs") / "phantom-data"


def new_folder(config: dict[str, Any], out: str | None) -> Path:
    """The run folder that out names, or the next free one under runs/. Raises InputError if it holds a run already."""
    if out is not None:
        folder = Path(out)
        if folder.exists() and not folder.is_dir():
            raise InputError(f"--out {folder} is a file; name a folder")
        if (folder / "config.json").exists():
            raise InputError(
                f"{folder} holds a run already; go on with it by --resume {folder}, or name another folder"
            )
        return folder
    name = f"{config['network']}-{'phantom' if config['data'] is None else Path(config['data']).name}"
    folder, number = Path("runs") / name, 1
    while folder.exists():
        number += 1
        folder = Path("runs") / f"{name}-{number}"
    return folder


def prepare(config: dict[str, Any], folder: Path) -> Training:
    """Read the data, fix the split, write RUN/config.json. Raises InputError before anything is written."""
    source = config["data"]
    if source is None:
        source = str(data.phantom.write(PHANTOM))
    samples = data.read(source)
    split = choose_split(samples, config)
    config = config | {
        "data": str(Path(source).resolve()),
        "split": {"by": config["split_by"], "fold": config["fold"], "seed": config["seed"], **split._asdict()},
    }
    training = Training(config, folder, data.choose(samples, split.train), data.choose(samples, split.val))
    checkpoint.save_config(folder, config)
    return training


def resume(folder: Path) -> Training:
    """The run as its last checkpoint left it, or at its start if it had not come to one."""
    config = checkpoint.load_config(folder)
    samples = data.read(config["data"])
    split = config["split"]
    training = Training(config, folder, data.choose(samples, split["train"]), data.choose(samples, split["val"]))
    if (folder / "last.npz").exists():
        training.restore()
    return training


def finish(folder: Path) -> str:
    """Curves and the evaluation of the test images; returns the table and where everything is, for the screen."""
    rows = checkpoint.load(folder / "last.npz")[1]["rows"]
    figures.save(figures.training_curves(rows), folder / "curves.png")
    evaluation = evaluate_run(folder)
    return (
        f"\n{evaluation}\n"
        f"weights   {folder}/best.npz (best on validation), last.npz\n"
        f"curves    {folder}/curves.png, log.csv\n"
        f"pictures  {folder}/evaluation/test/figure2.png, overlays/\n"
        f"any image: python evaluate.py {folder} --image FILE"
    )
