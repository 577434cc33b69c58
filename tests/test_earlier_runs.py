"""A run saved before the files moved into their rooms (tests/earlier_run/, made of noise) is still read and gone on with."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import scripts

from gland.inference import trained
from gland.training import checkpoint

EARLIER = Path(__file__).parent / "earlier_run"
# What the code of that time said of the image below, on another processor.
Q, MEAN_P, MEAN_F = [0.5018249, 0.49817505], 0.4735392, 0.39243117


def assert_says_the_same(network):
    x = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)
    said = network.predict(x)
    assert said.q[0] == pytest.approx(Q, abs=1e-4)
    assert (said.p_gland.mean(), said.f.mean()) == pytest.approx((MEAN_P, MEAN_F), abs=1e-3)


def test_its_network_says_what_it_said():
    assert_says_the_same(checkpoint.load_network(EARLIER))


def test_a_parameter_under_another_name_would_be_noticed(tmp_path):
    network = checkpoint.load_network(EARLIER)
    network.layers["classifier.score"].w[...] *= -1  # as where the head were not read
    with pytest.raises(AssertionError):
        assert_says_the_same(network)


def test_it_is_gone_on_with(tiny_data, tmp_path):
    run = shutil.copytree(EARLIER, tmp_path / "run")
    entries = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(entries | {"data": str(tiny_data)}))
    result = scripts.run("train.py", "--resume", run, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    state = checkpoint.load(run / "last.npz")[1]
    assert state["finished"] and state["rows"][-1]["step"] == 34  # 4 steps of the classifier alone, 30 of both


def test_the_packaged_network_has_the_parameters_of_that_time():
    earlier, packaged = (checkpoint.load(folder / "best.npz")[0] for folder in (EARLIER, trained.FOLDER))
    assert earlier.keys() == packaged.keys() == checkpoint.load_network(trained.FOLDER).parameters().keys()
