"""Train a network, evaluate it, and say where everything is. `python train.py --help` lists the options."""

import sys
from pathlib import Path

from gland import console, run
from gland.training.options import complete, parse


def main() -> None:
    options = parse()
    if options.resume is not None:
        training = run.resume(Path(options.resume))
    else:
        training = run.start(complete(options), options.out)
    print(training.summary())
    training.run()
    print(run.finish(training.folder))


if __name__ == "__main__":
    sys.exit(console.call("train.py", main))
