"""The audit's page: self-contained, well-formed, and seen in a real browser at desktop and phone width."""

import html
import json
import re
import shutil
import subprocess
from xml.etree import ElementTree

import numpy as np
import pytest

from gland import loss
from gland.audit import equations, highlight, layers, page, readings, run
from gland.audit.mathml import mathml

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
FORMULAS = [subject.formula for subject in layers.SUBJECTS] + [formula for _, formula in equations.READINGS.values()]

# shows the page in two frames of these widths, then writes what it measured into its own title
HARNESS = """<!doctype html><title>waiting</title><body><script>
const page = PAGE, found = [];
for (const width of [1280, 390]) {
  const frame = document.createElement("iframe");
  frame.width = width; frame.height = 900; frame.srcdoc = page;
  frame.onload = () => {
    const d = frame.contentDocument, root = d.documentElement;
    const all = s => [...d.querySelectorAll(s)];
    const high = e => e.getBoundingClientRect().height;
    found.push({width, scroll: root.scrollWidth, client: root.clientWidth, maths: all("math").length,
      flat: all("math").filter(e => high(e) < 8).length, images: all("img").length,
      missing: all("img").filter(e => !e.naturalWidth).length, scatters: all("svg").length,
      type: Math.min(...all("main *").filter(e => e.innerText && !e.closest("math, svg")).map(e =>
        parseFloat(frame.contentWindow.getComputedStyle(e).fontSize))),
      sources: all("pre").length, coloured: all("pre .k").length});
    if (found.length == 2) document.title = JSON.stringify(found);
  };
  document.body.append(frame);
}
</script>"""


@pytest.fixture(scope="module")
def text():
    """The page of a small audit: equations and a few layers; the whole one differs in length only."""
    sections = [run.one(key, build) for key, build in equations.sections()]
    sections += [run.one(key, build) for key, build in layers.sections() if key in ("Conv2d", "LogSoftmax", "Dropout")]
    measured = [
        readings.Measured("a", "b", 1.0, 2.0, None, 0.1, 0.2, 0.3),
        readings.Measured("c", "d", 1.0, 2.0, 0.5, *[np.nan] * 3),
    ]
    return page.render(run.Audit(sections, measured, PIXEL))


def seen(text, folder):
    """What the browser measured of the page, at desktop and at phone width."""
    harness = folder / "harness.html"
    harness.write_text(HARNESS.replace("PAGE", json.dumps(text).replace("</", "<\\/")), encoding="utf-8")
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={folder / 'profile'}",
        "--window-size=1400,1000",
        "--virtual-time-budget=5000",
        "--dump-dom",
    ]
    done = subprocess.run([CHROMIUM, *flags, harness.as_uri()], capture_output=True, text=True, timeout=120)
    title = html.unescape(re.search("<title>(.*?)</title>", done.stdout).group(1))
    return sorted(json.loads(title), key=lambda found: -found["width"])


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


@pytest.mark.parametrize("formula", FORMULAS)
def test_formulas_become_well_formed_mathml(formula):
    assert len(list(ElementTree.fromstring(mathml(formula)).iter())) > 4


def test_mathml_of_a_fraction():
    assert "<mfrac><mrow><mrow><mn>1</mn></mrow></mrow><mrow><mrow><mi>x</mi></mrow></mrow></mfrac>" in mathml(
        r"\frac{1}{x}"
    )


def test_an_unknown_command_is_refused():
    with pytest.raises(ValueError, match="nosuch"):
        mathml(r"\nosuch")


def test_highlighting_keeps_every_character():
    source = 'def f(x):\n    """two\n    lines"""\n    return x < 3  # <&>\n'
    assert html.unescape(re.sub("<[^>]*>", "", highlight.coloured(source))) == source


def test_highlighting_marks_keywords_strings_and_comments():
    marked = highlight.coloured("def f():\n    return 'a'  # why\n")
    for span in (
        '<span class="k">def</span>',
        '<span class="d">f</span>',
        '<span class="s">&#x27;a&#x27;</span>',
        '<span class="c"># why</span>',
    ):
        assert span in marked


def test_source_is_numbered_as_in_its_file():
    first = int(re.search(r'class="l">\s*(\d+)<', highlight.highlighted(loss.class_loss)).group(1))
    assert first == loss.class_loss.__wrapped__.__code__.co_firstlineno
