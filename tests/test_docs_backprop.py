"""docs/backprop: the worked numbers are right, the quoted lines stand in the source, links and exercises exist."""

import doctest
import re
import textwrap
from pathlib import Path

import numpy as np
import pytest

from gland import layers

ROOT = Path(__file__).parent.parent
ENTRY = ROOT / "docs" / "backprop.md"
PAGES = sorted((ROOT / "docs" / "backprop").glob("*.md"), key=lambda p: int(p.name.split("-")[0]))
IDS = [page.stem for page in PAGES]
NUMBER = re.compile(r"-?\d+(\.\d+)?$")


def fences(text, language):
    """(what stands before it, its content) of every fenced block of a language."""
    found, before = [], ""
    for piece in re.split(r"^(```\w*\n.*?^```$)", text, flags=re.M | re.S):
        if piece.startswith(f"```{language}\n"):
            found.append((before, piece.split("\n", 1)[1].removesuffix("```")))
        before = piece
    return found


def session(text):
    """Run all >>> of a page in one namespace; what they print must be what stands there. Returns the namespace."""
    names, failures = {}, []
    for _, block in fences(text, "python"):
        if ">>>" in block:
            test = doctest.DocTestParser().get_doctest(block, names, "page", None, 0)
            doctest.DocTestRunner().run(test, out=failures.append, clear_globs=False)
            names = test.globs
            drawn_before.append(dict(names))
    assert not failures, "".join(failures)
    return names


drawn_before: list[dict] = []  # the names after each session of a page, since a later one may use x again


def drawn(block):
    """The arrays of a drawing: names above columns of numbers, or a name in front of a row of numbers."""
    lines = block.splitlines()
    heads = [(m.group(), m.start()) for m in re.finditer(r"\S+", lines[0])]
    if heads and all(name.isidentifier() for name, _ in heads) and NUMBER.match(lines[1].split()[0]):
        rows = {name: [] for name, _ in heads}
        for line in lines[1:]:
            cells = {name: [] for name, _ in heads}
            for m in re.finditer(r"\S+", line):
                name = [n for n, start in heads if start <= m.start() + 1][-1]
                cells[name].append(m.group())
            for name, cell in cells.items():
                rows[name] += [cell] if cell else []
        return rows
    rows = {}
    for line in lines:
        name, *cells = line.split() or [""]
        numbers = cells[: next((i for i, c in enumerate(cells) if not NUMBER.match(c)), len(cells))]
        if name.isidentifier() and numbers:
            rows[name] = [numbers]
    return rows


def check_drawings(text):
    """Every array drawn is what the next session of the page computes, to the digits drawn. Returns how many."""
    drawn_before.clear()
    session(text)
    count, done = 0, 0
    for part in re.split(r"^(```(?:text|python)\n.*?^```$)", text, flags=re.M | re.S):
        if part.startswith("```python") and ">>>" in part:
            done += 1
        if part.startswith("```text"):
            for name, rows in drawn(part.split("\n", 1)[1].removesuffix("```")).items():
                computed = np.atleast_2d(np.asarray(drawn_before[done][name], float))
                shown = np.array([[float(c) for c in row] for row in rows])
                allowed = [[0.5 * 10.0 ** -len(c.split(".")[1]) if "." in c else 0 for c in row] for row in rows]
                assert shown.shape == computed.shape, f"{name} is drawn {shown.shape} but is {computed.shape}"
                assert (abs(shown - computed) <= np.array(allowed) + 1e-12).all(), f"{name} is drawn wrong: {computed}"
                count += 1
    return count


def check_quotes(text):
    """Every block under a link to a file of gland stands in that file; '...' separates pieces. Returns how many."""
    count = 0
    for before, block in fences(text, "python"):
        if ">>>" in block:
            continue
        path = re.search(r"\[`(gland/[\w/]+\.py)`\]\(\.\./\.\./\1\)\s*$", before)
        assert path, f"no file is named above\n{block}"
        source = (ROOT / path.group(1)).read_text(encoding="utf-8").splitlines()
        for piece in re.split(r"^\.\.\.\n", block, flags=re.M):
            lines = textwrap.dedent(piece).strip("\n").splitlines()
            windows = (source[i : i + len(lines)] for i in range(len(source)))
            found = any(textwrap.dedent("\n".join(window)).splitlines() == lines for window in windows)
            assert found, f"these lines no longer stand in {path.group(1)}; quote what stands there now:\n{piece}"
            count += 1
    return count


def check_links(page, text):
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_the_worked_numbers_are_right(page):
    assert check_drawings(page.read_text(encoding="utf-8")) > 0 or page.stem == "10-proof"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_the_quoted_lines_stand_in_the_source(page):
    assert check_quotes(page.read_text(encoding="utf-8")) > 0


@pytest.mark.parametrize("page", [ENTRY, *PAGES], ids=["entry", *IDS])
def test_links_lead_somewhere_and_fences_and_formulas_are_closed(page):
    text = page.read_text(encoding="utf-8")
    check_links(page, text)
    assert text.count("```") % 2 == 0
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    for paragraph in re.split(r"\n\n|\n[-|]", re.sub(r"`[^`\n]*`", "", prose)):
        assert paragraph.count("$") % 2 == 0, paragraph
    for formula in re.findall(r"\$[^$]+\$", re.sub(r"`[^`\n]*`", "", prose)):
        assert not re.search(r"\\[^a-zA-Z ]", formula), f"Markdown eats a backslash before punctuation: {formula}"
    assert "\\operatorname" not in text, "GitHub refuses this macro"


def test_the_entry_lists_every_page_in_order():
    links = re.findall(r"\(backprop/([\w-]+)\.md\)", ENTRY.read_text(encoding="utf-8"))
    assert links[: len(IDS)] == IDS and len(IDS) == 10


def test_the_entry_has_every_layer_of_the_package():
    listed = set(re.findall(r"`([A-Z]\w+)`", ENTRY.read_text(encoding="utf-8")))
    assert listed == set(layers.__all__) - {"Layer", "start_small"}


def test_every_exercise_is_named_on_a_page_and_no_other():
    named = re.findall(r"exercises\.check (\w+)", "".join(page.read_text(encoding="utf-8") for page in PAGES))
    files = {path.stem for path in (ROOT / "exercises" / "solutions").glob("*.py")} - {"__init__"}
    assert sorted(named) == sorted(files)


PAGE = """
```text
x      y
1 2    0.33 0.67
```

```python
>>> import numpy as np
>>> x = np.array([1.0, 2.0])
>>> y = x / 3
>>> print(x)
[1. 2.]

```

[`gland/layers/linear.py`](../../gland/layers/linear.py)

```python
        return ops.linear_x(dy, self.w)
...
        self.dw += ops.linear_w(cache.x, dy)
        self.db += dy.sum(axis=0)
```
"""


def test_the_checks_count_what_they_see():
    assert check_drawings(PAGE) == 2
    assert check_quotes(PAGE) == 2


@pytest.mark.parametrize(
    ("old", "new", "check"),
    [
        ("0.67", "0.68", check_drawings),
        ("1 2  ", "1 3  ", check_drawings),
        ("1 2    0", "1      0", check_drawings),
        ("[1. 2.]", "[1. 2.1]", check_drawings),
        ("self.dw +=", "self.dw =", check_quotes),
        ("        self.dw", "    self.dw", check_quotes),
        ("...\n", "", check_quotes),
        ("[`gland/layers/linear.py`](../../gland/layers/linear.py)", "linear.py", check_quotes),
    ],
)
def test_the_checks_catch_a_mistake(old, new, check):
    assert old in PAGE
    with pytest.raises(AssertionError):
        check(PAGE.replace(old, new))
