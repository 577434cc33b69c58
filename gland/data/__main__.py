"""python -m gland.data FOLDER: what a data folder holds, and where it differs from the release."""

import sys

from gland.data import read, release_warnings, summary
from gland.errors import InputError


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m gland.data FOLDER", file=sys.stderr)
        return 2
    try:
        samples = read(arguments[0], progress=True)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(summary(samples), *(f"warning: {sentence}" for sentence in release_warnings(samples)), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
