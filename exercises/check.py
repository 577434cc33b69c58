"""Is an exercise solved, and if not, what is wrong with it? One sentence, of the first thing that is wrong.

python -m exercises.check            all exercises: solved, begun, or not
python -m exercises.check conv       one
"""

import argparse
import importlib
import sys
import traceback
from types import ModuleType

import numpy as np

from exercises import diagnosis
from exercises.cases import CHECKS
from gland.gradcheck import CheckError


def verdict(name: str, module: ModuleType) -> str | None:
    """What is wrong with the module's answer to the exercise, in one sentence, or None if it is solved.

    Raises NotImplementedError, with the exercise's own hint, where something is still left out.
    """
    try:
        with np.errstate(all="ignore"):  # what overflows is told in the sentence
            for claim in CHECKS[name](module):
                text = claim if isinstance(claim, str) else diagnosis.sentence(claim)
                if text is not None:
                    return text
    except NotImplementedError:
        raise
    except CheckError as error:
        return _raised(error.__cause__, module) if error.__cause__ else f"{error}."
    except Exception as error:
        return _raised(error, module)
    return None


def _raised(error: BaseException, module: ModuleType) -> str:
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == module.__file__]
    place = f", line {own[-1].lineno}, in {own[-1].name}" if own else ""
    text = " ".join(str(error).split()) or "without a message"
    if isinstance(error, ValueError) and "read-only" in text:
        return f"One of the arguments is written into{place}; make a new array instead."
    return f"{type(error).__name__}: {text}{place}."


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m exercises.check", description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", help=f"one of: {', '.join(CHECKS)} (default: all)")
    parser.add_argument("--solution", action="store_true", help="check exercises/solutions instead of exercises")
    options = parser.parse_args(arguments)
    if options.name is not None and options.name not in CHECKS:
        print(f"there is no exercise {options.name!r}; there are: {', '.join(CHECKS)}", file=sys.stderr)
        return 2
    names = [options.name] if options.name else list(CHECKS)
    width = max(map(len, names))
    solved = 0
    for name in names:
        text = one(name, "exercises.solutions" if options.solution else "exercises")
        solved += text == "solved."
        print(f"{name:<{width}}  {text}")
    return 0 if solved == len(names) else 1


def one(name: str, package: str) -> str:
    """The line that is printed for an exercise."""
    try:
        return verdict(name, importlib.import_module(f"{package}.{name}")) or "solved."
    except NotImplementedError as hint:
        return f"left out: {hint}"
    except (SyntaxError, ImportError) as error:
        return f"cannot be read: {error}."
    except Exception as error:  # of a line outside all functions
        return f"cannot be read: {type(error).__name__}: {error}."


if __name__ == "__main__":
    sys.exit(main())
