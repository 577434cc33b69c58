"""Evaluate a run, or segment and classify any image with it. `python evaluate.py --help` lists the options."""

import sys

from gland.evaluation.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
