"""What the command-line programs share: help that is short, and one sentence with an exit status for what goes wrong."""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from gland.errors import Diverged, InputError, Interrupted

PROGRAMS = {  # what a clone calls them; where the wheel is installed, it is `gland NAME`
    "train": "train.py",
    "evaluate": "evaluate.py",
    "data": "python -m gland.data",
    "audit": "python -m gland.audit",
    "table1": "python -m gland.table1",
    "doctor": "python -m gland.doctor",
}
_door = ""


def through(door: str) -> None:
    """From now on hints name this door: "gland", where the wheel is installed, or "" for the scripts of a clone."""
    global _door
    _door = door


def program(name: str) -> str:
    """What stands before a sentence of this program."""
    return f"{_door} {name}" if _door else PROGRAMS[name]


def command(name: str) -> str:
    """How a user starts this program, by the door that was used."""
    return program(name) if _door or PROGRAMS[name].startswith("python ") else f"python {PROGRAMS[name]}"


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Defaults are shown, but not "None" of what may be left out, nor "False" of a switch."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or isinstance(action.default, bool):
            return action.help
        if isinstance(action.default, list):
            return f"{action.help} (default: {' '.join(action.default)})"
        return super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence, without the usage before it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=_Help, **options)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; {self.prog} --help lists the options\n")


def call(program: str, work: Callable[[], None]) -> int:
    """work(), and the exit status: 0 done, 1 diverged, or nobody reads on, 2 bad input or no room, 130 stopped by Ctrl-C."""
    try:
        with _terminated_is_interrupted():
            work()
            sys.stdout.flush()
    except InputError as error:
        return _say(f"{program}: {error}", 2)
    except Diverged as error:
        return _say(f"\n{program}: {error}", 1)
    except Interrupted as stopped:
        return _say(f"\n{stopped}", 130)
    except KeyboardInterrupt:
        return _say(f"\n{program}: stopped; no half-written file remains", 130)
    except BrokenPipeError:  # whoever read along, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _say(f"{program}: {where}{error.strerror or error}", 2)
    except MemoryError:
        return _say(f"{program}: there is not enough memory for this; try a smaller --batch, --crop or --width", 2)
    return 0


@contextmanager
def _terminated_is_interrupted() -> Iterator[None]:
    """SIGTERM is taken for Ctrl-C, so that what is unfinished is cleared away (a training step: training/loop.py)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _say(message: str, status: int) -> int:
    print(message, file=sys.stderr)
    return status
