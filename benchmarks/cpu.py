"""Our networks and layers beside PyTorch's on the same processor, in one run: python benchmarks/cpu.py

Identical weights and inputs; what both compute is compared first, and a difference ends the run with status 1. Then they
are timed in turns, on the same number of threads, and the medians are shown; a ratio below 1 means that ours is faster.
PyTorch runs eagerly in the better of its two memory formats, with the better of its foreach and fused optimisers: all are
tried and the fastest one enters the comparison. Dropout and gradient clipping are left out on both sides.
"""

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import clock
import numpy as np
import work
from sides import Case, Mismatch, batch_of, best, build, ours, torch

from gland import networks
from gland.ops.host.threads import count_threads, set_threads

NETWORKS = ("joint", "class", "alexnet", "unet")
SECTIONS = ("layers", "profile", "memory")


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if torch is None:
        print("benchmarks/cpu.py: PyTorch is not installed; pip install torch", file=sys.stderr)
        return 2
    chosen = _chosen(options)
    if isinstance(chosen, str):
        print(f"benchmarks/cpu.py: {chosen}", file=sys.stderr)
        return 2
    cases, sections = chosen
    set_threads(options.threads)
    torch.set_num_threads(options.threads)
    if warning := clock.environment_warning():
        print(f"benchmarks/cpu.py: warning: {warning}", file=sys.stderr)
    started = time.monotonic()
    result = {"machine": clock.machine(options.threads) | {"torch": torch.__version__}, "options": vars(options)}
    try:
        result["steps"] = [_announced(case.name, lambda case=case: measure(case, options)) for case in cases]
        for section in sections:
            result[section] = _announced(section, lambda section=section: _section(section, options))
    except Mismatch as mismatch:
        print(f"benchmarks/cpu.py: not timed, since the results differ: {mismatch}", file=sys.stderr)
        return 1
    result["seconds"] = round(time.monotonic() - started)
    import tables

    print(tables.text(result))
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=1) + "\n")
    if options.markdown:
        tables.write_markdown(Path(options.markdown), result)
    return 0


def _announced(name: str, call: Callable[[], Any]) -> Any:
    start = time.monotonic()
    print(f"{name} ...", end=" ", file=sys.stderr, flush=True)
    found = call()
    print(f"{time.monotonic() - start:.0f} s", file=sys.stderr)
    gc.collect()
    return found


def _section(name: str, options: argparse.Namespace) -> Any:
    if name == "layers":
        import layers_alone

        return layers_alone.measure(options)
    if name == "memory":
        import memory

        return memory.compare("joint", options.width, 1, options.side, options.threads)
    return profile(options)


def measure(case: Case, options: argparse.Namespace) -> dict[str, Any]:
    """One row: both sides compared, then timed in turns. Raises Mismatch."""
    network = build(case.network, options.width, options.side)
    batch = batch_of(case.batch, case.side)
    start = {name: value.copy() for name, value in network.parameters().items()}
    call, compute = ours(case, network, batch)
    expected = compute()
    network.load(start)
    label, other = best(case, network, batch, expected)
    seconds = clock.medians({"ours": call, "torch": other}, options.repeats)
    calls = work.watch(network, lambda: network.predict(batch.x) if case.work == "infer" else network.forward(batch.x))
    operations, bytes_ = {
        "prior": lambda: work.prior_work(calls),
        "infer": lambda: work.forward_work(network, calls),
        "train": lambda: work.step_work(network, calls),
        "exact": lambda: work.step_work(network, calls, "exact"),
    }[case.work]()
    return case._asdict() | {
        "name": case.name, "ours": seconds["ours"], "torch": seconds["torch"], "torch_variant": label,
        "operations": operations, "bytes": bytes_,
    }  # fmt: skip


def profile(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of a joint training step, batch 1, by operation; the rest is the loss, the prior's reductions, Python."""
    network, batch = build("joint", options.width, options.side), batch_of(1, options.side)
    step, _ = ours(Case("joint", "train", 1, options.side), network, batch)
    step()
    rounds = []
    for _ in range(options.repeats):
        with work.op_times() as times:
            start = time.perf_counter()
            step()
            total = time.perf_counter() - start
        rounds.append(times | {"all else": total - sum(times.values())})
    names = dict.fromkeys(name for times in rounds for name in times)
    medians = {name: float(np.median([times.get(name, 0.0) for times in rounds])) for name in names}
    return dict(sorted(medians.items(), key=lambda item: -item[1]))


def _chosen(options: argparse.Namespace) -> tuple[list[Case], list[str]] | str:
    """The cases and sections that --only names, or a sentence on what is wrong with it."""
    cases = [Case(n, "train", b, options.side) for n in NETWORKS for b in options.batches]
    cases += [Case("joint", "exact", 1, options.side), Case("joint", "prior", 1, options.side)]
    cases += [Case(n, "infer", 1, options.infer_side) for n in NETWORKS]
    wanted = options.only or [""]
    names = [case.name for case in cases] + list(SECTIONS)
    for start in wanted:
        if not any(name.startswith(start) for name in names):
            return f"--only {start} names nothing; choose beginnings of {', '.join(names)}"
    if options.side % 32:
        return f"--side is {options.side}; it must be a multiple of 32, and at least {networks.alexnet.SMALLEST} for AlexNet"
    fits = tuple(wanted)
    return [case for case in cases if case.name.startswith(fits)], [s for s in SECTIONS if s.startswith(fits)]


def _parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="benchmarks/cpu.py", description=__doc__.split("\n\n")[1])
    p.add_argument(
        "--only", nargs="+", metavar="NAME", help="what to measure, by the beginning of its name; default: all"
    )
    p.add_argument("--repeats", type=int, default=20, metavar="N", help="turns of each side; default: 20")
    p.add_argument("--threads", type=int, default=count_threads(), metavar="N", help="for both; default: every core")
    p.add_argument("--batches", nargs="+", type=int, default=[1, 8], metavar="N", help="images a step; default: 1 8")
    p.add_argument("--side", type=int, default=224, metavar="PX", help="training image; default: 224")
    p.add_argument("--infer-side", type=int, default=500, metavar="PX", help="image to predict; default: 500")
    p.add_argument(
        "--width", type=int, default=16, metavar="W", help="first stage's channels, AlexNet 6 W; default: 16"
    )
    p.add_argument("--json", metavar="FILE", help="also write all figures there")
    p.add_argument("--markdown", nargs="?", const=str(Path(__file__).with_name("README.md")), metavar="FILE",
                   help="also put the tables between the marks in FILE; default: benchmarks/README.md")  # fmt: skip
    return p


if __name__ == "__main__":
    sys.exit(main())
