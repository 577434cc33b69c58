"""Train a network, evaluate it, and say where everything is. `python train.py --help` lists the options."""

import sys

from gland.run import main

if __name__ == "__main__":
    sys.exit(main())
