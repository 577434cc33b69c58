"""The audit on a terminal: one line a subject."""

import sys
from collections.abc import Callable
from typing import Any, TextIO

from gland.audit.all import Audit
from gland.audit.evidence import KINDS, Section, where
from gland.audit.paper.readings import DIVERGES

COLUMNS = ("formula", "gradient", "adjoint", "second", "float32")
HEADING = f"{'worst relative error of':<22}{''.join(f'{kind:>9}' for kind in COLUMNS)}  function, gradient"


def summary(audit: Audit, out: TextIO | None = None) -> None:
    """At most 42 lines if everything passes; each failed check adds one."""
    paint = Paint(out)
    print(paint.bold(HEADING), file=out)
    for section in audit.sections:
        print(line(section, paint), file=out)
    failed = [(section, check) for section in audit.sections for check in section.checks if not check.passed]
    for section, check in failed:
        print(f"{paint.red('FAILED')} {section.key}: {check.what}: {check.error:.1e} > {check.tolerance:.0e}", file=out)
    count = sum(len(section.checks) for section in audit.sections)
    verdict = paint.green("all passed") if audit.passed else paint.red(f"{len(failed)} FAILED")
    took = "" if audit.seconds is None else f" in {audit.seconds:.0f} s"
    print(f"{count} checks of {len(audit.sections)} subjects{took}: {verdict}", file=out)


def line(section: Section, paint: "Paint") -> str:
    if section.skipped:
        return f"{section.key:<22}{paint.dim('skipped: ' + section.skipped)}"
    mark = {"FAILED": paint.red, "ok": paint.green}.get(section.mark, paint.dim)(section.mark)
    if section.is_fact:
        what, number = section.numbers[0]
        return f"{section.key:<22}{what}: {number}  {mark}"
    errors = "".join(f"{'' if (e := section.worst(kind)) is None else f'{e:.0e}':>9}" for kind in COLUMNS)
    places = ", ".join(short(functions[0]) for functions in (section.computes, section.differentiates) if functions)
    return f"{section.key:<22}{errors}  {places}  {mark}"


def short(function: Callable[..., Any]) -> str:
    return where(function).removeprefix("gland/")


def details(audit: Audit, out: TextIO | None = None) -> None:
    """Every check, every number, every tolerance, and the readings."""
    for section in audit.sections:
        print(f"\n{section.key}  {section.title}", file=out)
        for name, functions in (("computed by", section.computes), ("differentiated by", section.differentiates)):
            for function in functions:
                print(f"    {name} {function.__qualname__}, {where(function)}", file=out)
        if section.skipped:
            print(f"    skipped: {section.skipped}", file=out)
        for check in section.checks:
            mark = "ok    " if check.passed else "FAILED"
            print(f"    {mark} {check.kind:<9}{check.error:8.1e} <= {check.tolerance:.0e}  {check.what}", file=out)
        for what, number in section.numbers:
            print(f"    {what}: {number}", file=out)
    print("\nwhy these tolerances", file=out)
    for kind, tolerance in KINDS.items():
        if tolerance.value:
            print(f"    {kind:<10}{tolerance.value:.0e}  {tolerance.why}", file=out)
    print("\nreadings of the paper, measured on one image", file=out)
    heading = f"{'reading':<28}{'L':>9}{'|dL/dw|':>10}{'cosine':>8}{'mask changed':>14}{'gland':>7}{'Dice':>7}"
    print(f"    {heading}", file=out)
    for m in audit.readings:
        cosine = "other w" if m.cosine is None else f"{m.cosine:.3f}"
        after = f"  {DIVERGES}" if m.diverged else f"{m.changed:14.1%}{m.gland:7.0%}{m.dice:7.2f}"
        print(f"    {m.name:<28}{m.loss:9.4g}{m.norm:10.3g}{cosine:>8}{after:<31}{m.question}", file=out)


class Paint:
    """Colours, where the output is a terminal."""

    def __init__(self, out: TextIO | None) -> None:
        self.on = (out or sys.stdout).isatty()

    def _code(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self.on else text

    def bold(self, text: str) -> str:
        return self._code("1", text)

    def dim(self, text: str) -> str:
        return self._code("2", text)

    def green(self, text: str) -> str:
        return self._code("32", text)

    def red(self, text: str) -> str:
        return self._code("31", text)
