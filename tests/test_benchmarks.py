"""The benchmarks on the processor: their PyTorch twins compute what ours do, their counts are right, their scripts run."""

import json
import sys

import numpy as np
import pytest
from made import awake
from scripts import ROOT, finish, run

torch = pytest.importorskip("torch", reason="PyTorch is not installed; the benchmarks compare with it")

sys.path.insert(0, str(ROOT / "benchmarks"))

import clock  # noqa: E402
import cpu  # noqa: E402
import sides  # noqa: E402
import tables  # noqa: E402
import torch_networks  # noqa: E402
import work  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from gland import layers  # noqa: E402
from gland.networks import AlexNet, MultiLoss, Objective, UNet  # noqa: E402

TINY = ["--side", "64", "--infer-side", "70", "--width", "1", "--batches", "1", "--repeats", "2", "--threads", "1"]
EXACT = 1e-9  # relative, float64

PASSIVE = {"OMP_WAIT_POLICY": "passive"}

NETWORKS = {
    "joint": lambda: MultiLoss("joint", 2, dtype=np.float64),
    "joint, gradient-activation": lambda: MultiLoss("joint", 2, prior_kind="gradient-activation", dtype=np.float64),
    "joint, no skip, no scores": lambda: MultiLoss("joint", 2, skip=False, use_scores=False, dtype=np.float64),
    "joint, no prior": lambda: MultiLoss("joint", 2, use_prior=False, dtype=np.float64),
    "class": lambda: MultiLoss("class", 2, dtype=np.float64),
    "seg": lambda: MultiLoss("seg", 2, dtype=np.float64),
    "alexnet": lambda: AlexNet(6, 67, dtype=np.float64),  # every convolution has more than one output
    "unet": lambda: UNet(2, dtype=np.float64),
}


def made(name, count):
    """One of ours, its biases not 0, and a batch that it takes."""
    network = awake(NETWORKS[name]())
    return network, sides.batch_of(count, getattr(network, "size", 64), np.float64)


@pytest.fixture(autouse=True)
def one_thread():
    """PyTorch's threads spin, and would slow down the tests beside this one."""
    torch.set_num_threads(1)


def largest_difference(name, spoil=None, channels_last=False, **reading):
    """Of the loss and every gradient, relative to the gradient's largest element. spoil: a weight of the twin to change."""
    network, batch = made(name, 2)
    losses = network.loss_and_grad(*batch, Objective(**reading))
    twin = torch_networks.twin(network, channels_last=channels_last)
    if spoil:
        with torch.no_grad():
            twin.weights[spoil].view(-1)[0] += 1e-3
    value = twin.loss(*(twin.tensor(a) for a in batch), **reading)
    value.backward()
    ours, theirs = network.gradients(), twin.gradients()
    differences = [np.abs(ours[name] - grad).max() / np.abs(grad).max() for name, grad in theirs.items()]
    return max(abs(float(losses.total) - value.item()) / value.item(), *differences)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_twin_has_the_loss_and_gradients_of_ours(name):
    assert largest_difference(name, channels_last=name == "joint") < EXACT


@pytest.mark.parametrize("name", ["joint", "joint, gradient-activation"])
def test_a_twin_has_the_exact_gradient_through_the_prior(name):
    assert largest_difference(name, prior_gradient="exact") < EXACT


SPOILT = [("joint", "segmenter.score.w"), ("alexnet", "conv2.w"), ("unet", "up3.deconv.w")]


@pytest.mark.parametrize(("name", "weight"), SPOILT)
def test_a_changed_weight_is_seen(name, weight):
    assert largest_difference(name, spoil=weight) > EXACT


@pytest.mark.parametrize("name", NETWORKS)
def test_a_twin_predicts_what_ours_does_at_any_size(name):
    network, x = made(name, 1)[0], sides.batch_of(1, 70, np.float64).x
    twin = torch_networks.twin(network)
    found, expected = twin.predict(twin.tensor(x)), network.predict(x)
    assert set(found) == {k for k in ("q", "p_gland", "f") if getattr(expected, k) is not None}
    for key, value in found.items():
        np.testing.assert_allclose(value.numpy(), getattr(expected, key), atol=1e-12)


def test_cpu_script_writes_its_tables(tmp_path):
    (tmp_path / "README.md").write_text(f"before\n{tables.BEGIN}\nold\n{tables.END}\nafter\n")
    options = "--only joint-train joint-exact joint-prior joint-infer profile memory --json a.json --markdown README.md"
    environment = PASSIVE | {"OPENBLAS_CORETYPE": "Haswell"}
    done = run("benchmarks/cpu.py", *TINY, *options.split(), cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert "OPENBLAS_CORETYPE=Haswell" in done.stderr
    for line in ("joint, training step, batch 1, 64 px", "joint, prior alone", "Peak memory", "all else"):
        assert line in done.stdout
    result = json.loads((tmp_path / "a.json").read_text())
    assert {r["name"] for r in result["steps"]} == {f"joint-{part}-1" for part in ("train", "exact", "prior", "infer")}
    assert all(row["ours"] > 0 and row["torch"] > 0 and row["operations"] > 0 for row in result["steps"])
    machine = result["machine"]
    assert machine["torch"] == torch.__version__ and machine["threads"] == 1 and machine["date"] and machine["blas"]
    assert min(machine["sgemm_peak"], machine["copy_bandwidth"]) > 1e8
    assert all(side["step"] > 1e5 for side in result["memory"].values())
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "| joint, training step, batch 1, 64 px |" in text


def test_layers_are_compared_one_by_one(tmp_path, monkeypatch):
    import layers_alone

    options = cpu._parser().parse_args([*TINY, "--repeats", "1"])
    chosen = {type(call.layer): call for call in layers_alone.different_layers(options)}
    monkeypatch.setattr(layers_alone, "different_layers", lambda options: list(chosen.values()))
    rows = layers_alone.measure(options)
    assert {row["layer"].split()[0] for row in rows} == {"joint", "alexnet"}
    assert {row["direction"] for row in rows} == {"forward", "input gradient", "weight gradient"}
    plain = layers.Conv2d.weight_grad
    monkeypatch.setattr(layers.Conv2d, "weight_grad", lambda self, dy, cache: plain(self, dy * 1.1, cache))
    with pytest.raises(sides.Mismatch, match="weight gradient differs by 0"):
        layers_alone.measure(options)


@pytest.mark.parametrize("case", ["joint-train", "joint-infer", "joint-prior"])
def test_a_difference_ends_the_run_with_status_1(case, monkeypatch, capsys):
    plain = torch_networks.Twin._leaf

    def spoilt(self, value):
        return (plain(self, value).detach() * 1.2).requires_grad_()

    monkeypatch.setattr(torch_networks.Twin, "_leaf", spoilt)
    assert cpu.main([*TINY, "--only", case]) == 1
    printed = capsys.readouterr()
    assert f"{case}-1, PyTorch contiguous" in printed.err and "differs by" in printed.err and printed.out == ""


def test_another_momentum_is_seen(monkeypatch, capsys):
    plain = sides.SGD
    monkeypatch.setattr(sides, "SGD", lambda network, momentum, decay: plain(network, 0.8, decay))
    assert cpu.main([*TINY, "--only", "class-train"]) == 1
    assert ": change of " in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--only", "nothing"], ["--side", "65"], ["--repeats", "x"]])
def test_a_wrong_option_is_one_sentence_and_status_2(options, capsys):
    try:
        status = cpu.main(options)
    except SystemExit as stop:
        status = stop.code
    assert status == 2 and "cpu.py" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["class", "alexnet", "unet"])
def test_operations_are_counted_as_pytorch_counts_them(name):
    network, batch = made(name, 1)
    calls = [c for c in work.watch(network, lambda: network.forward(batch.x)) if c.layer.names]
    twin = torch_networks.twin(network)
    with FlopCounterMode(display=False) as counter:
        twin.classify(twin.tensor(batch.x)) if name == "class" else twin.forward(twin.tensor(batch.x))
    assert sum(call.operations for call in calls) == counter.get_total_flops()


def test_a_joint_step_counts_the_passes_that_pytorch_makes():
    network, batch = made("joint", 1)
    calls = list(work.watch(network, lambda: network.forward(batch.x)))
    twin = torch_networks.twin(network)
    with FlopCounterMode(display=False) as counter:
        twin.loss(*(twin.tensor(a) for a in batch)).backward()
    expected = pytest.approx(counter.get_total_flops(), rel=0.02)  # PyTorch does not count pools
    assert work.step_work(network, calls).operations == expected


def test_competitors_take_turns(monkeypatch):
    monkeypatch.setattr(clock, "TURN", 0)  # one call a turn
    order = []
    clock.medians({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3)
    assert "".join(order) == "aabb" + "ab" + "ba" + "ab"


def test_growth_script_writes_table_and_plot(tmp_path):
    options = """--batch-sizes 1 2 --side-sizes 32 --tiled-sizes 100 --tiled-width 1 --series batch side tiled --width 1
        --side 32 --steps 1 --threads 1 --plot g.png --json g.json"""
    printed = finish("benchmarks/growth.py", *options.split(), cwd=tmp_path, env=PASSIVE)
    rows = json.loads((tmp_path / "g.json").read_text())
    assert [(r["series"], r["size"]) for r in rows] == [("batch", 1), ("batch", 2), ("side", 32), ("tiled", 100)]
    assert all(r["milliseconds"] > 0 and r["peak"] > 1e7 for r in rows)
    assert "by pixels a side, tiled" in printed and (tmp_path / "g.png").stat().st_size > 10_000
