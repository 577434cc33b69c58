"""The network in the package: trained on the phantom set alone, so that `evaluate.py --image FILE` works at once.

    python train.py --out RUN && python -m gland.inference.trained RUN

made it, and makes it anew. It has seen painted tissue only: on real images, train one on real images.
"""

import json
import shutil
import sys
from pathlib import Path

from gland import console
from gland.errors import InputError
from gland.files import write_text
from gland.training import checkpoint

FOLDER = Path(__file__).resolve().parent / "trained_joint"
LARGEST = 10_000_000  # bytes of weights


def keep(run: Path) -> None:
    """Put the network of an evaluated run on the phantom set into the package. Raises InputError."""
    options = checkpoint.load_options(run, ("data",))
    if options.data_folder.name != "phantom-data":
        raise InputError(f"{run} was trained on {options.data}; only a network of the phantom set may be passed on")
    if (run / "best.npz").stat().st_size > LARGEST:
        raise InputError(f"{run}/best.npz has more than {LARGEST:,} bytes; train one of smaller --width")
    for name in ("best.npz", "postprocess.json"):
        if not (run / name).exists():
            raise InputError(f"{run} has no {name}; let train.py end, or evaluate the run")
    FOLDER.mkdir(exist_ok=True)
    for name in ("best.npz", "postprocess.json"):
        shutil.copyfile(run / name, FOLDER / name)
    kept = {name: getattr(options, name) for name in checkpoint.NETWORK}  # nothing of the machine that it was made on
    write_text(FOLDER / "config.json", json.dumps(kept, indent=2) + "\n")


def main() -> None:
    """python -m gland.inference.trained RUN"""
    description = "Put the network of an evaluated run on the phantom set into the package."
    parser = console.Parser(prog="python -m gland.inference.trained", description=description)
    parser.add_argument("run", metavar="RUN", help="run folder of the phantom set")
    keep(Path(parser.parse_args().run))
    print(f"{FOLDER} holds it now")


if __name__ == "__main__":
    sys.exit(console.call("gland.inference.trained", main))
