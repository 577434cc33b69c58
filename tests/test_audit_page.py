"""The audit's page: self-contained, well-formed, and seen in a real browser at desktop and phone width."""

import html
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from browser import browser, seen

from gland import loss
from gland.audit import all as everything
from gland.audit import equations, layers
from gland.audit.evidence import Section
from gland.audit.page import render
from gland.audit.paper import readings

PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
FORMULAS = [subject.formula for subject in layers.SUBJECTS] + [formula for _, formula in equations.READINGS.values()]


@pytest.fixture(scope="module")
def text():
    """The page of a small audit: equations and a few layers; the whole one differs in length only."""
    sections = [everything.one(key, build) for key, build in equations.sections()]
    sections += [
        everything.one(key, build) for key, build in layers.sections() if key in ("Conv2d", "LogSoftmax", "Dropout")
    ]
    measured = [
        readings.Measured("a", "b", 1.0, 2.0, None, 0.1, 0.2, 0.3),
        readings.Measured("c", "d", 1.0, 2.0, 0.5, *[np.nan] * 3),
    ]
    return render.render(everything.Audit(sections, measured, PIXEL))


@browser
def test_in_a_browser_nothing_overflows_and_everything_is_drawn(text, tmp_path):
    for found in seen(text, tmp_path):
        assert found["scroll"] <= found["client"], f"wider than the window at {found['width']} pixels"
        assert found["maths"] >= 9 and found["flat"] == 0
        assert found["images"] == 1 and found["missing"] == 0
        assert found["scatters"] >= 6
        assert found["sources"] > 15 and found["coloured"] > 20
        assert found["type"] >= 12, "type too small to read"


@browser
def test_the_browser_sees_a_box_too_wide_an_image_missing_and_tiny_type(text, tmp_path):
    spoilt = text.replace(PIXEL, "data:image/png;base64,AAAA").replace(
        "</main>", '<p style="width:45rem;max-width:none;font-size:8px">x</p></main>'
    )
    desktop, phone = seen(spoilt, tmp_path)
    assert phone["scroll"] > phone["client"] and desktop["scroll"] <= desktop["client"]
    assert desktop["missing"] == 1 and desktop["type"] == 8


def test_the_page_needs_no_network_and_no_script(text):
    assert "<script" not in text
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", text)
    assert "http" not in re.sub(r"<pre.*?</pre>", "", text, flags=re.S)


def test_the_page_has_light_and_dark(text):
    assert "prefers-color-scheme: dark" in text


def test_what_a_subject_says_is_escaped():
    section = Section("<i>", "<b>", "x < 1", [loss.class_loss], notes="&", numbers=[("<u>", "<s>")])
    section.add("fact", "<em>", 0)
    text = render.render(everything.Audit([section, section], [], PIXEL))
    assert all(f"&lt;{tag}&gt;" in text for tag in ("i", "b", "em")) and 'class="notes">&amp;</p>' in text
    assert not re.search("<(i|b|u|s|em)>", text.split("</header>")[1])


def test_a_failed_check_is_seen_at_once():
    section = Section("Eq. 0", "made up", "x", [loss.class_loss])
    for _ in range(12):
        section.compare("formula", "two and three", 2.0, 3.0)
    text = render.render(everything.Audit([section], [], PIXEL))
    assert "NOT ALL PASSED" in text and "<details open>" in text and "12 checks, some FAILED" in text


def test_a_reading_that_diverges_says_at_which_rate(text):
    assert '<td colspan="3">training diverges at the mean&#39;s rate</td>' in text


@pytest.mark.parametrize("formula", FORMULAS)
def test_formulas_become_well_formed_mathml(formula):
    assert len(list(ElementTree.fromstring(render.mathml(formula)).iter())) > 4


def test_mathml_of_a_fraction_and_of_what_is_set_otherwise():
    math = render.mathml(r"\frac{1}{x} \log \max(x', 0)")
    assert "<mfrac><mrow><mn>1</mn></mrow><mrow><mi>x</mi></mrow></mfrac>" in math
    assert '<mspace width="0.167em" /><mi>log</mi><mspace width="0.167em" /><mi>max</mi>' in math
    assert "<mi>x</mi><mi>\N{PRIME}</mi>" in math and "http" not in math
    assert 'alttext="\\frac{1}{x} \\log \\max(x&#39;, 0)"' in math


def test_an_unknown_command_is_refused():
    with pytest.raises(ValueError, match="nosuch"):
        render.mathml(r"\nosuch")


def test_highlighting_keeps_every_character():
    source = 'def f(x):\n    """two\n    lines"""\n    return x < 3  # <&>\n'
    assert html.unescape(re.sub("<[^>]*>", "", "\n".join(render.coloured(source)))) + "\n" == source


def test_highlighting_marks_keywords_strings_and_comments():
    marked = html.unescape("\n".join(render.coloured("def f():\n    return 'a'  # why\n")))
    for kind, word in (("k", "def"), ("nf", "f"), ("s1", "'a'"), ("c1", "# why")):
        assert f'<span class="{kind}">{word}</span>' in marked


def test_source_is_numbered_as_in_its_file():
    (first, line), *_ = render.source(loss.class_loss)
    assert first == loss.class_loss.__wrapped__.__code__.co_firstlineno
    assert re.sub("<[^>]*>", "", line) == "@ops.fused(device.loss.class_loss)"
