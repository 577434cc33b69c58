import os
from pathlib import Path

import hypothesis
import pytest
import scripts

from gland.data import Sample, read

# The same examples on every run; no deadline, since CI's cores are shared.
hypothesis.settings.register_profile("gland", derandomize=True, deadline=None, max_examples=30)
hypothesis.settings.load_profile("gland")


@pytest.fixture(scope="session")
def warwick_dir() -> Path:
    """The real training images, in the folder that $GLAND_WARWICK_QU names."""
    folder = os.environ.get("GLAND_WARWICK_QU")
    if not folder or not (Path(folder) / "Grade.csv").exists():
        pytest.skip("set GLAND_WARWICK_QU to the folder of the Warwick-QU images, which are not in this repository")
    return Path(folder)


@pytest.fixture(scope="session")
def warwick_samples(warwick_dir) -> list[Sample]:
    """They, read."""
    return read(warwick_dir)


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory) -> Path:
    """Twelve images of 64 x 64 pixels in the layout of Warwick-QU."""
    return scripts.write_set(tmp_path_factory.mktemp("tiny") / "data", [f"train_{i + 1}" for i in range(12)])


@pytest.fixture(scope="session")
def tiny_run(tiny_data) -> Path:
    """A whole run of train.py on tiny_data, never interrupted. Not to be written into."""
    folder = tiny_data.with_name("run")
    scripts.finish("train.py", *scripts.TINY, "--data", tiny_data, "--out", folder, cwd=tiny_data.parent)
    return folder
