"""gland.doctor as it is called, and gland.memory against what a run really takes."""

import sys
import types

import numpy as np
import pytest
import standin_cupy
from cuda_on_cpu import MISSING, EmulatedArray
from made import measured
from scripts import ROOT, run

from gland.doctor import __main__, memory
from gland.networks import build
from gland.ops.host import arena
from gland.training.options import complete, parser


def call(*arguments):
    """In a process that no GPU is shown to."""
    return run("-m", "gland.doctor", *arguments, cwd=ROOT, env={"CUDA_VISIBLE_DEVICES": ""})


def settings(*arguments):
    return complete(parser().parse_args(arguments))


SMALL = ("--network=joint", "--width=4", "--crop=96", "--batch=2")


def test_without_a_gpu_it_says_what_is_missing_and_what_a_run_needs():
    done, need = call(*SMALL), memory.need(settings(*SMALL))
    assert (done.returncode, done.stderr) == (0, "")
    assert "usable        no: " in done.stdout and "To use a GPU: " in done.stdout
    assert f"NumPy         {np.__version__} with " in done.stdout
    assert f"parameters    {need.parameters:,};" in done.stdout
    assert f"together      {need.total / 2**20:,.0f} MiB of GPU memory" in done.stdout


def test_device_gpu_without_one_is_exit_status_1():
    done = call(*SMALL, "--device=gpu")
    assert done.returncode == 1 and "usable        no: " in done.stdout and done.stderr == ""


@pytest.mark.parametrize("wrong", ["--crop=100", "--batch=0", "--network=alexnet --width=7"])
def test_bad_input_is_one_sentence(wrong):
    done = call(*wrong.split())
    assert done.returncode == 2 and done.stdout.count("usable") <= 1
    assert done.stderr.startswith("gland.doctor: ") and done.stderr.count("\n") == 1


@pytest.fixture
def gpu(monkeypatch):
    cp = standin_cupy.module()
    cp.__version__ = "14.0.1"
    cp.cuda.Device = lambda: types.SimpleNamespace(id=0, compute_capability="90")
    monkeypatch.setitem(sys.modules, "cupy", cp)
    monkeypatch.setattr(__main__, "driver", lambda: __main__.Driver(13000, "580.65.06"))
    return cp


def test_with_a_gpu_it_says_which_and_whether_the_run_fits(gpu, capsys):
    gpu.cuda.runtime.memGetInfo = lambda: (3 << 30, 8 << 30)
    assert __main__.main([*SMALL, "--device=gpu"]) == 0
    out = capsys.readouterr().out
    assert "yes: a processor in disguise, compute capability 9.0" in out
    assert "3,072 MiB free of 8,192 MiB" in out and "580.65.06, knows CUDA up to 13.0" in out
    assert "That fits" in out
    gpu.cuda.runtime.memGetInfo = lambda: (3 << 20, 8 << 30)
    assert __main__.main([*SMALL, "--device=gpu"]) == 1
    assert "That does not fit: 3 MiB are free. Reduce --batch, --crop or --width." in capsys.readouterr().out


BOTH = ["cupy-cuda13x", "cupy-cuda12x"]
ADVICE = [  # what the driver knows of CUDA, what is installed, and what is said
    (13020, [], "pip install 'cupy-cuda13x[ctk]'"),
    (12040, [], "pip install 'cupy-cuda12x[ctk]'"),
    (12040, ["cupy-cuda13x"], "pip uninstall cupy-cuda13x, then pip install 'cupy-cuda12x[ctk]'"),
    (13000, BOTH, "pip uninstall cupy-cuda13x cupy-cuda12x, then pip install 'cupy-cuda13x[ctk]'"),
    (13000, ["cupy-cuda13x"], "cupy-cuda13x is installed and fits the driver, but it smokes."),
    (11080, [], "the driver is too old. Install 525 or newer, then pip install 'cupy-cuda12x[ctk]'"),
    (None, [], "no NVIDIA driver"),
]


@pytest.mark.parametrize(("cuda", "installed", "said"), ADVICE)
def test_what_to_install_follows_from_the_driver(monkeypatch, cuda, installed, said):
    monkeypatch.setattr(__main__, "_installed", lambda: installed)
    found = None if cuda is None else __main__.Driver(cuda, "1.2")
    assert said in __main__.advice(found, "it smokes")


@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
@pytest.mark.parametrize("network", ["joint", "seg", "unet"])
@pytest.mark.parametrize("extra", [(), ("--prior-gradient=exact",)])
def test_the_need_is_what_the_kernels_really_get(network, extra):
    c = settings(f"--network={network}", "--width=4", "--crop=64", "--batch=1", *extra)
    step, *_ = memory.prepare(build(c), c, EmulatedArray)
    step()  # everything is loaded by then
    assert memory.need(c).step == pytest.approx(measured(step), rel=0.1)


def test_the_need_grows_with_the_batch_as_the_host_s_own_run_does(monkeypatch):
    monkeypatch.setattr(arena, "empty", np.empty)  # the arena keeps buffers, larger ones than asked for too

    def host(batch):
        c = settings("--network=joint", "--width=8", "--crop=96", f"--batch={batch}")
        step, *_ = memory.prepare(build(c), c, np.ndarray)
        step()
        return measured(step), memory.need(c)

    (small, small_need), (large, large_need) = host(1), host(4)
    assert large - small == pytest.approx(large_need.step - small_need.step, rel=0.3)
    batch = 3 * 96 * 96 * 4 + 96 * 96 * 4 + 8  # an image, its mask and its label
    assert large_need.fixed - small_need.fixed == memory.UPLOADS * 3 * batch


def test_every_allocation_is_counted_once_and_only_while_it_lives():
    x = np.zeros(1000, np.float32).view(memory.CountedArray)
    with memory.counting() as ledger:
        a = np.empty_like(x)
        assert ledger.live == 4096  # 4000 bytes, rounded up to 512
        views = a[3:], a.reshape(10, 100).T
        assert ledger.live == 4096
        b = a + a
        assert ledger.live == 2 * 4096
        del a
        assert ledger.live == 2 * 4096, "the views still hold it"
        del views, b
        assert (ledger.live, ledger.peak) == (0, 2 * 4096)


def test_a_network_that_keeps_more_needs_more(monkeypatch):
    c = settings("--network=seg", "--width=4", "--crop=64", "--batch=1")
    before = memory.need(c).step
    kept, relu = [], memory.ops.conv_relu
    monkeypatch.setattr(memory.ops, "conv_relu", lambda *args: (y := relu(*args), kept.append(y + y))[0])
    assert memory.need(c).step >= before + kept[0].nbytes
