"""Training on a device: the recorded step, the uploads, and what comes back to the host.

Everywhere with a stand-in for CuPy, which counts what crosses; the same runs on a GPU where there is one (`pytest -m gpu`).
"""

import numpy as np
import pytest
import standin_cupy
from cuda_on_cpu import MISSING
from places import ON_GPU
from runs import assert_same_bits, samples, settings

from gland import backend, ops
from gland.errors import InputError
from gland.ops.device.graph import WARM_UP, Recorded
from gland.training import checkpoint
from gland.training.loop import Diverged, Training

needs_emulator = pytest.mark.skipif(bool(MISSING), reason=str(MISSING))
SHORT = "--pretrain 3 --iterations 6 --log-every 3 --validate-every 99 --rate 0.01 --clip 5 --width 2".split()


class Stop(Exception):
    """Ends a run in the middle, as a kill would."""


@pytest.fixture(params=[pytest.param("stand-in", marks=needs_emulator), pytest.param("gpu", marks=ON_GPU)])
def place(request, monkeypatch):
    if request.param == "stand-in":
        standin_cupy.install(monkeypatch)
    return request.param


@pytest.fixture
def standin(monkeypatch):
    standin_cupy.install(monkeypatch)


def training(folder, *options, device="gpu"):
    """A run without validation images: predicting 500 x 500 pixels takes the emulator too long."""
    return Training(settings(*SHORT, *options, "--device", device), folder, samples()[:4], [])


def rows(run):
    return [{k: v for k, v in row.items() if k != "seconds" and v != ""} for row in run.rows]


@pytest.mark.parametrize(
    "options",
    [
        ("--solver", "adam"),
        ("--solver", "sgd", "--prior-gradient", "exact", "--loss", "soft-target", "--clip", "0.1"),
        (),
    ],
)
def test_a_run_on_the_device_is_the_run_on_the_host(tmp_path, options, place):
    host, device = training(tmp_path / "a", *options, device="cpu"), training(tmp_path / "b", *options)
    host.run()
    device.run()
    if place == "stand-in":
        assert standin_cupy.counts["graphs"] == 3 - WARM_UP + 6 - WARM_UP
    # a GPU fuses multiplications with additions; Muon lifts a gradient's faintest directions, rounding among them, some 500 times
    tolerance = 2e-5 if place == "stand-in" and options else 2e-3
    for a, b in zip(rows(device), rows(host), strict=True):
        assert a.keys() == b.keys() and a["phase"] == b["phase"]
        # a pixel whose two logits are all but equal may fall on the other side
        allowed = {k: tolerance if k != "pixel_accuracy" else 5e-3 for k in a if k != "phase"}
        assert all(a[k] == pytest.approx(b[k], rel=allowed[k]) for k in allowed)
    weights, other = device.network.flat.get(), host.network.flat
    assert np.abs(weights - other).max() <= tolerance * np.abs(other).max()
    assert device.network.flat is not other and (tmp_path / "b" / "last.npz").exists()


@needs_emulator
def test_a_step_brings_nothing_to_the_host(tmp_path, standin):
    run = training(tmp_path, "--iterations", "8", "--log-every", "8")
    run.phase = 1
    seen = []
    step = run._step

    def counted(*args):
        before = dict(standin_cupy.counts)
        step(*args)
        seen.append({k: standin_cupy.counts[k] - before[k] for k in before})

    run._step = counted
    run.run()
    assert all(one["get"] == 0 for one in seen)
    first, *recorded = seen[WARM_UP:]
    # four inputs go up; then one graph: not a kernel is launched by itself
    assert len(recorded) == 5 and all(
        one == {"get": 0, "set": 4, "kernels": 0, "array operations": 4, "graphs": 1} for one in recorded
    )


def test_a_step_that_reads_its_loss_is_not_recorded_and_says_so(tmp_path, capsys, place):
    run = training(tmp_path)
    compute = run._compute

    def reading(*args):
        losses = compute(*args)
        float(losses.total)  # the planted mistake
        return losses

    run._compute = reading
    run.run()
    assert standin_cupy.counts["graphs"] == 0  # and yet all steps were done
    assert run.rows[-1]["step"] == 9
    assert "could not be recorded: " in capsys.readouterr().err


def test_the_reason_for_a_step_without_graph_is_told(place):
    def reading():
        backend.to_host(x)

    x = backend.to_device(np.zeros(3))
    run = Recorded(reading)
    for _ in range(WARM_UP + 2):
        run()
    assert run.graph is None and "could not be recorded: " in run.reason


def test_dropout_is_a_reason_for_no_graph(tmp_path, capsys, place):
    run = training(tmp_path, "--network", "unet", "--iterations", "3")
    run.run()
    assert standin_cupy.counts["graphs"] == 0
    assert "drawn on the host" in capsys.readouterr().err


def test_a_recorded_function_is_run_again_on_the_same_memory(place):
    x, y = backend.to_device(np.array([1.0, -2.0])), backend.to_device(np.zeros(2))

    def work():
        y[...] = ops.relu(x) * 2 + y

    run = Recorded(work)
    for _ in range(WARM_UP + 3):
        run()
    assert run.graph is not None and run.reason is None
    assert y.get().tolist() == [2.0 * (WARM_UP + 3), 0]
    x.set(np.array([0.0, 1.0]))
    run()
    assert y.get().tolist() == [2.0 * (WARM_UP + 3), 2]


def test_a_resumed_run_on_the_device_ends_with_the_same_bits(tmp_path, place):
    training(tmp_path / "whole").run()
    stopped = training(tmp_path / "stopped")
    step, done = stopped._step, []

    def until_five(*args):
        if len(done) == 5:
            raise Stop
        step(*args)
        done.append(1)
        if len(done) == 5:
            stopped.step += 1
            stopped.save()

    stopped._step = until_five
    with pytest.raises(Stop):
        stopped.run()
    resumed = training(tmp_path / "stopped")
    resumed.restore()
    resumed.run()
    assert_same_bits(tmp_path / "whole", tmp_path / "stopped")


def test_a_diverged_run_is_noticed_at_the_next_row_and_keeps_good_weights(tmp_path, place):
    run = training(tmp_path, "--save-every", "0", "--log-every", "4")
    step = run._step

    def poisoned(phase, batch, rate):
        if run.phase == 1 and run.step == 2:
            batch.images[0, 0, 0, 0] = np.nan
        step(phase, batch, rate)

    run._step = poisoned
    with pytest.raises(Diverged, match=r"the loss is nan at step 2 of joint: .*last\.npz"):
        run.run()
    assert np.isfinite(run.network.flat.get()).all()
    parameters, state, _ = checkpoint.load(tmp_path / "last.npz")
    assert state["step"] == 2 and all(np.isfinite(v).all() for v in parameters.values())


def test_evaluation_reads_a_network_on_the_device(tmp_path, place):
    run = training(tmp_path, "--iterations", "1", "--pretrain", "0")
    run.run()
    x = np.random.default_rng(0).standard_normal((1, 3, 40, 33)).astype(np.float32)
    there = run.network.predict(x)
    run.network.flatten()
    here = run.network.predict(x)
    for a, b in zip(there[:3], here[:3], strict=True):
        assert type(a) is np.ndarray
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("place", [pytest.param("gpu", marks=ON_GPU)])
def test_a_gpu_out_of_memory_says_so(place):
    with pytest.raises(
        InputError, match=r"the GPU is out of memory: 1,073,741,824 MiB were asked for, .* are free; reduce"
    ):
        with backend.memory_explained("--batch"):
            backend.cupy().empty(1 << 50, np.uint8)
