"""Training steps and inference on the GPU beside PyTorch's on the same GPU, in one run: python benchmarks/gpu.py

Ours is a recorded step (one CUDA graph), as in train.py. PyTorch runs eagerly, and captured in a CUDA graph. All three are
timed in turns, and the median of the turns is shown with the ratio to ours: above 1 means that ours is faster. float32 is
compared with float32, TF32 with TF32. Images of 500 pixels are padded to what a network's pools divide, for both sides.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import gpu_kernels
import numpy as np
from gpu_clock import medians

from gland import backend, ops
from gland.errors import InputError
from gland.networks import Architecture, MultiLoss, build
from gland.ops.device.graph import Recorded
from gland.training.loop import TOTALS
from gland.training.options import complete, parser
from gland.training.solver import SGD

NETWORKS = ("joint", "class", "alexnet", "unet")
PAPER_STEPS = 20_000


class Case(NamedTuple):
    """What is timed; side in pixels."""

    network: str
    work: str  # "train" or "infer"
    batch: int
    side: int
    precision: str  # "float32" or "tf32"


class Batch(NamedTuple):
    """Host arrays that both sides compute with."""

    x: np.ndarray  # (N, 3, H, W)
    mask: np.ndarray  # (N, H, W)
    label: np.ndarray  # (N,)


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        device = backend.usable_device()
    except InputError as error:
        print(f"benchmarks/gpu.py: nothing was measured: {error}", file=sys.stderr)
        return 2
    print(f"{device}; a step's median milliseconds, {options.rounds} rounds in turns; x: PyTorch's time over ours")
    others = _torch_side()
    rows = []
    for case in _cases(options):
        rows.append(_measure(case, options, others))
        print(_line(rows[-1]), flush=True)
    _paper(rows)
    if not options.no_kernels:
        rows += gpu_kernels.report(options.rounds)
    if options.json:
        Path(options.json).write_text(json.dumps({"device": device, "rows": rows}, indent=1))
    return 0


def _cases(options: argparse.Namespace) -> list[Case]:
    return [
        Case(network, work, batch, side, precision)
        for network in options.networks
        for side in options.sides
        for batch in options.batches
        for work in ("train", "infer")
        for precision in ("float32", "tf32")
    ]


def _measure(case: Case, options: argparse.Namespace, others: Callable | None) -> dict[str, Any]:
    row = case._asdict()
    try:
        network, batch = prepare(case, options.width)
        calls = {"ours": _ours(case, network, batch)}
        if others is not None:
            calls |= others(case, network, batch)
        row["milliseconds"] = medians(calls, options.rounds)
    except MemoryError:
        row["milliseconds"], row["note"] = {}, "out of memory"
    except Exception as error:  # one case that cannot run must not hide the others
        if "out of memory" not in str(error).lower():
            raise
        row["milliseconds"], row["note"] = {}, "out of memory"
    return row


def prepare(case: Case, width: int | None) -> tuple[Any, Batch]:
    """The network on the device, and a batch on the host."""
    given = [f"--network={case.network}"] + ([f"--width={width}"] if width and case.network != "alexnet" else [])
    settings = complete(parser().parse_args(given))
    multiple = 1 if case.network == "alexnet" else 32
    side = -(-case.side // multiple) * multiple
    network = build(Architecture(network=case.network, width=settings.width, crop=side))
    network.flatten(device=True)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((case.batch, side, side, 3), dtype=np.float32).transpose(0, 3, 1, 2)
    mask = (rng.random((case.batch, side, side)) < 0.5).astype(np.float32)
    return network, Batch(x, mask, np.arange(case.batch) % 2)


def _ours(case: Case, network: Any, batch: Batch) -> Callable[[], None]:
    ops.use_tf32(case.precision == "tf32")
    x, mask, label = (backend.to_device(a) for a in batch)
    solver, rate = SGD(network, 0.9, 5e-4, 5.0), backend.to_device(np.full(1, 1e-4, np.float32))
    totals = backend.to_device(np.zeros(TOTALS))

    def train() -> None:
        network.zero_grad()
        losses = network.loss_and_grad(x, mask, label)
        solver.step(rate)
        ops.tally(totals, losses, mask, label)

    step = Recorded(train if case.work == "train" else lambda: infer(network, x))
    for _ in range(4):
        step()
    if step.reason:
        print(f"  ours runs without a CUDA graph here: {step.reason}", file=sys.stderr)
    return step


def infer(network: Any, x: Any) -> list[Any]:
    """The probabilities of one batch, left on the device."""
    passed = network.forward(x)
    logits = (passed.logits, passed.seg_logits) if isinstance(network, MultiLoss) else passed[:1]
    return [ops.softmax(a) for a in logits if a is not None]


def _torch_side() -> Callable | None:
    try:
        import torch
    except ImportError:
        print("PyTorch is not installed: only our own times are shown", file=sys.stderr)
        return None
    if not torch.cuda.is_available():
        print(f"PyTorch {torch.__version__} finds no GPU: only our own times are shown", file=sys.stderr)
        return None
    import gpu_torch

    print(f"PyTorch {torch.__version__}")
    return gpu_torch.competitors


def _line(row: dict[str, Any]) -> str:
    head = f"{row['network']:<8}{row['work']:<6} batch {row['batch']:<3}{row['side']:>4} px  {row['precision']:<8}"
    times = row["milliseconds"]
    if not times:
        return f"{head} {row['note']}"
    ours = times["ours"]
    rest = "".join(f"   {name} {t:8.3f} ({t / ours:.2f} x)" for name, t in times.items() if name != "ours")
    return f"{head} ours {ours:8.3f}{rest}"


def _paper(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        ours = row["milliseconds"].get("ours")
        if ours and (row["network"], row["work"], row["batch"], row["side"]) == ("joint", "train", 1, 224):
            seconds = ours * PAPER_STEPS / 1e3
            print(f"the paper's {PAPER_STEPS:,} iterations at {row['precision']}: {seconds:.0f} s of steps")


def _parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="benchmarks/gpu.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS, help="which networks; default: all")
    p.add_argument("--batches", nargs="+", type=int, default=(1, 8), metavar="N", help="images a step; default: 1 8")
    p.add_argument("--sides", nargs="+", type=int, default=(224, 500), metavar="PX", help="pixels; default: 224 500")
    p.add_argument("--width", type=int, metavar="W", help="channels of the first stage; default: train.py's")
    p.add_argument("--rounds", type=int, default=9, metavar="N", help="turns of every competitor; default: 9")
    p.add_argument("--no-kernels", action="store_true", help="do not time single kernels against their floors")
    p.add_argument("--json", metavar="FILE", help="also write all figures there")
    return p


if __name__ == "__main__":
    sys.exit(main())
