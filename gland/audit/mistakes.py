"""Reads mistakes.txt: mistakes that people make in backward passes, each as an edit of a line or two of the real code."""

from collections.abc import Callable
from inspect import unwrap
from pathlib import Path
from pkgutil import resolve_name
from typing import NamedTuple


class Edit(NamedTuple):
    """old, which occurs exactly once in the function's source, replaced by new."""

    function: Callable
    old: str
    new: str


class Mistake(NamedTuple):
    name: str
    story: str
    edits: tuple[Edit, ...]


def _read(text: str) -> tuple[Mistake, ...]:
    found = []
    for block in text.strip("\n").split("\n\n")[1:]:  # the first block says what the file is
        heading, *lines = block.split("\n")
        name, story = heading.split(": ", 1)
        edits = zip(lines[::3], lines[1::3], lines[2::3])
        found.append(
            Mistake(
                name, story, tuple(Edit(unwrap(resolve_name(f.strip())), old[4:], new[4:]) for f, old, new in edits)
            )
        )
    return tuple(found)


MISTAKES = _read((Path(__file__).parent / "mistakes.txt").read_text(encoding="utf-8"))
