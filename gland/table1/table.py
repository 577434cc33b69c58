"""The table as CSV, as Markdown and as a picture; and in words, whether the joint network beats its own halves."""

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from gland.evaluation.pictures import save
from gland.evaluation.scores import COLUMNS, MORE_COLUMNS, PAPER, Column, Estimate, Row, difference, estimate
from gland.files import write_text
from gland.table1.jobs import SYSTEMS

SPLITS = {
    "visual_field": "split by visual field",
    "patient": "split by patient",
    "image": "split by image, probably as the paper; tiles of one visual field stand on both sides, so this leaks",
    "testA": "GlaS protocol, part testA",
    "testB": "GlaS protocol, part testB",
}
JOINT = SYSTEMS["joint"]
PAPER_BY_TITLE = {SYSTEMS[network]: values for network, values in PAPER.items()}


def _glas(f1: float, dice: float, hausdorff: float | None = None) -> dict[str, float]:
    values = {"object F1, pooled": f1, "object Dice, pooled": dice, "object Hausdorff, pooled": hausdorff}
    return {title: value for title, value in values.items() if value is not None}


# The challenge's winner (Sirinukunwattana et al. 2017), MILD-Net (Graham et al. 2019) and U-Net as compared there; they
# trained on the same 85 images, the first with weights from other images.
GLAS_PUBLISHED = {
    "CUMedVision2": {"testA": _glas(0.912, 0.897, 45.4), "testB": _glas(0.716, 0.781, 160.3)},
    "MILD-Net": {"testA": _glas(0.914, 0.913, 41.5), "testB": _glas(0.844, 0.836, 105.9)},
    "U-Net": {"testA": _glas(0.865, 0.884), "testB": _glas(0.768, 0.819)},
}


class Entry(NamedTuple):
    """One network's scores on the test images of one split, all folds together."""

    split: str
    title: str
    rows: list[Row]
    seconds: float  # of training
    note: str = ""  # why there is no row
    paper: dict[str, float] = {}  # the paper's values, by column; none beside phantom images  # noqa: RUF012


def write(folder: Path, entries: Sequence[Entry], ablations: Sequence[Entry], heading: str) -> str:
    """Write table1.csv, table1.md and table1.png into folder; returns the Markdown."""
    text = markdown(entries, ablations, heading)
    write_text(folder / "table1.md", text)
    write_text(folder / "table1.csv", as_csv([*entries, *ablations]))
    if any(entry.rows for entry in entries):
        save(picture(entries), folder / "table1.png", dpi=150)
    return text


def markdown(entries: Sequence[Entry], ablations: Sequence[Entry], heading: str) -> str:
    """The tables of every split, the ablations, and the comparison in words."""
    parts = [
        heading,
        "Each cell: ours, its 95 % bootstrap interval over visual fields"
        + (", and in italics the paper's value." if any(entry.paper for entry in entries) else "."),
    ]
    for split in dict.fromkeys(entry.split for entry in entries):
        of_split = [entry for entry in entries if entry.split == split]
        parts += [_title(of_split), _grid(of_split, _cell), *_comparisons(of_split)]
    if ablations:
        base = next((e for e in entries if e.title == JOINT and e.split == ablations[0].split), None)
        parts.append(f"### Ablations of {JOINT}, {SPLITS[ablations[0].split]}")
        if base is not None:
            parts.append("Each cell: the value, and its difference to the joint network on the same images.")
        parts.append(_grid([*([base] if base else []), *ablations], lambda e, c: _ablation_cell(e, base, c)))
    return "\n\n".join(parts) + "\n"


def _title(entries: Sequence[Entry]) -> str:
    rows = max((entry.rows for entry in entries), key=len)
    fields = len({row["visual_field"] for row in rows})
    split = SPLITS[entries[0].split]
    return f"### {split[0].upper()}{split[1:]}: {len(rows)} images of {fields} visual fields"


def _grid(entries: Sequence[Entry], cell: Callable[[Entry, Column], str]) -> str:
    columns = _shown(entries)
    lines = [
        "| network | " + " | ".join(c.title for c in columns) + " | training, minutes |",
        "|---" * (len(columns) + 2) + "|",
    ]
    for entry in entries:
        cells = [cell(entry, column) for column in columns]
        lines.append(
            f"| {entry.title} | "
            + " | ".join(cells)
            + f" | {entry.note.split(':')[0] or f'{entry.seconds / 60:.0f}'} |"
        )
    for title, by_part in GLAS_PUBLISHED.items():
        if (values := by_part.get(entries[0].split)) is not None:
            cells = [f"*{values[c.title]}*" if c.title in values else "-" for c in columns]
            lines.append(f"| *{title}, published* | " + " | ".join(cells) + " | |")
    return "\n".join(lines)


def _shown(entries: Sequence[Entry]) -> list[Column]:
    """The columns that any entry has; pooled ones, which is what was published, only under the GlaS protocol."""
    pooled = [c for c in MORE_COLUMNS if c.title.endswith("pooled")] if entries[0].split.startswith("test") else []
    return [c for c in (*COLUMNS, *pooled) if any(estimate(e.rows, c) for e in entries)]


def _cell(entry: Entry, column: Column) -> str:
    ours, paper = estimate(entry.rows, column), entry.paper.get(column.title)
    text = "-" if ours is None else ours.text(column.digits)
    return text if paper is None or entry.split.startswith("test") else f"{text} *{paper:.{min(column.digits, 2)}f}*"


def _ablation_cell(entry: Entry, base: Entry | None, column: Column) -> str:
    ours = estimate(entry.rows, column)
    if ours is None:
        return "-"
    change = None if base is None or entry is base else difference(entry.rows, base.rows, column)
    return ours.text(column.digits) if change is None else f"{ours.value:.{column.digits}f}, {_signed(change, column)}"


def _signed(change: Estimate, column: Column) -> str:
    low, high = (f"{bound:+.{column.digits}f}" for bound in change[1:])
    return f"{change.value:+.{column.digits}f} [{low}, {high}]"


def _comparisons(entries: Sequence[Entry]) -> list[str]:
    """Sentences: the joint network against class-only and seg-only, column by column."""
    found = {entry.title: entry for entry in entries}
    lines = []
    for rival in (SYSTEMS["class"], SYSTEMS["seg"]):
        if JOINT not in found or rival not in found:
            continue
        for column in _shown(entries):
            change = difference(found[JOINT].rows, found[rival].rows, column)
            if change is not None:
                lines.append(f"- {_verdict(change, column)} {rival} in {column.title}: {_signed(change, column)}.")
    return ["\n".join(lines)] if lines else []


def _verdict(change: Estimate, column: Column) -> str:
    low, high = sorted((column.better * change.low, column.better * change.high))
    if low > 0:
        return "Joint beats"
    if high < 0:
        return "Joint is worse than"
    direction = column.better * change.value
    return f"Joint is {'above' if direction > 0 else 'below' if direction < 0 else 'equal to'}, within chance,"


def as_csv(entries: Sequence[Entry]) -> str:
    """One line per network and column."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["split", "network", "column", "value", "low", "high", "paper", "images", "fields", "seconds", "note"]
    )
    for entry in entries:
        fields = len({row["visual_field"] for row in entry.rows})
        for column in (*COLUMNS, *MORE_COLUMNS):
            ours = estimate(entry.rows, column) or ("", "", "")
            paper = entry.paper.get(column.title, "")
            counts = [len(entry.rows), fields, round(entry.seconds, 1), entry.note]
            writer.writerow([entry.split, entry.title, column.title, *ours, paper, *counts])
    return text.getvalue()


def picture(entries: Sequence[Entry]) -> Figure:
    """One panel a column: every network's value with its interval, a colour per split, the paper's as a diamond."""
    columns = _shown(entries)
    titles = list(dict.fromkeys(entry.title for entry in entries))
    splits = list(dict.fromkeys(entry.split for entry in entries))
    canvas = Figure(figsize=(3 * len(columns) + 1.5, 0.55 * len(titles) + 1.6), layout="constrained")
    panels = canvas.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for panel, column in zip(panels, columns, strict=True):
        for k, split in enumerate(splits):
            shift = 0.22 * (k - (len(splits) - 1) / 2)
            for entry in (e for e in entries if e.split == split):
                if (ours := estimate(entry.rows, column)) is not None:
                    y = titles.index(entry.title) + shift
                    panel.plot([ours.low, ours.high], [y, y], color=f"C{k}", lw=2)
                    panel.plot(ours.value, y, "o", color=f"C{k}", ms=6)
        for entry in entries:
            if column.title in entry.paper and not splits[0].startswith("test"):
                panel.plot(entry.paper[column.title], titles.index(entry.title), "D", color="black", mfc="none", ms=7)
        panel.set_title(column.title, fontsize=10)
        panel.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(titles)), titles)
    panels[0].invert_yaxis()
    for k, split in enumerate(splits):
        panels[0].plot([], [], "o-", color=f"C{k}", label=SPLITS[split].split(",")[0])
    if any(entry.paper for entry in entries) and not splits[0].startswith("test"):
        panels[0].plot([], [], "D", color="black", mfc="none", label="the paper's value")
    canvas.legend(loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    return canvas
