"""The audit's device section, with the host standing in for a GPU: it runs, passes, and sees a device that errs."""

import numpy as np
import pytest

from gland import backend
from gland.audit import device, layers


@pytest.fixture
def stand_in(monkeypatch):
    """Moving an array "to the device" copies it, so all of the section's code runs; one layer is enough to see that."""

    def use(to_device):
        monkeypatch.setattr(backend, "select", lambda name: backend.Backend(name == "gpu", "a stand-in"))
        monkeypatch.setattr(backend, "to_device", to_device)
        monkeypatch.setattr(layers, "SUBJECTS", [s for s in layers.SUBJECTS if s.name == "Linear"])
        return device.device()

    return use


def numbers(x):
    """Whether x holds numbers that a device may get wrong; a mask with other values than 0 and 1 is none, and refused."""
    return x.dtype.kind == "f" and not np.isin(x, (0, 1)).all()


def test_the_device_section_runs_and_passes(stand_in):
    section = stand_in(np.copy)
    assert section.passed and section.skipped is None
    assert "a stand-in" in section.title
    what = [check.what for check in section.checks]
    assert sum("the same bits" in w for w in what) == 3  # the layer, and the joint gradient with f detached and exact
    assert sum(check.kind == "device" for check in section.checks) == 3


def test_a_device_that_computes_something_else_is_seen(stand_in):
    section = stand_in(lambda x: x * np.float32(1.03) if numbers(x) else x.copy())
    assert [check.passed for check in section.checks if check.kind == "device"] == [False] * 3


def test_a_device_that_gives_other_bits_on_a_second_run_is_seen(stand_in):
    rng = np.random.default_rng(0)

    def restless(x):
        return (x * (1 + 1e-6 * rng.standard_normal(x.shape))).astype(x.dtype) if numbers(x) else x.copy()

    section = stand_in(restless)
    assert [check.passed for check in section.checks if check.kind == "state"] == [False] * 3
    assert all(check.passed for check in section.checks if check.kind == "device")


def test_without_a_gpu_the_section_is_skipped_and_says_so(monkeypatch):
    def none(name):
        raise backend.InputError("no GPU here")

    monkeypatch.setattr(backend, "select", none)
    section = device.device()
    assert section.skipped == "no GPU here" and section.passed
