"""benchmarks/gpu.py: what it says without a GPU, and that it measures with one (here a stand-in whose kernels are emulated)."""

import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest
import standin_cupy
from cuda_on_cpu import MISSING

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def test_without_a_gpu_it_says_so_in_one_sentence():
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "gpu.py"],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("benchmarks/gpu.py: nothing was measured: ") and done.stderr.count("\n") == 1


@pytest.fixture
def gpu(monkeypatch):
    cp = standin_cupy.module()
    attributes = {"MultiProcessorCount": 100, "ClockRate": 1_000_000}
    cp.cuda.Device = lambda: types.SimpleNamespace(
        id=0, compute_capability="90", attributes=attributes, synchronize=lambda: None
    )
    monkeypatch.setitem(sys.modules, "cupy", cp)
    monkeypatch.syspath_prepend(BENCHMARKS)
    import gpu as benchmark
    import gpu_clock

    monkeypatch.setattr(benchmark, "_torch_side", lambda: None)
    monkeypatch.setattr(gpu_clock, "MIN_SECONDS", 0)
    return benchmark


@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
def test_every_case_is_measured_and_written_down(gpu, tmp_path, capsys):
    arguments = "--batches 1 --sides 32 --width 2 --rounds 1 --no-kernels --networks joint unet".split()
    assert gpu.main([*arguments, "--json", str(tmp_path / "figures.json")]) == 0
    rows = json.loads((tmp_path / "figures.json").read_text())["rows"]
    cases = {(row["network"], row["work"]) for row in rows if row["milliseconds"]["ours"] > 0}
    assert cases == {(network, work) for network in ("joint", "unet") for work in ("train", "infer")}
    out, err = capsys.readouterr()
    assert out.count(" ours ") == len(rows) and "without a CUDA graph" not in err


def test_each_competitor_takes_its_turn_and_the_median_counts(gpu, monkeypatch):
    now, turns = [0.0], []
    import gpu_clock

    monkeypatch.setattr(gpu_clock.time, "perf_counter", lambda: now[0])

    def competitor(name, seconds):
        def call():
            turns.append(name)
            now[0] += seconds * (10 if len(turns) > 100 else 1)  # a disturbance late in the run

        return call

    times = gpu_clock.medians({"a": competitor("a", 1e-3), "b": competitor("b", 2e-3)}, rounds=11)
    assert times == pytest.approx({"a": 1.0, "b": 2.0})
    timed = "".join(turns[12:])
    assert timed == "aaabbb" * 11


def test_running_out_of_memory_is_a_row_not_an_end(gpu, monkeypatch, capsys):
    def full(*args):
        raise MemoryError("Out of memory allocating 1,000 bytes")

    monkeypatch.setattr(gpu, "_ours", full)
    assert gpu.main("--batches 1 --sides 32 --width 2 --rounds 1 --no-kernels --networks class".split()) == 0
    assert capsys.readouterr().out.count("out of memory") >= 2


def test_the_floor_is_what_the_slower_of_memory_and_arithmetic_needs(gpu, monkeypatch, capsys):
    import gpu_kernels

    monkeypatch.setattr(gpu_kernels, "COPY", 1 << 12)
    assert gpu_kernels.peak_operations() == 100 * 128 * 2 * 1e9
    monkeypatch.setattr(gpu_kernels, "copy_speed", lambda rounds: 1e9)
    jobs = [gpu_kernels.Job("moves", lambda: None, 10**6, 1), gpu_kernels.Job("computes", lambda: None, 1, 10**12)]
    monkeypatch.setattr(gpu_kernels, "jobs", lambda: jobs)
    rows = gpu_kernels.report(1)
    assert [(row["by"], row["floor"]) for row in rows] == [("memory", 1e3), ("arithmetic", pytest.approx(1e6 / 25.6))]


@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
def test_every_kernel_that_is_timed_runs(gpu, monkeypatch):
    import gpu_kernels

    monkeypatch.setattr(gpu_kernels, "WINDOWS", 1)
    monkeypatch.setattr(gpu_kernels, "SIDE", 32)
    found = gpu_kernels.jobs()
    for job in found:
        job.call()
        assert job.bytes > 0
    assert len(found) == len({job.name for job in found})
