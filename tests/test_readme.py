"""README.md is true: links resolve, the tree is whole, the code runs, the line counts are right, no line is too long.

The other pages are held to the links, the length of lines and the words; CITATION.cff to the package's version.
"""

import re
from pathlib import Path

import pytest

import gland

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted(
    page
    for place in ("*.md", "docs/**/*.md", "benchmarks/*.md", "exercises/*.md", "gland/**/*.md")
    for page in ROOT.glob(place)
)
LONG = {"kernels_without_a_gpu.md"}  # quotes a message as it was printed
COLUMNS = 120
LINES = int(
    re.search(r"^\| \[gland/loss.py\].* \| (\d+) \|", README, flags=re.M).group(1)
)  # of loss.py, as README says
CORE = ("loss.py", "prior.py", "layers/conv.py", "networks/classifier.py", "networks/multiloss.py")


def outside_fences(text):
    return re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)


def slug(heading):
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def broken_links(text, folder):
    """Links to files that are not there, or to headings that their page has not."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", outside_fences(text)):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        file = (folder / path).resolve() if path else None
        if file is not None and not file.exists():
            broken.append(target)
        elif anchor:
            page = text if file is None else file.read_text(encoding="utf-8")
            if anchor not in {slug(heading) for heading in re.findall(r"^#+ (.+)$", page, flags=re.M)}:
                broken.append(target)
    return broken


def tree(text):
    """(its paths, what is said of them) for every line of the tree under "Where things are"."""
    lines = re.findall(r"^    (\S.*)$", text.split("## Where things are")[1], flags=re.M)
    return [(paths.split(), story) for paths, story in (re.split(r"  +", line, maxsplit=1) for line in lines)]


def wrong_in_tree(text):
    """Paths of the tree, and files named beside them, that are not there; folders of gland/ that it leaves out."""
    wrong, listed = [], set()
    for paths, story in tree(text):
        listed |= {path.rstrip("/") for path in paths}
        wrong += [path for path in paths if not (ROOT / path).exists()]
        homes = [ROOT / path if path.endswith("/") else (ROOT / path).parent for path in paths]
        named = re.findall(r"[\w/]+(?:\.(?:py|cu)\b|/)", story)
        wrong += [name for name in named if not any((home / name).exists() for home in (*homes, ROOT))]
    folders = {file.parent.relative_to(ROOT).as_posix() for file in ROOT.glob("gland/*/**/*.py")}
    others = {"kernels", "tests", "docs", "exercises", "benchmarks"}
    return wrong + sorted(f"{folder} is left out" for folder in (folders | others) - listed)


def wrong_counts(text):
    """Files of the table whose number of lines is off by more than ten, and those of the core that it leaves out."""
    said = dict(re.findall(r"^\| \[gland/([\w/]+\.py)\]\([\w/.]+\) \| (\d+) \|", text, flags=re.M))
    wrong = [f"{name} is left out" for name in CORE if name not in said]
    for name, count in said.items():
        there = len((ROOT / "gland" / name).read_text(encoding="utf-8").splitlines())
        if abs(there - int(count)) > 10:
            wrong.append(f"gland/{name} has {there} lines, not {count}")
    return wrong


def code(text):
    """The one Python example."""
    (example,) = re.findall(r"^```python\n(.*?)^```$", text, flags=re.M | re.S)
    return example


def too_long(text):
    """Lines over COLUMNS, but for the test command, which .ci/run reads as one line."""
    return [line for line in text.splitlines() if len(line) > COLUMNS and not line.startswith("python3 -m venv")]


def prose_too_long(text):
    """The same of a page, tables aside."""
    return [line for line in too_long(text) if not line.startswith("|")]


def runs(text):
    names: dict = {}
    exec(code(text), names)
    return names


def test_links_resolve():
    assert len(re.findall(r"\]\(", README)) > 15
    assert not broken_links(README, ROOT)


def test_the_tree_is_whole_and_every_path_in_it_exists():
    assert len(tree(README)) > 20
    assert not wrong_in_tree(README)


@pytest.mark.parametrize(
    "sought, path, word",
    [
        ("the gradient of Eq. 4", "gland/loss.py", "each with its gradient"),
        ("the arithmetic of a convolution", "gland/ops/plain.py", "arithmetic of a convolution"),
        ("the kernel of a max-pool", "kernels/max_pool.cu", "max-pool"),
        ("what becomes of an image on disk", "gland/inference/files.py", "from an image on disk to its overlay"),
    ],
)
def test_a_newcomer_finds_in_one_step(sought, path, word):
    folder, name = path.rsplit("/", 1)
    (line,) = [(paths, story) for paths, story in tree(README) if word in story]
    assert path in line[0] or (f"{folder}/" in line[0] and name in line[1]), sought


def test_the_line_counts_are_right_within_ten():
    assert not wrong_counts(README)


def test_no_line_is_too_long():
    assert not too_long(README)


def test_the_example_runs_and_its_passes_are_each_others_adjoints():
    n = runs(README)
    assert n["dx"].shape == n["x"].shape and n["ty"].shape == n["y"].shape
    assert abs((n["ty"] * n["dy"]).sum() - (n["tx"] * n["dx"]).sum()) < 1e-10
    assert n["layer"].dw.any() and n["dw"].any()


def test_the_two_commands_stand_where_the_gate_looks_for_them():
    for mark, word in (("<!-- run -->", "python train.py"), ("<!-- test -->", "pytest")):
        lines = README.split(mark)[1].splitlines()
        assert lines[1] == "```sh" and word in lines[2] and lines[3] == "```"


@pytest.mark.parametrize(
    "old, new, check",
    [
        ("(docs/equations.md)", "(docs/equation.md)", lambda text: broken_links(text, ROOT)),
        ("(docs/equations.md)", "(docs/equations.md#nowhere)", lambda text: broken_links(text, ROOT)),
        ("    gland/doctor/ ", "    gland/doctors/ ", wrong_in_tree),
        ("    gland/ops/host/ ", "    gland/ops/ ", wrong_in_tree),
        ("files.py: from", "file.py: from", wrong_in_tree),
        ("max_pool.cu", "maxpool.cu", wrong_in_tree),
        (f"| {LINES} |", f"| {LINES + 25} |", wrong_counts),
        ("| [gland/prior.py]", "| gland/prior.py [it]", wrong_counts),
        ("## Believe nothing", "## Believe nothing" + " at all" * 20, too_long),
    ],
)
def test_a_planted_mistake_is_caught(old, new, check):
    assert old in README
    assert not check(README)
    assert check(README.replace(old, new))


@pytest.mark.parametrize("old, new", [("layer.tangent", "layer.tangents"), ("x, tx, dy, S =", "x, tx, dy =")])
def test_an_example_that_does_not_run_is_caught(old, new):
    assert old in code(README)
    with pytest.raises((AttributeError, ValueError)):
        runs(README.replace(old, new))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_has_whole_links_short_lines_and_plain_words(page):
    text = page.read_text(encoding="utf-8")
    assert not broken_links(text, page.parent)
    assert page.name in LONG or not prose_too_long(text)
    for phrase in ("synthetic set", "painted set"):
        assert phrase not in text, f"it is called the phantom set, not the {phrase}"


def test_a_long_line_of_prose_is_caught_and_a_table_is_not():
    assert prose_too_long("word " * 25) and not prose_too_long("| word " * 25)


def test_the_citation_has_the_packages_version():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.+)$", text, flags=re.M).group(1) == gland.__version__
    assert "cff-version: 1.2.0" in text
