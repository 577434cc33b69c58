"""python -m gland.data FOLDER: what a data folder holds, and where it differs from the release."""

import sys

from gland.console import Parser, call, program
from gland.data import read, release_warnings, summary


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 all is readable, 2 something is wrong, and one sentence says what."""
    p = Parser(
        prog=program("data"), description="Read a data folder, say what it holds and where it differs from the release."
    )
    p.add_argument("folder", metavar="FOLDER", help="folder of Warwick-QU as released, or of a phantom set")
    options = p.parse_args(arguments)

    def work() -> None:
        samples = read(options.folder, progress=True)
        print(summary(samples), *(f"warning: {sentence}" for sentence in release_warnings(samples)), sep="\n")

    return call(program("data"), work)


if __name__ == "__main__":
    sys.exit(main())
