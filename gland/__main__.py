"""`gland NAME ...`, or python -m gland NAME ...: one door to every program, where the wheel is installed."""

import importlib
import sys

from gland import console

PLACES = {"train": "gland.run", "evaluate": "gland.evaluation.__main__"} | {
    name: f"gland.{name}.__main__" for name in ("data", "audit", "table1", "doctor")
}
SAYS = {
    "train": "train a network, then evaluate it",
    "evaluate": "measure a run, or classify and segment any image",
    "data": "say what a data folder holds",
    "audit": "compare every equation and layer with its definition",
    "table1": "train and test all networks of the paper's Table 1",
    "doctor": "say what this machine can do",
}
HELP = "usage: gland NAME ...\n\n" + "".join(f"  {name:<10}{text}\n" for name, text in SAYS.items())


def main() -> int:
    """The exit status of the program that the first argument names; 2 where there is none of that name."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(f"{HELP}\n`gland NAME --help` lists the options of each.")
        return 0
    if name not in PLACES:
        print(f"gland: there is no program {name!r}; there are {', '.join(PLACES)}", file=sys.stderr)
        return 2
    console.through("gland")
    return importlib.import_module(PLACES[name]).main(arguments)


if __name__ == "__main__":
    sys.exit(main())
