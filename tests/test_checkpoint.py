"""A checkpoint comes back whole, or one sentence says why not."""

import errno
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gland.errors import InputError
from gland.files import remove_leftovers, write_atomic
from gland.networks import MultiLoss
from gland.training import checkpoint
from gland.training.options import complete, parser

OPTIONS = complete(parser().parse_args("--width 1 --scale 0 --seed 5".split()))


def save(path):
    checkpoint.save(path, MultiLoss(width=1, seed=7).parameters(), {"step": 3}, velocity=np.arange(4.0))


@pytest.fixture
def run(tmp_path):
    checkpoint.save_options(tmp_path, OPTIONS)
    save(tmp_path / "best.npz")
    return tmp_path


@pytest.fixture(scope="module")
def whole_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "best.npz"
    save(path)
    return path, path.read_bytes()


def test_parameters_state_and_arrays_come_back_bit_for_bit(run):
    parameters, state, arrays = checkpoint.load(run / "best.npz")
    for name, value in MultiLoss(width=1, seed=7).parameters().items():
        assert np.array_equal(parameters[name], value) and parameters[name].dtype == value.dtype
    assert state == {"step": 3} and np.array_equal(arrays["velocity"], np.arange(4.0))


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


@given(place=st.integers(0, 10**6), change=st.integers(1, 255))
def test_no_changed_byte_passes_unnoticed_or_escapes_as_another_exception(whole_file, place, change):
    path, contents = whole_file
    damaged = bytearray(contents)
    damaged[place % len(contents)] ^= change
    path.write_bytes(damaged)
    expected = np.load(io.BytesIO(contents))
    try:
        parameters, state, arrays = checkpoint.load(path)
    except InputError as error:
        assert "best.npz" in str(error)
    else:  # a byte that carries nothing, such as a file's date within the archive
        assert state == {"step": 3} and np.array_equal(arrays["velocity"], expected["velocity"])
        assert all(np.array_equal(v, expected[checkpoint.PARAMETER + k]) for k, v in parameters.items())


def test_weights_of_another_width_are_refused_by_name(run):
    parameters, _, _ = checkpoint.load(run / "best.npz")
    with pytest.raises(InputError, match=r"classifier\.stage1\.conv1\.w is \(1, 3, 3, 3\), not \(2, 3, 3, 3\)"):
        MultiLoss(width=2).load(parameters)


def test_a_folder_without_config_is_not_a_run(tmp_path):
    with pytest.raises(InputError, match="is not a run"):
        checkpoint.load_options(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        checkpoint.load_options(tmp_path / "absent")


FULL, OURS = OSError(errno.ENOSPC, "No space left"), RuntimeError("a mistake of ours")


@pytest.mark.parametrize(
    ("error", "raised", "said"),
    [(FULL, InputError, "file cannot be written: No space left"), (OURS, RuntimeError, "a mistake of ours")],
)
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, error, raised, said):
    path = tmp_path / "file"
    path.write_text("old")

    def fail(file):
        file.write(b"half")
        raise error

    with pytest.raises(raised, match=said):
        write_atomic(path, fail)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_write_below_a_file_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/below cannot be written: (Not a directory|File exists)"):
        write_atomic(tmp_path / "file" / "below", lambda file: None)


def test_leftovers_of_a_killed_write_are_removed_and_nothing_else(tmp_path):
    for name in (".last.npz.ab12.part", "last.npz", ".part of my notes"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert {f.name for f in tmp_path.iterdir()} == {"last.npz", ".part of my notes"}


def test_config_is_plain_json_and_comes_back(run):
    entries = json.loads((run / "config.json").read_text())
    assert entries == OPTIONS.as_json() and "split" not in entries
    assert checkpoint.load_options(run) == OPTIONS
