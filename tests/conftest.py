import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def warwick_dir() -> Path:
    """The real training images: $GLAND_WARWICK_QU, or ../shared/warwick_qu beside the checkout."""
    folder = Path(os.environ.get("GLAND_WARWICK_QU", ROOT.parent / "shared" / "warwick_qu"))
    if not (folder / "Grade.csv").exists():
        pytest.skip(f"the Warwick-QU images are not in {folder}; set GLAND_WARWICK_QU to their folder")
    return folder
