"""Train a network, evaluate it, and say where everything is. `python train.py --help` lists the options."""

import sys
from pathlib import Path

from gland import config, run
from gland.errors import InputError
from gland.training import Diverged, Interrupted


def main() -> int:
    options = config.parser().parse_args()
    try:
        if options.resume is not None:
            folder = Path(options.resume)
            training = run.resume(folder)
        else:
            settings = config.complete(options)
            folder = run.new_folder(settings, options.out)
            training = run.prepare(settings, folder)
        print(training.summary())
        training.run()
        print(run.finish(folder))
    except InputError as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    except Interrupted:
        print(f"\nStopped; everything is saved. To go on: python train.py --resume {folder}", file=sys.stderr)
        return 130
    except Diverged as error:
        print(f"\ntrain.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
