"""Steady training steps allocate nothing large: the arena hands out again what it has handed out before."""

import sys
import tracemalloc
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from places import on_threads

import gland
from gland import ops
from gland.networks import MultiLoss, UNet
from gland.networks.base import Objective
from gland.ops.host import arena
from gland.training.solver import SGD, Adam, Muon

LARGE = 1 << 20  # bytes
SIDE = 128  # pixels: an activation of the first stage has 1 MB
SOURCE = str(Path(gland.__file__).parent)


@pytest.fixture(autouse=True)
def one_thread():
    """So that every allocation happens in the thread whose lines are watched."""
    with on_threads(1):
        yield


def stepper(network, solver=SGD, **reading):
    """A function that takes one training step."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, SIDE, SIDE, 3), dtype=np.float32).transpose(0, 3, 1, 2)
    mask, label = (rng.random((1, SIDE, SIDE)) < 0.5).astype(np.float32), np.array([1])
    solver = solver(network, 0.9, 5e-4, 5.0)

    def step():
        network.zero_grad()
        network.loss_and_grad(x, mask, label, Objective(**reading))
        solver.step(1e-4)

    return step


@contextmanager
def large_allocations():
    """A dict, filled while the context lasts: file:line of gland -> bytes, for lines that allocate LARGE or more.

    NumPy reports its memory to tracemalloc, whose peak is read and reset at every line, so that what a line frees again
    is seen too. A line that calls another of gland's functions is not charged for what happens in there.
    """
    found: dict[str, int] = {}
    level, file, line = 0, "", 0

    def settle(frame):
        nonlocal level, file, line
        now, peak = tracemalloc.get_traced_memory()
        if peak - level >= LARGE and file.startswith(SOURCE):
            place = f"{file.removeprefix(SOURCE)}:{line}"
            found[place] = max(found.get(place, 0), peak - level)
        tracemalloc.reset_peak()
        level, file, line = now, frame.f_code.co_filename, frame.f_lineno

    def in_function(frame, event, argument):
        settle(frame.f_back if event == "return" else frame)
        return in_function

    def entering(frame, event, argument):
        if not frame.f_code.co_filename.startswith(SOURCE):
            return None
        settle(frame)
        return in_function

    before = sys.gettrace()
    tracemalloc.start()
    sys.settrace(entering)
    try:
        yield found
    finally:
        sys.settrace(before)
        tracemalloc.stop()


def allocated_by(step):
    """What a step allocates once three have warmed the arena."""
    for _ in range(3):
        step()
    with large_allocations() as found:
        step()
    return found


STEPS = {
    "joint": (lambda: MultiLoss("joint", 16), {}),
    "joint, exact": (lambda: MultiLoss("joint", 16), {"prior_gradient": "exact"}),
    "class": (lambda: MultiLoss("class", 16), {}),
    "unet": (lambda: UNet(16), {}),
    "joint, Adam": (lambda: MultiLoss("joint", 16), {"solver": Adam}),
    "joint, Muon": (lambda: MultiLoss("joint", 16), {"solver": Muon}),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_warm_step_allocates_nothing_large(step):
    make, reading = STEPS[step]
    assert allocated_by(stepper(make(), **reading)) == {}


@pytest.mark.parametrize("freed", [True, False])
def test_a_large_allocation_is_found(monkeypatch, freed):
    step, kept = stepper(MultiLoss("class", 2)), []

    def spendthrift():
        kept.append(np.ones(LARGE, np.uint8))  # as if it happened in gland
        step()
        if freed:
            kept.clear()

    monkeypatch.setitem(globals(), "SOURCE", str(Path(__file__).parent))
    assert any("test_allocation.py" in place for place in allocated_by(spendthrift))


def test_an_operation_that_bypasses_the_arena_is_found(monkeypatch):
    before = allocated_by(stepper(MultiLoss("joint", 16)))
    monkeypatch.setattr(ops._HOST, "add", lambda a, b: a + b)
    after = allocated_by(stepper(MultiLoss("joint", 16)))
    assert len(after) > len(before)


def test_an_arena_that_forgets_is_found(monkeypatch):
    monkeypatch.setattr(arena, "_FREE", 0)
    assert any("arena.py" in place for place in allocated_by(stepper(MultiLoss("class", 16))))
