"""docs/equations.md: every function and test that it names exists where it says, and it agrees with the audit."""

import ast
import re
from pathlib import Path

import pytest

from gland.audit import equations

DOCS = Path(__file__).parent.parent / "docs"
TEXT = (DOCS / "equations.md").read_text(encoding="utf-8")
LINK = re.compile(r"\[`([\w.]+)`\]\((\.\./[\w/]+\.py)\)")


def defined(path):
    """Functions and Class.method of a file."""
    names = set()
    for node in ast.parse((DOCS / path).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
            # method = other = function, as in softmax.py
            names |= {f"{node.name}.{t.id}" for a in node.body if isinstance(a, ast.Assign) for t in a.targets}
        elif isinstance(node, ast.FunctionDef):
            names.add(node.name)
    return names


def missing(text):
    return [f"{name} in {path}" for name, path in LINK.findall(text) if name not in defined(path)]


def test_every_name_exists_where_it_is_said_to():
    assert len(LINK.findall(TEXT)) > 30
    assert not missing(TEXT)


@pytest.mark.parametrize("old, new", [("`class_loss`", "`class_los`"), ("test_loss.py", "test_prior.py")])
def test_a_wrong_name_or_file_is_caught(old, new):
    assert missing(TEXT.replace(old, new))


def rows(text):
    return [line for line in text.splitlines() if re.match(r"\| [1-6]\b", line)]


def test_all_six_equations_are_there_and_each_row_is_tested():
    assert {row[2] for row in rows(TEXT)} == set("123456")
    for row in rows(TEXT):
        assert "(../tests/" in row.split("|")[5], row


def test_the_functions_are_those_that_the_audit_audits():
    for key, build in equations.sections():
        section = build()
        named = {name for row in rows(TEXT) if row[2] == key[4] for name, _ in LINK.findall(row)}
        for function in (section.computes[0], *section.differentiates[:1]):
            assert function.__qualname__ in named, f"{key}: {function.__qualname__}"
