"""A training step takes its memory once: steady steps get every large array from the arena, and the arena grows no more."""

import sys
import tracemalloc
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

import gland
from gland.networks.multiloss import MultiLoss
from gland.ops import arena, host_winograd, threads
from gland.solver import SGD

LARGEST = 1 << 20  # bytes
SOURCE = str(Path(gland.__file__).parent)


def step_of(width, size, prior_gradient):
    rng = np.random.default_rng(0)
    net = MultiLoss(width=width)
    solver = SGD(net, clip=5.0)
    x = rng.standard_normal((1, size, size, 3)).astype(np.float32).transpose(0, 3, 1, 2)
    mask, label = (rng.random((1, size, size)) > 0.5).astype(np.float32), np.array([1])

    def step():
        net.zero_grad()
        net.loss_and_grad(x, mask, label, prior_gradient=prior_gradient)
        solver.step(1e-3)

    return step


def bytes_by_line(function):
    """The most new memory that each line of gland held at once, arena apart, while function ran."""
    most, place, before = defaultdict(int), None, 0

    def note(frame, event, argument):
        nonlocal place, before
        if not frame.f_code.co_filename.startswith(SOURCE):
            return None
        most[place] = max(most[place], tracemalloc.get_traced_memory()[1] - before)
        place = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        return note

    tracemalloc.start()
    sys.settrace(note)
    try:
        function()
    finally:
        sys.settrace(None)
        tracemalloc.stop()
    del most[None]
    return most


@pytest.fixture(autouse=True)
def one_thread():  # the tracing function sees one
    before = threads.count_threads()
    threads.set_threads(1)
    yield
    threads.set_threads(before)


def check(step):
    step()
    step()
    before = arena.allocated()
    lines = bytes_by_line(step)
    assert arena.allocated() == before
    line = max(lines, key=lines.get)
    assert lines[line] <= LARGEST, f"{line} takes {lines[line]} bytes in every step"


@pytest.mark.parametrize("prior_gradient", ["detached", "exact"])
def test_a_steady_step_takes_nothing_larger_than_a_megabyte(prior_gradient):
    check(step_of(16, 224, prior_gradient))


def test_a_fresh_array_in_every_step_is_caught(monkeypatch):
    monkeypatch.setattr(host_winograd, "product", lambda a, b: a @ b)
    with pytest.raises(AssertionError, match=r"host_winograd\.py:.* takes"):
        check(step_of(16, 192, "detached"))


def test_an_arena_that_forgets_is_caught(monkeypatch):
    monkeypatch.setattr(arena, "_FREE", 0)
    with pytest.raises(AssertionError, match="assert"):
        check(step_of(4, 64, "detached"))
