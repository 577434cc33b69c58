"""What benchmarks/cpu.py prints, and the same tables as Markdown."""

from pathlib import Path
from typing import Any

from gland.files import write_text
from gland.tables import aligned

BEGIN, END = "<!-- table of benchmarks/cpu.py: begin -->", "<!-- table of benchmarks/cpu.py: end -->"
WORK = {
    "train": "training step", "exact": "training step, exact", "prior": "prior alone", "infer": "inference"
}  # fmt: skip
Table = tuple[str, list[str], list[list[str]]]


def text(result: dict[str, Any]) -> str:
    """Everything, aligned."""
    parts = [heading(result)]
    parts += [f"{title}\n\n{aligned(header, rows)}" for title, header, rows in tables(result)]
    return "\n\n".join(parts)


def heading(result: dict[str, Any]) -> str:
    """The machine in four lines."""
    m = result["machine"]
    return (
        f"{m['processor']}, {m['cores']} cores, {m['threads']} threads; load {m['load']:.1f} at the start; {m['date']}\n"
        f"sgemm {m['sgemm_peak'] / 1e9:.0f} GFLOP/s, copy {m['copy_bandwidth'] / 1e9:.1f} GB/s, measured here\n"
        f"Python {m['python']}, NumPy {m['numpy']}, {', '.join(m['blas']) or 'unknown BLAS'}; PyTorch {m['torch']}\n"
        f"medians of {result['options']['repeats']} turns; ratio: ours / PyTorch, below 1 ours is faster"
    )


def tables(result: dict[str, Any]) -> list[Table]:
    """Title, header and cells of every table that the result has."""
    found = []
    columns = ["ours ms", "PyTorch ms", "ratio", "GFLOP/s", "of sgemm", "of copy", "PyTorch's best"]
    if rows := result.get("steps"):
        cells = [
            [f"{r['network']}, {WORK[r['work']]}, batch {r['batch']}, {r['side']} px", *_cells(r, result)] for r in rows
        ]
        found.append(("Networks", ["", *columns], cells))
    if rows := result.get("layers"):
        cells = [[f"{r['what']}, {r['direction']}", *_cells(r, result)] for r in rows]
        found.append(("Layers alone, batch 1", ["", *columns], cells))
    if times := result.get("profile"):
        total = sum(times.values())
        cells = [[name, f"{1e3 * t:.2f}", f"{t / total:.1%}"] for name, t in times.items()]
        cells.append(["sum", f"{1e3 * total:.2f}", f"{1:.1%}"])
        found.append(("Where our joint step's time goes, batch 1", ["operation", "ms", "share"], cells))
    if sides := result.get("memory"):
        a, b = sides["ours"], sides["torch"]
        cells = [
            [title, *(f"{side[key] / 1e6:.1f}" for side in (a, b)), f"{a[key] / b[key]:.2f}"]
            for title, key in (("the steps' own", "step"), ("the whole process", "peak"))
        ]
        found.append(("Peak memory of joint steps, batch 1", ["", "ours MB", "PyTorch MB", "ratio"], cells))
    return found


def _cells(row: dict[str, Any], result: dict[str, Any]) -> list[str]:
    m, seconds = result["machine"], row["ours"]
    return [
        f"{1e3 * seconds:.2f}",
        f"{1e3 * row['torch']:.2f}",
        f"{seconds / row['torch']:.2f}",
        f"{row['operations'] / seconds / 1e9:.0f}",
        f"{row['operations'] / seconds / m['sgemm_peak']:.0%}",
        f"{row['bytes'] / seconds / m['copy_bandwidth']:.0%}",
        row["torch_variant"],
    ]


def markdown(result: dict[str, Any]) -> str:
    """The same as Markdown tables."""
    parts = ["\n".join(f"{line}  " for line in heading(result).splitlines())]
    for title, header, rows in tables(result):
        rule = ["---", *["---:"] * (len(header) - 1)]
        lines = ["| " + " | ".join(cells) + " |" for cells in (header, rule, *rows)]
        parts.append(f"**{title}**\n\n" + "\n".join(lines))
    return "\n\n".join(parts)


def write_markdown(path: Path, result: dict[str, Any]) -> None:
    """Put the tables between the marks of path; a file without them, or none yet, becomes the tables alone."""
    before, after = "", ""
    if path.exists() and BEGIN in (old := path.read_text()) and END in old:
        before, after = old.split(BEGIN)[0], old.split(END)[1]
    write_text(path, f"{before}{BEGIN}\n\n{markdown(result)}\n\n{END}{after or chr(10)}")
