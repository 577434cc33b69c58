"""Values worked by hand, and properties, for what no other test noticed: each was a mistake that once turned nothing red."""

import itertools
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from places import PLACES, assert_close

from gland import backend, layers, loss, metrics, ops, prior
from gland.data import Recipe, Sample, resize, to_input
from gland.data.augment import jitter_stain
from gland.errors import InputError
from gland.evaluation import scores
from gland.inference import glands
from gland.inference.predict import _SYMMETRIES, predict
from gland.networks import MultiLoss, Prediction, UNet
from gland.networks.base import Matrix, reflected
from gland.training import checkpoint, solver

RNG = np.random.default_rng
host_and_device = pytest.mark.parametrize("there", [pytest.param(np.array, id="host"), *PLACES])


# Prediction.


class Pointwise:
    """Says of every pixel what its own colour says, so turning the image turns the map and changes nothing else."""

    scale, multiple = 1.0, 1

    def predict(self, x):
        p = 1 / (1 + np.exp(-x[:, 0]))
        return Prediction(np.array([[0.3, 0.7]]), p, p, ())


def test_turns_and_flips_are_the_eight_symmetries_and_undone_in_order():
    image = RNG(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    turned = [t(image) for t, _ in _SYMMETRIES]
    assert len({t.tobytes() + bytes(t.shape) for t in turned}) == 8
    for t, (_, back) in zip(turned, _SYMMETRIES, strict=True):
        assert np.array_equal(back(t[None, ..., 0])[0], image[..., 0])
    sample = Sample("a", image, np.zeros((5, 7), np.int32), False)
    for name in ("p_gland", "f"):
        once, averaged = (getattr(predict(Pointwise(), sample, tta), name) for tta in (False, True))
        np.testing.assert_allclose(averaged, once, rtol=1e-5)


def test_an_image_is_continued_by_its_reflection():
    x = np.arange(12.0).reshape(1, 1, 3, 4)
    assert reflected(x, 5, 6)[0, 0].tolist() == [
        [0, 1, 2, 3, 2, 1], [4, 5, 6, 7, 6, 5], [8, 9, 10, 11, 10, 9], [4, 5, 6, 7, 6, 5], [0, 1, 2, 3, 2, 1],
    ]  # fmt: skip
    net, image = MultiLoss(width=1, seed=1), RNG(1).standard_normal((1, 3, 40, 50)).astype(np.float32)
    whole = net.forward(np.pad(image, [(0, 0), (0, 0), (0, 24), (0, 14)], mode="reflect"))
    np.testing.assert_allclose(net.predict(image).f, whole.f[:, :40, :50], atol=1e-6)


# Pools and f: of equals, the first.


@pytest.mark.parametrize("k", [2, 3])  # the fast path, and the one for all windows
def test_of_equal_elements_the_first_gets_dy(k):
    layer = layers.MaxPool2d(k)
    for pattern in itertools.product((0.0, 1.0), repeat=4):
        x = np.full((1, 1, k, k), -1.0)
        x[0, 0, :2, :2] = np.reshape(pattern, (2, 2))
        dx = layer.input_grad(np.ones((1, 1, 1, 1)), layer.forward(x)[1])
        assert np.flatnonzero(dx[0, 0, :2, :2]).tolist() == [pattern.index(max(pattern))]


@host_and_device
def test_of_equal_maxima_in_f_the_first_pays(there):
    c = np.array([[[[1.0, 2.0], [2.0, 2.0]]]])
    peak = prior._peak(there(c))
    assert backend.to_host(peak).tolist() == [1]
    dc = backend.to_host(prior._normalise_grad(there(np.ones_like(c)), there(c), peak))
    np.testing.assert_allclose(dc, [[[[0.5, 0.5 - 3.5 / 2], [0.5, 0.5]]]])
    many = np.full((1, 1, 20, 30), 2.0)  # more than a block has threads: each of them meets equals too
    many[0, 0, 0, 0] = 1.0
    assert backend.to_host(prior._peak(there(many))).tolist() == [1]


def test_padding_is_more_than_half_by_the_smaller_side():
    layers.MaxPool2d((4, 4), pad=2)
    with pytest.raises(ValueError, match="more than half the window"):
        layers.MaxPool2d((2, 4), pad=2)


# Losses and scores.


@host_and_device
def test_the_class_loss_is_a_mean_over_images_not_over_classes(there):
    logits, label = RNG(2).standard_normal((3, 2)), np.array([0, 1, 1])
    by_hand = np.mean([np.log(np.exp(a).sum()) - a[l] for a, l in zip(logits, label, strict=True)])
    assert float(backend.to_host(loss.class_loss(there(logits), there(label)))) == pytest.approx(by_hand)
    da = backend.to_host(loss.class_loss_grad(there(logits), there(label)))
    np.testing.assert_allclose(da, (np.exp(logits) / np.exp(logits).sum(1, keepdims=True) - np.eye(2)[label]) / 3)


@host_and_device
def test_large_logits_do_not_overflow(there):
    x = np.array([[1000.0, 999.0, -1000.0]], np.float32).reshape(1, 3, 1, 1)
    q, log_q = (backend.to_host(f(there(x))).ravel() for f in (ops.softmax, ops.log_softmax))
    np.testing.assert_allclose(q, [0.7310586, 0.26894143, 0], rtol=1e-5)
    np.testing.assert_allclose(log_q, [-0.31326166, -1.3132616, -2000.3132], rtol=1e-5)


def test_the_margin_of_three_classes_is_against_the_mean_of_the_others():
    a, l = np.array([[1.0, 2.0, 4.0]]), np.array([2])
    assert prior.margin_score_grad(a, l).tolist() == [[-0.5, -0.5, 1.0]]


def test_where_f_vanishes_on_all_glands_they_weigh_one():
    s, mask, f = RNG(3).standard_normal((1, 2, 3, 3)), np.eye(3)[None], 1 - np.eye(3)[None]
    plain = loss.weight_loss(s, mask, np.ones_like(mask))
    assert loss.balanced_weight_loss(s, mask, f) == pytest.approx(plain)
    ds, df = loss.balanced_weight_loss_grad(s, mask, f)
    np.testing.assert_allclose(ds, loss.weight_loss_grad(s, mask, np.ones_like(mask))[0])
    assert not df.any()


def test_while_training_the_true_class_is_differentiated_not_the_predicted_one():
    net, x = MultiLoss(width=2, seed=1, dtype=float), RNG(4).standard_normal((2, 3, 32, 32))
    predicted = net.forward(x)
    true = net.forward(x, 1 - predicted.label)
    assert predicted.label.tolist() == predicted.logits.argmax(axis=1).tolist()
    assert np.abs(true.f - predicted.f).max() > 0.1
    np.testing.assert_array_equal(true.label, 1 - predicted.label)


# On the device.


@host_and_device
def test_a_strided_and_dilated_convolutions_adjoint(there):
    geo = ops.Geometry(stride=3, dilation=2)
    dy, w = RNG(5).standard_normal((1, 3, 3, 3)), RNG(6).standard_normal((3, 4, 3, 3))
    assert_close(ops.conv_x(there(dy), there(w), geo, (12, 12)), ops.conv_x(dy, w, geo, (12, 12)))


@host_and_device
def test_a_small_gradient_is_straightened_like_a_large_one(there):
    g, places = RNG(7).standard_normal(12 * 5), (Matrix(12, 5, 0),)
    small, large = (backend.to_host(solver.straighten(there(g * s), places, solver.POLYNOMIAL)) for s in (1e-9, 1.0))
    np.testing.assert_allclose(small, large, rtol=1e-9)


@host_and_device
def test_a_tie_is_tallied_as_background(there):
    s, mask = np.zeros((1, 2, 2, 2)), np.array([[[1.0, 0.0], [0.0, 0.0]]])
    one = there(np.array(1.0))
    losses = SimpleNamespace(total=one, loss_class=None, loss_segmentation=one, logits=None, seg_logits=there(s))
    totals = there(np.zeros(7))
    ops.tally(totals, losses, there(mask), there(np.array([0])))
    assert backend.to_host(totals)[4] == 0.75


# Measures.


def test_an_interval_of_95_percent_leaves_out_two_and_a_half_at_each_end():
    # eight fields, half of them right: of all bootstrap samples 3.5 % have at most one right, 0.4 % none
    rows = [{"visual_field": k, "malignant": False, "class_correct": k % 2 == 0} for k in range(8)]
    found = scores.estimate(rows, scores.COLUMNS[0])
    assert (found.value, found.low, found.high) == (50, 12.5, 87.5)


def test_two_empty_masks_agree_and_one_gland_counts_once():
    empty = np.zeros((4, 6), int)
    assert metrics.dice(empty, empty) == 1 and metrics.object_f1(metrics.compare_objects(empty, empty)) == 1
    truth, halves = empty.copy(), empty.copy()
    truth[1:3, 1:5], halves[1:3, 1:3], halves[1:3, 3:5] = 1, 1, 2
    found = metrics.compare_objects(halves, truth)
    assert (found.true_positives, found.false_positives, found.false_negatives) == (0, 2, 1)


@pytest.mark.parametrize("side", range(4))
def test_what_meets_a_border_is_no_hole(side):
    mask = np.ones((5, 6), bool)
    mask[2, 2] = False  # a hole
    mask[[(0, 2), (4, 2), (2, 0), (2, 5)][side]] = False  # a bay
    filled = glands.fill_holes(mask, 3)
    assert filled[2, 2] and filled.sum() == 29


# Checkpoints.


@pytest.fixture
def run(tmp_path):
    parameters = {"a.w": np.arange(4.0), "b.w": np.arange(4.0) + 1}
    checkpoint.save(tmp_path / "last.npz", parameters, {"step": 1})
    return tmp_path / "last.npz"


def rewritten(path, change):
    with np.load(path) as file:
        contents = {name: file[name] for name in file.files}
    change(contents)
    np.savez(path, **contents)


def test_a_checkpoint_without_its_checksum_is_refused(run):
    rewritten(run, lambda contents: contents.pop("sha256"))
    with pytest.raises(InputError, match="checksum"):
        checkpoint.load(run)


def test_the_checksum_knows_names_too(run):
    rewritten(run, lambda contents: contents.update({"parameter/a.v": contents.pop("parameter/a.w")}))
    with pytest.raises(InputError, match="checksum"):
        checkpoint.load(run)


def test_best_falls_back_to_last_but_last_to_nothing(tiny_run, tmp_path):
    copied = shutil.copytree(tiny_run, tmp_path / "run")
    (copied / "last.npz").unlink()
    checkpoint.load_network(copied, "best")
    with pytest.raises(InputError, match=r"last\.npz does not exist"):
        checkpoint.load_network(copied, "last")


# How layers start, and dropout.


@pytest.mark.parametrize(
    ("layer", "fan_in"),
    [
        (layers.Conv2d(40, 60, 5, rng=RNG(8)), 40 * 25),
        (layers.Conv2d(40, 60, 5, groups=4, rng=RNG(8)), 10 * 25),
        (layers.Deconv2d(80, 60, 4, stride=2, rng=RNG(8)), 80 * 4),
        (layers.Linear(300, 200, rng=RNG(8)), 300),
    ],
)
def test_weights_start_with_hes_deviation(layer, fan_in):
    assert layer.w.std() == pytest.approx(np.sqrt(2 / fan_in), rel=0.02) and not layer.b.any()


def test_every_image_of_a_batch_has_its_own_dropout():
    layer = layers.Dropout(0.5)
    layer.rng = RNG(9)
    y, _ = layer.forward(np.ones((3, 200)))
    assert len({image.tobytes() for image in y}) == 3 and set(np.unique(y)) == {0, 2}


def test_u_net_drops_at_the_end_of_its_last_two_levels():
    assert [level.drop.rate for level in UNet(2).down] == [0, 0, 0, 0.5, 0.5]
    net, x = UNet(4, dtype=float), RNG(10).standard_normal((1, 3, 32, 32))
    _, passed = net.forward(x, RNG(11))
    assert [cache.drop.mask is not None for cache in passed.down] == [False, False, False, True, True]


# Solvers.


def test_the_cosine_falls_to_nothing_along_half_a_period():
    rates = [solver.learning_rate(k, 100, 1.0) for k in (0, 25, 50, 75, 99)]
    assert rates == pytest.approx([1, 0.8535534, 0.5, 0.1464466, 0.0002467], abs=1e-6)


@pytest.mark.parametrize("kind", solver.SOLVERS.values())
def test_clipping_does_not_touch_the_decay(kind):
    """Where the gradient is 0, a step is the decay's alone, however much is clipped elsewhere."""
    moved = []
    for clip in (None, 1e-3):
        net = MultiLoss("class", 2, dtype=float)
        net.flat_grad[...] = 0
        net.flat_grad[-1] = 1e3
        before = net.flat.copy()
        kind(net, 0.0, 0.5, clip).step(0.1)
        moved.append((net.flat - before)[:-1])
    assert np.abs(moved[0]).max() > 0
    np.testing.assert_allclose(*moved, rtol=1e-6, atol=1e-15)


# Augmentation.


def test_stain_jitter_takes_black_for_almost_black():
    black, almost = np.zeros((2, 2, 3), np.float32), np.ones((2, 2, 3), np.float32)
    found, same = (jitter_stain(image, RNG(12), Recipe(stain=0.2)) for image in (black, almost))
    assert np.isfinite(found).all() and found.max() < 40
    np.testing.assert_array_equal(found, same)


def test_an_image_is_made_input_by_its_own_colours_after_resizing():
    image = RNG(13).integers(0, 256, (20, 20, 3)).astype(np.uint8)
    sample = resize(Sample("a", image, np.zeros((20, 20), np.int32), False), 0.5)
    x = to_input([sample.image])
    assert x.shape == (1, 3, 10, 10) and np.abs(x.mean(axis=(2, 3))).max() < 1e-3
