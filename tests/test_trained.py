"""The network in the package: there, small, and able to do on painted tissue it has not seen what it was trained for."""

import json

import numpy as np
import pytest
from PIL import Image
from scripts import finish

from gland.data import Sample
from gland.data.tissue import paint
from gland.errors import InputError
from gland.inference import trained
from gland.inference.predict import predict
from gland.metrics import dice
from gland.networks import build
from gland.training import checkpoint


@pytest.fixture(scope="module")
def samples():
    painted = [(*paint(np.random.default_rng([77, k // 2]), 522, 775, k % 2 == 1), k % 2 == 1) for k in range(4)]
    return [Sample("painted", np.rint(image).astype(np.uint8), *rest) for image, *rest in painted]


def overlap(network, samples):
    return np.mean([dice(predict(network, s).p_gland[0] > 0.5, s.instances > 0) for s in samples])


def test_it_segments_tissue_that_it_has_not_seen(samples):
    assert overlap(checkpoint.load_network(trained.FOLDER), samples) > 0.85


def test_an_untrained_network_would_not(samples):
    assert overlap(build(checkpoint.load_options(trained.FOLDER)), samples) < 0.75


def test_it_is_small_and_says_nothing_of_the_machine_it_was_made_on():
    assert (trained.FOLDER / "best.npz").stat().st_size < trained.LARGEST
    assert set(json.loads((trained.FOLDER / "config.json").read_text())) == set(checkpoint.NETWORK)


def test_a_run_on_other_images_is_not_passed_on(tiny_run):
    with pytest.raises(InputError, match="only a network of the phantom set"):
        trained.keep(tiny_run)


def test_evaluate_takes_it_for_an_image_without_a_run(samples, tmp_path):
    Image.fromarray(samples[0].image).save(tmp_path / "mine.png")
    printed = finish("evaluate.py", "--image", "mine.png", cwd=tmp_path)
    assert "benign" in printed and (tmp_path / "runs" / "images" / "mine_mask.png").exists()
