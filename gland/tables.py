"""Tables that line up: on the terminal and as CSV."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gland.files import write_text


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A plain table: the first column left, the others right aligned, two spaces between them, a rule under the header."""
    widths = [max(len(str(row[i])) for row in (header, *rows)) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        first, *others = (str(cell) for cell in cells)
        padded = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
        return "  ".join([first.ljust(widths[0]), *padded]).rstrip()

    return "\n".join([line(header), line(["-" * width for width in widths]), *map(line, rows)])


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write dicts as CSV, the columns in order of first appearance, empty where a row has no such key; atomic."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
