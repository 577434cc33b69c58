"""The most memory that training steps take, ours and PyTorch's, each measured in a process of its own.

Run as a script it is that process:  memory.py SIDE '{"network": ..., ...}'  prints one line of JSON.
"""

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

STEPS = 4


def compare(network: str, width: int, batch: int, side: int, threads: int) -> dict[str, dict[str, int]]:
    """Bytes of both sides: "peak" of the process, and "step", what the steps took beyond imports, weights and inputs."""
    return {who: measure(who, network, width, batch, side, threads) for who in ("ours", "torch")}


def measure(
    who: str, network: str, width: int, batch: int, side: int, threads: int, steps: int = STEPS
) -> dict[str, int]:
    """Run the steps in a fresh process; "milliseconds" is the fastest step's."""
    asked = dict(network=network, width=width, batch=batch, side=side, threads=threads, steps=steps)
    command = [sys.executable, str(Path(__file__)), who, json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:])} failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout)


def resident() -> int:
    """Bytes of this process in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def forget_peak() -> None:
    """Start the high-water mark anew, so that what imports took for a moment does not count."""
    Path("/proc/self/clear_refs").write_text("5")


def peak() -> int:
    """The high-water mark of this process's memory, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this system does not tell a process's peak memory")


def _main(who: str, asked: dict[str, Any]) -> None:
    if who == "ours":
        sys.modules["torch"] = None  # sides.py then goes on without it, as a user's process does
    import clock
    import sides

    from gland.ops.host.threads import set_threads

    set_threads(asked["threads"])
    network, batch = (
        sides.build(asked["network"], asked["width"], asked["side"]),
        sides.batch_of(asked["batch"], asked["side"]),
    )
    case = sides.Case(asked["network"], "train", asked["batch"], asked["side"])
    if who == "ours":
        step, _ = sides.ours(case, network, batch)
    else:
        sides.torch.set_num_threads(asked["threads"])
        step, _ = sides.theirs(case, network, batch, channels_last=False, optimiser="fused")
    del network
    before = resident()
    forget_peak()
    seconds = [clock._seconds(step, 1) for _ in range(asked["steps"])]
    found = {"peak": peak(), "step": peak() - before, "milliseconds": 1e3 * min(seconds)}
    print(json.dumps(found))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    _main(sys.argv[1], json.loads(sys.argv[2]))
