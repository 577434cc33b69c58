"""The audit as one self-contained page: no script, no network, light and dark, from phone to desktop."""

from collections.abc import Iterable
from html import escape
from pathlib import Path

from gland.audit.all import Audit
from gland.audit.evidence import KINDS, Section, where
from gland.audit.highlight import highlighted
from gland.audit.mathml import mathml
from gland.audit.page import pictures
from gland.audit.table import COLUMNS
from gland.files import write_text

HERE = Path(__file__).parent
FRAME = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>The paper, executed: audit of gland</title><style>{style}</style></head>
<body><main>
<header><h1>The paper, executed</h1>
<p>The paper's equations and the network's layers, each beside the function that computes it and the function that
differentiates it, with the evidence that both are right. Everything on this page was computed when it was written.</p>
<p><b>formula</b>: the function's result against an independent transcription in plain loops, in exact fractions or 50
decimal digits. <b>gradient</b>: against differentiation by a complex step. <b>adjoint</b>: the tangent and the input
gradient are transposes of each other. <b>second</b>: the second-order pass against a complex step through the gradient.
<b>float32</b>: single precision, and its fast paths, against double. <b>state</b>: what must not change has not.
Errors are relative, the largest deviation over the largest value.</p>
<p class="verdict {verdict}">{checks} checks of {subjects} subjects: {words}</p></header>
<h2>Summary</h2>{summary}
<h2>What the prior looks like</h2>
<p>Synthetic tissue after a moment of training. f<sub>k</sub> is Eq. 3 at pooling layer k, its positive part averaged
over channels and divided by its maximum; f is the mean of the five.</p>
<div class="scroll"><img class="wide" src="{picture}"
alt="image, mask, prior of each pooling layer, combined prior, gland probability"></div>
<h2>Equations and layers</h2>{equations}
<h2>Departures and readings, measured</h2>
<p>All from the same weights: the loss and its gradient on one synthetic image, the gradient's direction against the
default's, and after a few steps of training under each reading Eq. 6's mask of that image: pixels that differ from the
default's, share of gland, Dice coefficient. Weights and image are small, so these show what moves and which way, not
how well a trained network does.</p>{readings}
<h2>Facts about the equations</h2>{facts}
<h2>Tolerances</h2>{tolerances}
</main></body></html>
"""


def write(audit: Audit, path: str) -> None:
    write_text(path, render(audit))


def render(audit: Audit) -> str:
    subjects = [s for s in audit.sections if s.computes or s.skipped]
    return FRAME.format(
        style=(HERE / "page.css").read_text(encoding="utf-8"),
        verdict=_class(audit.passed),
        words="all passed" if audit.passed else "NOT ALL PASSED",
        checks=sum(len(s.checks) for s in audit.sections),
        subjects=len(audit.sections),
        summary=_summary(audit.sections),
        picture=audit.picture,
        equations="\n".join(map(_subject, subjects)),
        readings=_readings(audit),
        facts="\n".join(_fact(s) for s in audit.sections if s not in subjects),
        tolerances=_table([[_th(kind), _td(_error(t.value)), _td(t.why, "text")] for kind, t in KINDS.items()]),
    )


def _th(text: str) -> str:
    return f"<th>{escape(text)}</th>"


def _td(text: str, kind: str = "", columns: int = 1) -> str:
    return f'<td class="{kind}" colspan="{columns}">{escape(text)}</td>'


def _table(rows: Iterable[list[str]], kind: str = "") -> str:
    """Rows of cells in a box that scrolls by itself, so that the page does not."""
    body = "\n".join("<tr>" + "".join(cells) + "</tr>" for cells in rows)
    return f'<div class="scroll"><table class="{kind}">{body}</table></div>'


def _class(passed: bool) -> str:
    return "ok" if passed else "failed"


def _anchor(section: Section) -> str:
    return "".join(c if c.isalnum() else "-" for c in section.key.lower())


def _error(error: float) -> str:
    return f"{error:.1e}" if error else "0"


def _summary(sections: list[Section]) -> str:
    """What has a function of its own with its worst errors; below, the facts, each with the number that shows it."""
    errors, facts = [[_th("worst error of"), _th(""), *map(_th, COLUMNS)]], [[_th("fact"), _th(""), _td("", "text")]]
    for s in sections:
        mark = "skipped" if s.skipped else "FAILED" if not s.passed else "ok" if s.checks else "measured"
        first = [f'<th><a href="#{_anchor(s)}">{escape(s.key)}</a></th>', _td(mark, _class(s.passed))]
        if s.skipped:
            errors.append([*first, _td(s.skipped, "text", len(COLUMNS))])
        elif not s.computes and s.numbers:
            facts.append([*first, _td(": ".join(s.numbers[0]), "text")])
        else:
            worst = [s.worst(kind) for kind in COLUMNS]
            errors.append([*first, *(_td("" if e is None else _error(e)) for e in worst)])
    return _table(errors) + (_table(facts) if len(facts) > 1 else "")


def _subject(section: Section) -> str:
    title = f'<section id="{_anchor(section)}"><h3>{escape(section.title)}</h3>'
    if section.skipped:
        return f"{title}<p>Skipped: {escape(section.skipped)}.</p></section>"
    sources, seen = [], set()
    for role, functions in (("computed by", section.computes), ("differentiated by", section.differentiates)):
        for function in functions:
            if where(function) in seen:
                continue
            seen.add(where(function))
            name, place = escape(function.__qualname__), escape(where(function))
            sources.append(f'<p class="place">{role} <code>{name}</code>, {place}</p>')
            sources.append(f'<pre tabindex="0"><code>{highlighted(function)}</code></pre>')
    picture = pictures.scatter(section)
    caption = f"<figcaption>{len(section.scatter)} elements of the gradient</figcaption>"
    return (
        f'{title}<div class="formula">{mathml(section.formula)}</div><p class="notes">{escape(section.notes)}</p>'
        f'<div class="beside"><div class="code">{"".join(sources)}</div>'
        f'<div class="evidence">{picture and f"<figure>{picture}{caption}</figure>"}{_checks(section)}</div></div></section>'
    )


def _checks(section: Section) -> str:
    rows = [[_th(""), _th("what"), _th("error"), _th("tolerance")]]
    for c in section.checks:
        mark = "" if c.passed else "failed"
        rows.append([_td(c.kind, mark), _td(c.what, mark), _td(_error(c.error), mark), _td(_error(c.tolerance), mark)])
    count = len(section.checks)
    words = f"{count} check{'' if count == 1 else 's'}, {'all passed' if section.passed else 'some FAILED'}"
    opened = "" if section.passed and len(section.checks) >= 12 else " open"
    summary = f'<summary class="{_class(section.passed)}">{words}</summary>'
    return f"<details{opened}>{summary}{_table(rows, 'checks')}</details>"


def _fact(section: Section) -> str:
    parts = [f'<section id="{_anchor(section)}"><h3>{escape(section.title)}</h3>']
    if section.formula:
        parts.append(f'<div class="formula">{mathml(section.formula)}</div>')
    if section.notes:
        parts.append(f"<p>{escape(section.notes)}</p>")
    parts.append(_table([[_td(what), _td(number)] for what, number in section.numbers], "numbers"))
    return "".join([*parts, _checks(section) if section.checks else "", "</section>"])


def _readings(audit: Audit) -> str:
    names = "L", "gradient's norm", "cosine", "pixels changed", "gland", "Dice"
    rows = [[_th("reading"), _td("what differs", "text"), *map(_th, names)]]
    for m in audit.readings:
        cosine = "other weights" if m.cosine is None else f"{m.cosine:.3f}"
        after = [_td(f"{m.changed:.1%}"), _td(f"{m.gland:.0%}"), _td(f"{m.dice:.2f}")]
        if m.changed != m.changed:
            after = [_td("training diverges", columns=3)]
        cells = [_th(m.name), _td(m.question, "text"), _td(f"{m.loss:.4g}"), _td(f"{m.norm:.3g}"), _td(cosine)]
        rows.append(cells + after)
    return _table(rows)
