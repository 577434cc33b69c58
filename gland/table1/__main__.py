"""python -m gland.table1: see --help."""

import argparse
import sys

from gland.console import Parser, call, program
from gland.data.splits import BY
from gland.errors import Interrupted
from gland.table1 import jobs, runner

DEFAULT_OUT = "runs/table1"


def parser() -> Parser:
    """The options, with each one's default and unit in its help."""
    p = Parser(
        prog=program("table1"),
        description="Train and test all five networks of the paper's Table 1 under one protocol. "
        "Stopped, the same command goes on where it was.",
        epilog=f"Any training option of {program('train')} may follow, such as --batch 8, and holds for all networks.",
        allow_abbrev=False,  # train.py's --fold is not --folds
    )
    p.add_argument("--data", metavar="DIR", help="folder of Warwick-QU as released; none: the phantom set")
    p.add_argument("--out", metavar="DIR", default=DEFAULT_OUT, help="folder for the runs and the tables")
    p.add_argument(
        "--networks", nargs="+", choices=tuple(jobs.SYSTEMS), default=list(jobs.SYSTEMS), help="which networks"
    )
    p.add_argument("--iterations", type=int, metavar="N", default=2400, help="steps for each network")
    p.add_argument("--folds", type=int, metavar="K", help="cross-validate with K folds; none: one 70/10/20 split")
    p.add_argument(
        "--split-by", nargs="+", choices=BY, default=["visual_field", "image"], help="what a split keeps together"
    )
    p.add_argument(
        "--ablations", action="store_true", help="also the variants of the joint network, on the first split"
    )
    p.add_argument(
        "--tta",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="average predictions over the eight flips and quarter turns; trained networks are scored again where it changes",
    )
    p.add_argument(
        "--protocol",
        choices=("split", "glas"),
        default="split",
        help="glas: train on part train, test on testA and testB",
    )
    return p


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 bad input, 130 stopped."""
    p = parser()
    options, training_options = p.parse_known_args(arguments)

    def work() -> None:
        try:
            print(runner.run(jobs.plan(options, training_options), options))
        except (Interrupted, KeyboardInterrupt):
            raise Interrupted(
                f"stopped; what is done is kept in {options.out}, and the same command goes on from there"
            ) from None

    return call(p.prog, work)


if __name__ == "__main__":
    sys.exit(main())
