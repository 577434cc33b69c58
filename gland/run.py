"""A whole run: its folder, its data, its training, its curves and its evaluation. train.py and table1 come here."""

import sys
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import Any

from gland import backend, checkpoint, data, figures
from gland.config import complete, parser
from gland.errors import InputError
from gland.evaluation import evaluate_run
from gland.files import held, remove_leftovers
from gland.training import Training, choose_split

PHANTOM = Path("runs") / "phantom-data"


def start(config: dict[str, Any], out: str | None) -> Training:
    """A new run in the folder that out names, or in the next free one under runs/.

    Reads the data, fixes the split and writes RUN/config.json. Raises InputError, and then leaves no folder behind.
    """
    folder, made = _claim(config, out)
    try:
        return _prepare(config, folder)
    except BaseException:
        if made:
            with suppress(OSError):  # not empty: something of use is in it
                folder.rmdir()
        raise


def resume(folder: Path) -> Training:
    """The run as its last checkpoint left it, or at its start if it had not come to one. Raises InputError."""
    config = checkpoint.load_config(folder, ("data", "split", *complete(parser().parse_args([]))))
    with held(folder):
        remove_leftovers(folder)
    try:
        samples = data.read(config["data"], progress=True)
    except InputError as error:
        where = f"the run has its data folder from {folder / 'config.json'}; change it there if the folder has moved"
        raise InputError(f"{str(error).rstrip('.')}; {where}") from None
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
    pictures = [name for name in evaluation.files if not name.endswith(("csv", "json"))]
    return "\n".join(
        [
            f"\n{evaluation}\n",
            f"weights    {folder / 'best.npz'} (best on validation), last.npz",
            f"curves     {folder / 'curves.png'}, log.csv",
            f"scores     {evaluation.folder / 'table.csv'}, table.json, images.csv",
            *([f"pictures   {evaluation.folder / pictures[0]}, {', '.join(pictures[1:])}"] if pictures else []),
            f"any image  python evaluate.py {quote(str(folder))} --image FILE",
        ]
    )


def phantom_samples() -> tuple[Path, list[data.Sample]]:
    """The built-in data set, painted where it is not there yet. Raises InputError."""
    folder = data.phantom.write(PHANTOM)
    try:
        return folder, data.read(folder, progress=True)
    except InputError as error:
        raise InputError(f"{str(error).rstrip('.')}; delete {folder} and it is painted anew") from None


def _claim(config: dict[str, Any], out: str | None) -> tuple[Path, bool]:
    """The run's folder, and whether it was made here. Two runs that start at once get two folders."""
    try:
        if out is not None:
            folder = Path(out)
            if folder.exists() and not folder.is_dir():
                raise InputError(f"--out {folder} is a file; name a folder")
            if (folder / "config.json").exists():
                raise InputError(
                    f"{folder} holds a run already; go on with it by --resume {quote(str(folder))}, or name another folder"
                )
            made = not folder.exists()
            folder.mkdir(parents=True, exist_ok=True)
            return folder, made
        name = f"{config['network']}-{'phantom' if config['data'] is None else Path(config['data']).resolve().name}"
        folder, number = Path("runs") / name, 1
        folder.parent.mkdir(exist_ok=True)
        while True:
            try:
                folder.mkdir()
                return folder, True
            except FileExistsError:
                number += 1
                folder = Path("runs") / f"{name}-{number}"
    except OSError as error:
        raise InputError(f"the run folder {folder} cannot be made: {error.strerror}; name another by --out") from None


def _prepare(config: dict[str, Any], folder: Path) -> Training:
    backend.select(config["device"])  # before any work is done for a device that is not there
    if config["data"] is None:
        source, samples = phantom_samples()
    else:
        source = Path(config["data"])
        samples = data.read(source, progress=True)
        parts = {s.part for s in samples}
        for sentence in data.release_warnings(samples):
            if sentence.split()[0] in parts:
                print(f"warning: {sentence}", file=sys.stderr)
    split = choose_split(samples, config)
    if (folder / "config.json").exists():
        raise InputError(f"another run has begun in {folder} meanwhile; name another folder")
    return prepared(config, folder, source, samples, split)


def prepared(
    config: dict[str, Any], folder: Path, source: str | Path, samples: list[data.Sample], split: data.Split
) -> Training:
    """A run at its start; RUN/config.json then says where its data are and how they are split."""
    kept = {"by": config["split_by"], "fold": config["fold"], "seed": config["seed"], **split._asdict()}
    config = config | {"data": str(Path(source).resolve()), "split": kept}
    training = Training(config, folder, data.choose(samples, split.train), data.choose(samples, split.val))
    checkpoint.save_config(folder, config)
    return training
