"""A checkpoint comes back whole, or one sentence says why not."""

import json

import numpy as np
import pytest

from gland import checkpoint
from gland.errors import InputError
from gland.files import write_atomic
from gland.networks import MultiLoss

CONFIG = dict(network="joint", width=1, skip=True, prior="gradient", seed=5)


@pytest.fixture
def run(tmp_path):
    checkpoint.save_config(tmp_path, CONFIG)
    checkpoint.save(
        tmp_path / "best.npz", MultiLoss(width=1, seed=7).parameters(), {"step": 3}, velocity=np.arange(4.0)
    )
    return tmp_path


def test_parameters_state_and_arrays_come_back_bit_for_bit(run):
    parameters, state, arrays = checkpoint.load(run / "best.npz")
    for name, value in MultiLoss(width=1, seed=7).parameters().items():
        assert np.array_equal(parameters[name], value) and parameters[name].dtype == value.dtype
    assert state == {"step": 3}
    assert np.array_equal(arrays["velocity"], np.arange(4.0))


def test_the_network_of_a_run_predicts_as_the_saved_one(run):
    x = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)
    loaded, saved = checkpoint.load_network(run).predict(x), MultiLoss(width=1, seed=7).predict(x)
    assert np.array_equal(loaded.p_gland, saved.p_gland) and np.array_equal(loaded.q, saved.q)


def test_a_changed_array_fails_the_checksum(run):
    path = run / "best.npz"
    with np.load(path) as file:
        contents = {name: file[name].copy() for name in file.files}
    contents["velocity"][2] += 1e-9
    np.savez(path, **contents)
    with pytest.raises(InputError, match="damaged"):
        checkpoint.load(path)


@pytest.mark.parametrize("keep", [0, 100, 5000])
def test_a_truncated_file_is_one_sentence(run, keep):
    path = run / "best.npz"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"best\.npz cannot be read as a checkpoint"):
        checkpoint.load(path)


def test_weights_of_another_width_are_refused_by_name(run):
    parameters, _, _ = checkpoint.load(run / "best.npz")
    with pytest.raises(InputError, match=r"classifier\.stage1\.conv1\.w is \(1, 3, 3, 3\), not \(2, 3, 3, 3\)"):
        MultiLoss(width=2).load(parameters)


def test_a_folder_without_config_is_not_a_run(tmp_path):
    with pytest.raises(InputError, match="is not a run"):
        checkpoint.load_config(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        checkpoint.load_config(tmp_path / "absent")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def fail(file):
        file.write(b"half")
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        write_atomic(path, fail)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_config_is_plain_json(run):
    assert json.loads((run / "config.json").read_text()) == CONFIG
