"""evaluate.py, or `gland evaluate`: measure a run, or segment and classify any image with it; see --help."""

import argparse
import sys
from pathlib import Path

from gland import console
from gland.errors import InputError
from gland.evaluation.run import SETS, evaluate_run
from gland.inference import trained
from gland.inference.files import segment_files


def parser() -> console.Parser:
    train = console.program("train")
    p = console.Parser(
        prog=console.program("evaluate"),
        description="Measure a trained network on images that it has not seen, or classify and segment any image.",
    )
    p.add_argument(
        "run",
        metavar="RUN",
        nargs="?",
        help=f"run folder that {train} printed; none: the network in the package",
    )
    p.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto", help="where to compute")
    p.add_argument("--checkpoint", choices=("best", "last"), default="best", help="which weights")
    p.add_argument(
        "--tta",
        action=argparse.BooleanOptionalAction,
        help="average over the eight flips and quarter turns; default: yes, but for images so large that they come in tiles",
    )

    measure = p.add_argument_group("measure")
    measure.add_argument("--data", metavar="DIR", help="data folder; default: the one that the run was trained on")
    measure.add_argument("--split", choices=SETS, default="test", help="which images")
    measure.add_argument(
        "--no-postprocess",
        dest="postprocess",
        action="store_false",
        help="object figures of the bare mask of Eq. 6; else with settings chosen on validation images",
    )

    images = p.add_argument_group("any image")
    images.add_argument("--image", nargs="+", metavar="FILE", help="classify and segment these images instead")
    return p


def work(o: argparse.Namespace) -> None:
    if o.image:
        measuring = {"--data": o.data is not None, "--split": o.split != "test", "--no-postprocess": not o.postprocess}
        if given := [name for name, is_given in measuring.items() if is_given]:
            raise InputError(f"{given[0]} is for measuring and does nothing for --image; leave one of the two out")
        run, pictures = (trained.FOLDER, Path("runs") / "images") if o.run is None else (o.run, None)
        print(segment_files(run, o.image, o.checkpoint, o.tta, o.device, pictures))
        return
    if o.run is None:
        train = console.program("train")
        raise InputError(f"name a run to measure (the folder that {train} printed), or images by --image FILE")
    evaluation = evaluate_run(o.run, o.split, o.data, o.checkpoint, o.tta is not False, o.postprocess, o.device)
    print(f"\n{evaluation}\nwritten to {evaluation.folder}: {', '.join(evaluation.files)}")


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 bad input, 130 stopped."""
    options = parser().parse_args(arguments)
    return console.call(console.program("evaluate"), lambda: work(options))


if __name__ == "__main__":
    sys.exit(main())
