"""The order of rooms and the types are held by tools, and the tools notice what they must."""

import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def tool(name, *arguments, cwd):
    command = [Path(sys.executable).with_name(name), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def copied(tmp_path):
    shutil.copytree(ROOT / "gland", tmp_path / "gland", ignore=shutil.ignore_patterns("__pycache__", "*.npz"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint_imports(cwd):
    return tool("lint-imports", "--no-cache", cwd=cwd)


def test_a_room_imports_only_from_those_below_it():
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("ops/host/pool.py", "from gland.layers import pool", "A room imports only from those below it BROKEN"),
        ("data/sample.py", "def f():\n    from gland import run", "A room imports only from those below it BROKEN"),
        ("data/sample.py", "from gland.data import crops", "Nothing is imported in a circle BROKEN"),
        ("ops/plain.py", "from gland.ops import layout", "The definitions share nothing with what they prove BROKEN"),
    ],
    ids=["upwards", "upwards and lazily", "in a circle", "shared"],
)
def test_an_arrow_that_must_not_be_is_found(copied, file, line, contract):
    path = copied / "gland" / file
    path.write_text(f"{path.read_text()}\n\n{line}\n")
    result = lint_imports(copied)
    assert result.returncode == 1 and contract in result.stdout, result.stdout


@pytest.mark.gate
def test_every_function_has_its_types(copied):
    result = tool("mypy", cwd=ROOT)
    assert result.returncode == 0, result.stdout
    path = copied / "gland" / "metrics.py"
    path.write_text(f"{path.read_text()}\n\ndef planted(x):\n    return x\n")
    assert "missing a type annotation" in tool("mypy", cwd=copied).stdout


@pytest.mark.parametrize(
    "package", sorted(p.parent.relative_to(ROOT) for p in ROOT.glob("gland/**/__init__.py")), ids=str
)
def test_a_package_has_a_map_and_all_that_it_promises(package):
    """Every file of it is named in its docstring, and `from package import *` works."""
    name = ".".join(package.parts)
    module = importlib.import_module(name)
    files = {p.name for p in (ROOT / package).glob("*.py")} - {"__init__.py", "__main__.py"}
    rooms = {f"{p.parent.name}/" for p in (ROOT / package).glob("*/__init__.py")}
    unnamed = [f for f in files | rooms if f not in module.__doc__]
    assert not unnamed, f"the map of {name} lacks {unnamed}"
    exec(f"from {name} import *", {})
