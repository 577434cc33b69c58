"""How the cost of a joint training step grows with batch, width and image, and tiled inference with the image.

    python benchmarks/growth.py                 table, and growth.png in the current folder

Each line is a process of its own, so that its peak memory is its own. Time should be linear in images and in pixels, and
between linear and quadratic in width; "step" is the memory that the steps took beyond imports, weights and inputs.
A size that would take longer than --most-seconds, judged by the size before it, is left out and said so.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from gland.ops.host.threads import count_threads
from gland.tables import aligned

sys.path.insert(0, str(Path(__file__).parent))
import memory

SERIES = {
    "batch": [1, 2, 4, 8, 16, 32],
    "width": [8, 16, 24, 32, 48, 64],
    "side": [128, 192, 256, 384, 512, 768, 1024, 1536, 2048],
    "tiled": [4000, 8000],
}
TITLES = {
    "batch": "images a step",
    "width": "channels of stage 1",
    "side": "pixels a side",
    "tiled": "pixels a side, tiled",
}
POWER = {"batch": 1, "width": 2, "side": 2, "tiled": 2}  # how fast time can grow, to judge what would take too long


def main(arguments: list[str] | None = None) -> int:
    o = _parser().parse_args(arguments)
    rows = []
    for series in o.series:
        rows += measure(series, o)
    for series in o.series:
        print(f"\n{title(series, o)}\n\n{table([row for row in rows if row['series'] == series])}")
    if o.json:
        Path(o.json).write_text(json.dumps(rows, indent=1) + "\n")
    if o.plot:
        draw(rows, Path(o.plot))
        print(f"\ndrawn in {o.plot}")
    return 0


def title(series: str, o: argparse.Namespace) -> str:
    """What a series holds fixed."""
    if series == "tiled":
        return f"Tiled inference, joint, width {o.tiled_width}: by {TITLES[series]}"
    fixed = {"batch": f"batch {o.batch}", "width": f"width {o.width}", "side": f"{o.side} px"}
    return f"Joint training step by {TITLES[series]} ({', '.join(v for k, v in fixed.items() if k != series)})"


def measure(series: str, o: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for every size: seconds and bytes."""
    rows: list[dict[str, Any]] = []
    for size in getattr(o, f"sizes_{series}") or SERIES[series]:
        if rows:
            expected = rows[-1]["cost"] * (size / rows[-1]["size"]) ** POWER[series]
            if expected > o.most_seconds:
                print(f"{series} {size}: left out, it would take about {expected:.0f} s", file=sys.stderr)
                continue
        start = time.monotonic()
        found = tiled(size, o.tiled_width, o.threads) if series == "tiled" else steps(series, size, o)
        rows.append({"series": series, "size": size, "cost": time.monotonic() - start} | found)
        print(f"{series} {size}: {found['milliseconds']:.1f} ms, {found['step'] / 1e6:.0f} MB", file=sys.stderr)
    return rows


def steps(series: str, size: int, o: argparse.Namespace) -> dict[str, Any]:
    """The fastest of some steps, and their memory; "unit" is what time is divided by to see a cliff."""
    asked = {"batch": o.batch, "width": o.width, "side": o.side} | {series: size}
    found = memory.measure("ours", "joint", asked["width"], asked["batch"], asked["side"], o.threads, o.steps)
    return found | {"pixels": asked["batch"] * asked["side"] ** 2}


def tiled(side: int, width: int, threads: int) -> dict[str, Any]:
    """Segment a random image of side x side from a file, in a process of its own; its memory and time."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.npy"
        rng = np.random.default_rng(0)
        image = np.lib.format.open_memmap(path, "w+", np.uint8, (side, side, 3))
        for i in range(0, side, 256):
            image[i : i + 256] = rng.integers(0, 256, image[i : i + 256].shape, dtype=np.uint8)
        del image
        command = [sys.executable, __file__, "--one-tiled", str(path), str(width), str(threads)]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"tiled inference of {side} pixels failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout) | {"pixels": side**2}


def _one_tiled(path: str, width: str, threads: str) -> None:
    from gland.inference import large
    from gland.networks import MultiLoss
    from gland.ops.host.threads import set_threads

    set_threads(int(threads))
    network = MultiLoss("joint", int(width))
    before = memory.resident()
    memory.forget_peak()
    start = time.monotonic()
    large.segment(network, large.Mapped(path), Path(path).with_suffix(".png"))
    seconds = time.monotonic() - start
    print(json.dumps({"peak": memory.peak(), "step": memory.peak() - before, "milliseconds": 1e3 * seconds}))


def table(rows: list[dict[str, Any]]) -> str:
    """Sizes, times, memory, and both a million pixels of input."""
    cells = [
        [
            str(r["size"]), f"{r['milliseconds']:.1f}", f"{1e6 * r['milliseconds'] / r['pixels']:.0f}",
            f"{r['step'] / 1e6:.0f}", f"{r['step'] / r['pixels']:.0f}", f"{r['peak'] / 1e6:.0f}",
        ]
        for r in rows
    ]  # fmt: skip
    return aligned(["size", "ms", "ms / Mpixel", "step MB", "bytes / pixel", "process MB"], cells)


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Time and memory over each series' size, both axes logarithmic: a power is a straight line, a cliff a bend."""
    from matplotlib.figure import Figure

    from gland.evaluation import pictures

    names = list(dict.fromkeys(row["series"] for row in rows))
    figure = Figure(figsize=(3.6 * len(names), 5.6), layout="constrained")
    grid = figure.subplots(2, len(names), squeeze=False)
    for j, name in enumerate(names):
        chosen = [row for row in rows if row["series"] == name]
        sizes = [row["size"] for row in chosen]
        for axes, key, label in ((grid[0, j], "milliseconds", "ms"), (grid[1, j], "step", "memory, MB")):
            values = [row[key] / (1e6 if key == "step" else 1) for row in chosen]
            axes.loglog(sizes, values, "o-", color=pictures.BLUE, label="measured")
            power = POWER[name]
            line = [values[0] * (size / sizes[0]) ** power for size in sizes]
            axes.loglog(sizes, line, "--", color="0.6", label=f"size^{power}" if power > 1 else "linear")
            axes.set(xlabel=TITLES[name], ylabel=label)
            axes.set_xticks(sizes, [str(size) for size in sizes], rotation=45)
            axes.minorticks_off()
            axes.grid(alpha=0.25)
            axes.legend(frameon=False, fontsize=8)
    pictures.save(figure, path)


def _parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="benchmarks/growth.py", description=__doc__.split("\n\n")[0])
    p.add_argument("--series", nargs="+", choices=tuple(SERIES), default=list(SERIES), help="what grows; default: all")
    for name, sizes in SERIES.items():
        shown = " ".join(map(str, sizes))
        p.add_argument(
            f"--{name}-sizes", dest=f"sizes_{name}", nargs="+", type=int, metavar="N", help=f"default: {shown}"
        )
    p.add_argument("--batch", type=int, default=1, metavar="N", help="where it is fixed; default: 1")
    p.add_argument("--width", type=int, default=16, metavar="W", help="where it is fixed; default: 16")
    p.add_argument("--side", type=int, default=224, metavar="PX", help="where it is fixed; default: 224")
    p.add_argument("--tiled-width", type=int, default=4, metavar="W", help="width of the tiled network; default: 4")
    p.add_argument(
        "--steps", type=int, default=3, metavar="N", help="steps at each size, the fastest counts; default: 3"
    )
    p.add_argument("--threads", type=int, default=count_threads(), metavar="N", help="default: every core")
    p.add_argument("--most-seconds", type=float, default=60, metavar="S", help="longest single size; default: 60")
    p.add_argument("--plot", default="growth.png", metavar="FILE", help="default: growth.png; '' for none")
    p.add_argument("--json", metavar="FILE", help="also write all figures there")
    return p


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one-tiled"]:
        _one_tiled(*sys.argv[2:])
    else:
        sys.exit(main())
