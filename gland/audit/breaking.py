"""Puts a mistake into the running code and takes it out again, and reports which check saw it."""

import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType
from typing import TextIO

from tqdm import tqdm

from gland.audit import all as everything
from gland.audit import equations, joint, layers, table
from gland.audit.evidence import Section, where
from gland.audit.mistakes import MISTAKES, Edit, Mistake
from gland.console import command
from gland.errors import InputError


@contextmanager
def broken(mistake: Mistake) -> Iterator[None]:
    """The mistake is in the code while this lasts. A function's code object is exchanged, so every reference to it sees it."""
    before = [(edit.function, edit.function.__code__) for edit in mistake.edits]
    patched = [patched_code(edit) for edit in mistake.edits]
    try:
        for edit, code in zip(mistake.edits, patched):
            edit.function.__code__ = code
        yield
    finally:
        for function, code in before:
            function.__code__ = code


def patched_code(edit: Edit) -> CodeType:
    """The function's code with old replaced by new. Raises ValueError if old does not occur exactly once in its source."""
    lines, first = inspect.getsourcelines(edit.function)
    source = textwrap.dedent("".join(lines))
    if source.count(edit.old) != 1:
        raise ValueError(
            f"{edit.old!r} occurs {source.count(edit.old)} times in {where(edit.function)}; the mistake needs a new "
            f"text"
        )
    # an enclosing function with a variable named __class__ is what super() looks for
    body = textwrap.indent(source.replace(edit.old, edit.new), "    ")
    name = edit.function.__name__
    text = f"def enclosing(__class__):\n{body}\n    return {name}\n"
    module = compile(text, inspect.getsourcefile(edit.function) or "?", "exec")
    enclosing = next(c for c in module.co_consts if isinstance(c, CodeType))
    code = next(c for c in enclosing.co_consts if isinstance(c, CodeType) and c.co_name == name)
    return code.replace(co_firstlineno=first)


def find(name: str) -> Mistake:
    found = {mistake.name: mistake for mistake in MISTAKES}
    if name in found:
        return found[name]
    raise InputError(f"there is no mistake {name!r}; `{command('audit')} --break list` prints their names")


def order(mistake: Mistake) -> list[tuple[str, Callable[[], Section]]]:
    """All quick checks, those first that look at the part of the package in which the mistake lies."""
    large = list(joint.sections(quick=True))
    prior, whole = [s for s in large if s[0].startswith("f ")], [s for s in large if not s[0].startswith("f ")]
    small = [*equations.sections(), *sorted(layers.sections(), key=lambda s: "Conv" in s[0])]
    module = mistake.edits[0].function.__module__
    if ".networks." in module:
        return [*whole[::-1], *prior, *small]
    return [*small[:2], *prior, *small[2:], *whole] if module == "gland.prior" else [*small, *prior, *whole]


def all_mistakes(out: TextIO | None = None) -> bool:
    """Prints the table mistake -> first check that caught it; True if all are caught."""
    paint, caught = table.Paint(out), 0
    print(paint.bold(f"{'mistake':<26}{'caught by':<18}{'error':>9}  check"), file=out)
    for mistake in tqdm(MISTAKES, unit="mistake", leave=False, delay=2, disable=None):
        with broken(mistake):
            found = everything.first_failure(order(mistake))
        if found is None:
            print(f"{mistake.name:<26}{paint.red('NOT CAUGHT')}  {mistake.story}", file=out)
            continue
        caught += 1
        subject, check = found
        print(f"{mistake.name:<26}{subject:<18}{check.error:9.0e}  {check.kind}: {check.what}", file=out)
    verdict = paint.green if caught == len(MISTAKES) else paint.red
    print(verdict(f"{caught} of {len(MISTAKES)} mistakes caught"), file=out)
    return caught == len(MISTAKES)


def one_mistake(mistake: Mistake, out: TextIO | None = None) -> bool:
    """The audit's checks on the broken copy; True if all pass, which they must not."""
    for edit in mistake.edits:
        print(f"{where(edit.function)}  {edit.function.__qualname__}\n  - {edit.old}\n  + {edit.new}", file=out)
    print(f"  {mistake.story}\n", file=out)
    with broken(mistake):
        sections = [everything.one(key, build) for key, build in everything.checks(quick=True)]
    table.summary(everything.Audit(sections, []), out)
    return all(section.passed for section in sections)
