"""Evaluate a run, or segment and classify any image with it. `python evaluate.py --help` lists the options."""

import argparse
import sys

from gland.errors import InputError
from gland.evaluation import SETS, evaluate_run, segment_files


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="evaluate.py", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    p.add_argument("run", metavar="RUN", help="run folder that train.py printed")
    p.add_argument("--data", metavar="DIR", help="data folder; default: the one that the run was trained on")
    p.add_argument("--split", choices=SETS, default="test", help="which images")
    p.add_argument("--checkpoint", choices=("best", "last"), default="best", help="which weights")
    p.add_argument("--tta", action="store_true", help="average over flips and quarter turns")
    p.add_argument(
        "--postprocess", action="store_true", help="choose post-processing on validation images, for objects"
    )
    p.add_argument("--image", nargs="+", metavar="FILE", help="segment and classify these images instead")
    p.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto", help="where to compute")
    return p


def main() -> int:
    o = parser().parse_args()
    try:
        if o.image:
            print(segment_files(o.run, o.image, o.tta, o.device))
        else:
            print(evaluate_run(o.run, o.split, o.data, o.checkpoint, o.tta, o.postprocess, o.device))
            print(f"written to {o.run}/evaluation/{o.split}: table.csv, table.json, images.csv, overlays, figure2.png")
    except InputError as error:
        print(f"evaluate.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nevaluate.py: stopped; nothing half-written remains", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
