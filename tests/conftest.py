import os
from pathlib import Path

import hypothesis
import pytest

# The same examples on every run; no deadline, since CI's cores are shared.
hypothesis.settings.register_profile("gland", derandomize=True, deadline=None, max_examples=30)
hypothesis.settings.load_profile("gland")

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def warwick_dir() -> Path:
    """The real training images: $GLAND_WARWICK_QU, or ../shared/warwick_qu beside the checkout."""
    folder = Path(os.environ.get("GLAND_WARWICK_QU", ROOT.parent / "shared" / "warwick_qu"))
    if not (folder / "Grade.csv").exists():
        pytest.skip(f"the Warwick-QU images are not in {folder}; set GLAND_WARWICK_QU to their folder")
    return folder
