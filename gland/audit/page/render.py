"""Puts an audit into page.html."""

import inspect
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from latex2mathml.converter import convert
from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from gland.audit.all import Audit
from gland.audit.evidence import KINDS, Section, where
from gland.audit.page import pictures
from gland.audit.paper.readings import DIVERGES
from gland.audit.table import COLUMNS
from gland.files import write_text

HERE = Path(__file__).parent


def write(audit: Audit, path: str) -> None:
    write_text(path, render(audit))


def render(audit: Audit) -> str:
    page = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    page.filters |= {
        "tex": mathml,
        "source": source,
        "where": where,
        "error": error,
        "anchor": anchor,
        "points": pictures.points,
    }
    return page.get_template("page.html").render(
        audit=audit,
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        count=sum(len(section.checks) for section in audit.sections),
        subjects=[s for s in audit.sections if s.computes or s.skipped],
        facts=[s for s in audit.sections if not (s.computes or s.skipped)],
        functions=functions,
        columns=COLUMNS,
        kinds=KINDS,
        diverges=DIVERGES,
    )


def mathml(tex: str) -> Markup:
    """One <math> element. Raises ValueError for a command that latex2mathml does not know."""
    # MathML sets no space around a function's name, one too many between max and its bracket, and a prime too high
    math = convert(tex.replace(r"\log ", r"\, \log\, ").replace("'", "\N{PRIME}"), xmlns="", display="block")
    math = re.sub(r'<mo>(max|min)</mo>(?=<mo stretchy="false">)', r"<mi>\1</mi>", math)
    if unknown := re.search(r"\\[A-Za-z]+", math):
        raise ValueError(f"{unknown[0]} in {tex!r} is not a command that latex2mathml knows")
    return Markup(math.replace(' xmlns=""', Markup(' alttext="{}"').format(tex), 1))


def source(function: Callable[..., Any]) -> list[tuple[int, Markup]]:
    """The function's lines with their numbers in its file, coloured."""
    lines, first = inspect.getsourcelines(function)
    return list(enumerate(coloured(textwrap.dedent("".join(lines))), first))


def coloured(text: str) -> list[Markup]:
    """Lines of Python, each with <span class="k|s1|c1|..."> around its words as Pygments names them."""
    html = highlight(text, PythonLexer(stripnl=False), HtmlFormatter(nowrap=True))
    return [Markup(line) for line in html.rstrip("\n").split("\n")]


def functions(section: Section) -> list[tuple[str, Callable[..., Any]]]:
    """What the function does for the section, and the function; each once."""
    roles = [
        *(("computed by", f) for f in section.computes),
        *(("differentiated by", f) for f in section.differentiates),
    ]
    return list({where(f): (role, f) for role, f in reversed(roles)}.values())[::-1]


def anchor(section: Section) -> str:
    return "".join(c if c.isalnum() else "-" for c in section.key.lower())


def error(value: float) -> str:
    return f"{value:.1e}" if value else "0"
