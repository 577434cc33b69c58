"""The audit passes on the code as it is, fails on every planted mistake, and shares nothing with what it audits."""

import ast
import io
import os
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from browser import browser, seen

from gland import loss
from gland.audit import __main__, breaking, equations, evidence, layers, page, plain, plain_network, table
from gland.audit import all as everything
from gland.audit.evidence import Section, Tolerance, difference
from gland.audit.mistakes import MISTAKES, Edit, Mistake
from gland.audit.paper import readings
from gland.gradcheck import complex_step

ROOT = Path(__file__).parent.parent
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def audit(tmp_path_factory):
    """One run of the whole audit as a user starts it: the finished process, and the page."""
    page = tmp_path_factory.mktemp("audit") / "audit.html"
    command = [sys.executable, "-m", "gland.audit", "--all", "--html", str(page)]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=280)
    return done, page


def test_the_audit_passes(audit):
    done, _ = audit
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_summary_has_at_most_42_lines_and_no_colours_in_a_pipe(audit):
    summary = audit[0].stdout.split("\n\n")[0].splitlines()
    assert len(summary) <= 42
    assert "\033" not in audit[0].stdout
    assert summary[-1].endswith("all passed")


@pytest.mark.parametrize("subject", ["Eq. 1", "Eq. 2", "Eq. 3", "Eq. 4", "Eq. 5", "Eq. 6", "Conv2d", "joint exact"])
def test_the_summary_names_every_equation_with_its_place(audit, subject):
    line = next(line for line in audit[0].stdout.splitlines() if line.startswith(subject + " "))
    assert ".py:" in line and line.endswith("ok")


def test_every_fact_and_reading_is_shown_by_a_number(audit):
    out = audit[0].stdout
    for text in ("34,779", "15/18 = 83.3%", "f exact", "loss soft-target", "Eq. 4 as typeset", "no skip connections"):
        assert text in out


@browser
def test_the_whole_page_fits_a_desktop_and_a_phone(audit, tmp_path):
    text = audit[1].read_text(encoding="utf-8")
    for found in seen(text, tmp_path):
        assert found["scroll"] <= found["client"], f"wider than the window at {found['width']} pixels"
        assert found["maths"] >= 30 and found["flat"] == 0
        assert found["images"] == 1 and found["missing"] == 0
        assert found["type"] >= 12


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: m.name)
def test_the_audit_catches(mistake):
    with breaking.broken(mistake):
        found = everything.first_failure(breaking.order(mistake))
    assert found is not None, mistake.story
    assert found[1].kind != "crash", "a mistake that crashes is not worth listing"


def test_there_are_at_least_twenty_mistakes_with_names_of_their_own():
    assert len(MISTAKES) >= 20
    assert len({mistake.name for mistake in MISTAKES}) == len(MISTAKES)


def test_a_mistake_is_gone_afterwards():
    mistake = breaking.find("eq4-sign")
    logits, mask, f = equations.example(np.random.default_rng(0))
    before = loss.soft_target_loss_grad(logits, mask, f)[1]
    with breaking.broken(mistake):
        assert np.array_equal(loss.soft_target_loss_grad(logits, mask, f)[1], -before)
    assert np.array_equal(loss.soft_target_loss_grad(logits, mask, f)[1], before)


def test_break_all_reports_a_mistake_that_no_check_sees(monkeypatch):
    harmless = Mistake("harmless", "nothing changes", (Edit(loss.joint_loss, "lam * loss_class", "loss_class * lam"),))
    monkeypatch.setattr(breaking, "MISTAKES", (breaking.find("eq1-no-mean"), harmless))
    monkeypatch.setattr(breaking, "order", lambda mistake: list(equations.sections()))
    out = io.StringIO()
    assert not breaking.all_mistakes(out)
    lines = out.getvalue().splitlines()
    assert lines[1].split()[:3] == ["eq1-no-mean", "Eq.", "1"]
    assert lines[2].startswith("harmless") and "NOT CAUGHT" in lines[2]
    assert lines[3] == "1 of 2 mistakes caught"


def test_break_one_shows_the_edit_and_exits_1(monkeypatch, capsys):
    monkeypatch.setattr(everything, "checks", lambda quick: list(equations.sections()))
    assert __main__.main(["--break", "eq4-sign"]) == 1
    out = capsys.readouterr().out
    assert "- log_background - log_gland" in out and "FAILED Eq. 4: dL/df" in out


def test_an_unknown_mistake_exits_2_with_a_sentence(capsys):
    assert __main__.main(["--break", "no-such-thing"]) == 2
    assert "--break list" in capsys.readouterr().err


@pytest.mark.parametrize("path", [".", "/dev/null/page.html"])
def test_a_page_that_cannot_be_written_exits_2_with_a_sentence_before_the_audit(path, monkeypatch, capsys):
    monkeypatch.setattr(everything, "run", lambda picture: pytest.fail("the audit was run"))
    assert __main__.main(["--html", path]) == 2
    assert f"--html {path} " in capsys.readouterr().err


def test_a_page_without_its_packages_exits_2_with_a_sentence_before_the_audit(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(everything, "run", lambda picture: pytest.fail("the audit was run"))
    monkeypatch.setattr(page, "find_spec", lambda name: None)
    assert __main__.main(["--html", str(tmp_path / "page.html")]) == 2
    said = capsys.readouterr().err
    assert said == "--html needs Jinja2, Pygments, latex2mathml, not installed here: pip install 'gland[pages]'\n"


def test_without_a_page_its_packages_are_not_needed():
    missing = (
        "import sys; sys.modules |= {'jinja2': None, 'pygments': None, 'latex2mathml': None, 'matplotlib': None}; "
    )
    start = missing + "from gland.audit import __main__, all; list(all.checks())"
    subprocess.run([sys.executable, "-c", start], check=True, env=ENVIRONMENT)


def test_a_reading_that_diverges_says_at_which_rate():
    diverged = readings.Measured("Eq. 4 as a sum", "why", 1.0, 2.0, 0.082, *[np.nan] * 3)
    out = io.StringIO()
    table.details(everything.Audit([], [diverged, diverged._replace(changed=0.1, gland=0.2, dice=0.3)]), out)
    lines = out.getvalue().splitlines()[-2:]
    assert "0.082  diverges at the mean's rate" in lines[0]
    assert lines[0].index("why") == lines[1].index("why")


def test_a_mistake_whose_text_is_not_in_the_code_is_refused():
    with pytest.raises(ValueError, match="occurs 0 times"):
        breaking.patched_code(Edit(loss.joint_loss, "not there", ""))


@pytest.mark.parametrize("module", [plain, plain_network])
def test_transcriptions_share_no_code_with_the_package(module):
    imported = set()
    for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
        if isinstance(node, ast.ImportFrom):
            imported |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
    # and test_plain.py reads what that imports
    assert {name for name in imported if name.startswith("gland")} == {"gland.ops.plain"}


def test_exact_numbers_lose_nothing():
    x = np.array([0.1, 1 / 3])
    assert plain.exact(x).tolist() == [Fraction.from_float(v) for v in x.tolist()]
    assert (plain.exact(x) != plain.exact(np.nextafter(x, 1))).all()
    assert plain.decimals(x).tolist() == [Decimal.from_float(v) for v in x.tolist()]


def test_plain_softmax_has_50_digits():
    one, three = plain.softmax(np.array([[Decimal(0), Decimal(3).ln()]]))[0]
    assert abs(three - Decimal("0.75")) < Decimal("1e-48") and abs(one - Decimal("0.25")) < Decimal("1e-48")


@pytest.mark.parametrize(
    "got, expected",
    [([1.0, np.nan], [1.0, 2.0]), ([1.0], [1.0, 2.0]), ([0.0], [0.0]), ([np.inf], [1.0]), ([], [])],
    ids=["nan", "shape", "all zero", "inf", "empty"],
)
def test_a_comparison_that_proves_nothing_is_infinitely_wrong(got, expected):
    assert difference(np.array(got), np.array(expected)) == np.inf


def test_difference_is_relative_to_the_largest_expected_value():
    assert difference(np.array([10.0, 1.1]), np.array([10.0, 1.0])) == pytest.approx(0.01)


def test_nan_never_passes():
    section = Section("x", "x")
    section.add("formula", "nan", np.nan, Tolerance(np.inf, "anything goes"))
    assert not section.passed


def test_a_subject_that_shows_nothing_does_not_pass():
    assert not Section("empty", "empty").passed


def test_a_crash_is_a_failed_check():
    def build():
        raise ZeroDivisionError("on purpose")

    section = everything.one("crashing", build)
    assert not section.passed and "on purpose" in section.checks[0].what


def test_a_failed_check_is_printed_with_its_error():
    section = Section("Eq. 0", "made up")
    section.compare("formula", "two and three", 2.0, 3.0)
    out = io.StringIO()
    table.summary(everything.Audit([section], []), out)
    assert "FAILED Eq. 0: two and three: 3.3e-01 > 1e-13" in out.getvalue()


def test_a_reader_who_leaves_early_gets_no_traceback():
    command = [sys.executable, "-m", "gland.audit", "--break", "list"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=ENVIRONMENT) as started:
        started.stdout.close()
        assert started.stderr.read() == ""
    assert started.returncode == 1


def test_a_failed_audit_exits_1(monkeypatch, capsys):
    section = Section("Eq. 0", "made up")
    section.compare("formula", "two and three", 2.0, 3.0)
    monkeypatch.setattr(everything, "run", lambda picture: everything.Audit([section], [], seconds=1.0))
    assert __main__.main([]) == 1
    assert "1 checks of 1 subjects in 1 s: 1 FAILED" in capsys.readouterr().out


def test_colours_only_on_a_terminal():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    section = Section("Eq. 0", "made up", computes=[loss.class_loss])
    section.compare("formula", "three and three", 3.0, 3.0)
    for out, coloured in ((Terminal(), True), (io.StringIO(), False)):
        table.summary(everything.Audit([section], []), out)
        assert ("\033[" in out.getvalue()) == coloured


def test_where_points_at_the_function():
    file, line = evidence.where(loss.class_loss).rsplit(":", 1)
    assert (ROOT / file).read_text().splitlines()[int(line) - 1].startswith("def class_loss(")


def test_complex_step_is_exact_to_rounding():
    x = np.array([0.3, -1.7])
    assert np.allclose(complex_step(lambda v: np.exp(v).sum(), x), np.exp(x), rtol=1e-15, atol=0)


def test_every_layer_of_the_package_is_audited():
    from gland import layers as package

    audited = {subject.name for subject in layers.SUBJECTS}
    assert audited == set(package.__all__) - {"Layer", "start_small"}
