"""A whole run: its folder, its data, its training, its curves and its evaluation. train.py comes here."""

import sys
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from shlex import quote

from gland import backend, console, data
from gland.errors import InputError
from gland.evaluation import pictures
from gland.evaluation.run import evaluate_run
from gland.files import held, remove_leftovers
from gland.training import checkpoint
from gland.training.loop import Training, begin
from gland.training.options import Options, complete, parse


def main(arguments: list[str] | None = None) -> int:
    """Train a network, evaluate it, and say where everything is. Exit status: see console.call."""

    def work() -> None:
        given = parse(arguments)
        training = start(complete(given), given.out) if given.resume is None else resume(Path(given.resume))
        print(training.summary())
        training.run()
        print(finish(training.folder))

    return console.call(console.program("train"), work)


def start(options: Options, out: str | None) -> Training:
    """A new run in the folder that out names, or in the next free one under runs/.

    Reads the data, fixes the split and writes RUN/config.json. Raises InputError, and then leaves no folder behind.
    """
    folder, made = _claim(options, out)
    try:
        return _prepare(options, folder)
    except BaseException:
        if made:
            with suppress(OSError):  # not empty: something of use is in it
                folder.rmdir()
        raise


def resume(folder: Path) -> Training:
    """The run as its last checkpoint left it, or at its start if it had not come to one. Raises InputError."""
    options = checkpoint.load_options(folder, [field.name for field in fields(Options)])
    with held(folder):
        remove_leftovers(folder)
    try:
        samples = data.read(options.data_folder, progress=True)
    except InputError as error:
        where = f"the run has its data folder from {folder / 'config.json'}; change it there if the folder has moved"
        raise InputError(f"{str(error).rstrip('.')}; {where}") from None
    sets = options.sets
    training = Training(options, folder, data.choose(samples, sets.train), data.choose(samples, sets.val))
    if (folder / "last.npz").exists():
        training.restore()
    return training


def finish(folder: Path) -> str:
    """Curves and the evaluation of the test images; returns the table and where everything is, for the screen."""
    rows = checkpoint.load(folder / "last.npz")[1]["rows"]
    pictures.save(pictures.training_curves(rows), folder / "curves.png")
    evaluation = evaluate_run(folder)
    names = [name for name in evaluation.files if not name.endswith(("csv", "json"))]
    return "\n".join(
        [
            f"\n{evaluation}\n",
            f"weights    {folder / 'best.npz'} (best on validation), last.npz",
            f"curves     {folder / 'curves.png'}, log.csv",
            f"scores     {evaluation.folder / 'table.csv'}, table.json, images.csv",
            *([f"pictures   {evaluation.folder / names[0]}, {', '.join(names[1:])}"] if names else []),
            f"any image  {console.command('evaluate')} {quote(str(folder))} --image FILE",
        ]
    )


def _claim(options: Options, out: str | None) -> tuple[Path, bool]:
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
        name = f"{options.network}-{'phantom' if options.data is None else Path(options.data).resolve().name}"
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


def _prepare(options: Options, folder: Path) -> Training:
    backend.select(options.device)  # before any work is done for a device that is not there
    if options.data is None:
        source, samples = data.phantom.samples()
    else:
        source = Path(options.data)
        samples = data.read(source, progress=True)
        parts = {s.part for s in samples}
        for sentence in data.release_warnings(samples):
            if sentence.split()[0] in parts:
                print(f"warning: {sentence}", file=sys.stderr)
    split = data.choose_split(samples, str(source), options.split_by, options.seed, options.fold, options.folds)
    if (folder / "config.json").exists():
        raise InputError(f"another run has begun in {folder} meanwhile; name another folder")
    return begin(options, folder, source, samples, split)
