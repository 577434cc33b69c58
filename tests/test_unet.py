"""U-Net: the published shapes, every gradient against complex step and PyTorch, dropout, prediction on any size."""

import numpy as np
import pytest

from gland.gradcheck import STEP
from gland.layers import Dropout, MaxPool2d
from gland.loss import soft_target_loss
from gland.networks import Architecture, build
from gland.networks import unet as module
from gland.networks.base import Objective
from gland.networks.unet import UNet


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    return rng.standard_normal((2, 3, 32, 16)), (rng.random((2, 32, 16)) < 0.5).astype(float)


def small(seed=1):
    net = UNet(width=2, seed=seed, dtype=np.float64)
    rng = np.random.default_rng(seed + 1)
    for name, value in net.parameters().items():
        if name.endswith(".b"):
            value[...] = 0.1 * rng.standard_normal(value.shape)  # away from 0, or no bias could be wrong
    return net


def complex_step_error(net, batch, seed=3):
    """The worst relative error of dL/dw over all parameter tensors, each moved along one random direction."""
    x, mask = batch
    net.zero_grad()
    net.set_rng(np.random.default_rng(7))
    net.loss_and_grad(x, mask, None)
    analytic = {name: value.copy() for name, value in net.gradients().items()}
    net.flatten(dtype=np.complex128)
    rng, worst = np.random.default_rng(seed), 0.0
    for name, value in net.parameters().items():
        direction = rng.standard_normal(value.shape)
        value += 1j * STEP * direction
        logits, _ = net.forward(x.astype(complex), np.random.default_rng(7))
        moved = soft_target_loss(logits, mask, mask * 0 + 1).imag / STEP
        value -= 1j * STEP * direction
        expected = (analytic[name] * direction).sum()
        worst = max(worst, abs(moved - expected) / (np.linalg.norm(analytic[name]) * np.linalg.norm(direction)))
    return worst


def test_shapes_are_the_published_ones_with_width_64():
    # Ronneberger et al. 2015, figure 1, with 3 input channels; 23 convolutional layers, as its text counts them
    weights = {
        k: v.shape for k, v in build(Architecture(network="unet", width=64)).parameters().items() if k[-1] == "w"
    }
    assert len(weights) == 23
    assert [weights[f"down{k}.conv2.w"][:2] for k in range(1, 6)] == [(c, c) for c in (64, 128, 256, 512, 1024)]
    assert [weights[f"up{k}.deconv.w"] for k in (4, 1)] == [(1024, 512, 2, 2), (128, 64, 2, 2)]
    assert [weights[f"up{k}.conv1.w"] for k in (4, 1)] == [(512, 1024, 3, 3), (64, 128, 3, 3)]
    assert weights["score.w"] == (2, 64, 1, 1)


def test_every_gradient_matches_complex_step(batch):
    assert complex_step_error(small(), batch) < 1e-11


def test_a_dropout_mask_that_backward_forgets_is_caught(batch, monkeypatch):
    monkeypatch.setattr(Dropout, "backward", lambda self, dy, cache: dy)
    assert complex_step_error(small(), batch) > 1e-4


def test_a_skip_connection_that_backward_forgets_is_caught(batch, monkeypatch):
    split = module.ops.split
    monkeypatch.setattr(module.ops, "split", lambda x, sizes: [0 * split(x, sizes)[0], split(x, sizes)[1]])
    assert complex_step_error(small(), batch) > 1e-4


def test_pieces_joined_in_the_wrong_order_backward_are_caught(batch, monkeypatch):
    split = module.ops.split
    monkeypatch.setattr(module.ops, "split", lambda x, sizes: split(x, sizes)[::-1])
    assert complex_step_error(small(), batch) > 1e-4


def test_a_pool_that_forgets_its_argmax_is_caught(batch, monkeypatch):
    monkeypatch.setattr(
        MaxPool2d, "backward", lambda self, dy, cache: self.input_grad(dy, cache._replace(argmax=0 * cache.argmax))
    )
    assert complex_step_error(small(), batch) > 1e-4


def test_pytorch_agrees(batch):
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    x, mask = batch
    net = small()
    losses = net.loss_and_grad(x, mask, None)
    w = {name: torch.tensor(value.copy(), requires_grad=True) for name, value in net.parameters().items()}

    def level(y, name):
        for k in (1, 2):
            y = F.relu(F.conv2d(y, w[f"{name}.conv{k}.w"], w[f"{name}.conv{k}.b"], padding=1))
        return y

    features = [level(torch.tensor(x), "down1")]
    for k in range(2, 6):
        features.append(level(F.max_pool2d(features[-1], 2), f"down{k}"))
    y = features[4]
    for k in range(4, 0, -1):
        y = F.conv_transpose2d(y, w[f"up{k}.deconv.w"], w[f"up{k}.deconv.b"], stride=2)
        y = level(torch.cat([features[k - 1], y], 1), f"up{k}")
    y = F.conv2d(y, w["score.w"], w["score.b"])
    F.cross_entropy(y, torch.tensor(1 - mask).long()).backward()  # channel 0 is gland
    np.testing.assert_allclose(losses.seg_logits, y.detach().numpy(), rtol=1e-9, atol=1e-11)
    for name, gradient in net.gradients().items():
        np.testing.assert_allclose(gradient, w[name].grad.numpy(), rtol=1e-8, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("reading", ["weight", "soft-target"])
def test_all_readings_of_eq4_are_one_without_a_prior(batch, reading):
    x, mask = batch
    a, b = small(), small()
    loss_a = a.loss_and_grad(x, mask, None).total
    loss_b = b.loss_and_grad(x, mask, None, Objective(reading=reading)).total
    assert loss_a == pytest.approx(loss_b, rel=1e-13)
    np.testing.assert_allclose(a.flat_grad, b.flat_grad, rtol=1e-11, atol=1e-16)


def test_dropout_repeats_with_its_generator_and_stays_out_of_predict(batch):
    x, mask = batch
    net = small()

    def logits(seed):
        net.set_rng(None if seed is None else np.random.default_rng(seed))
        return net.loss_and_grad(x, mask, None).seg_logits

    assert (logits(5) == logits(5)).all()
    assert (logits(5) != logits(6)).any() and (logits(5) != logits(None)).any()
    net.set_rng(np.random.default_rng(5))
    first = net.predict(x).p_gland
    net.set_rng(None)
    assert (first == net.predict(x).p_gland).all()


def test_gradients_add_and_arguments_stay(batch):
    x, mask = batch
    kept, net = (x.copy(), mask.copy()), small()
    net.loss_and_grad(x, mask, None)
    once = net.flat_grad.copy()
    net.loss_and_grad(x, mask, None)
    np.testing.assert_allclose(net.flat_grad, 2 * once, rtol=1e-12)
    assert (x == kept[0]).all() and (mask == kept[1]).all()


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (17, 31), (40, 5)])
def test_predict_takes_any_size(shape):
    prediction = UNet(2).predict(np.random.default_rng(0).standard_normal((2, 3, *shape)).astype(np.float32))
    assert prediction.p_gland.shape == (2, *shape) and prediction.q is None
    assert ((prediction.p_gland >= 0) & (prediction.p_gland <= 1)).all()


def test_it_learns_to_tell_bright_from_dark():
    rng, net = np.random.default_rng(0), UNet(4)
    mask = (rng.random((2, 8, 8)) < 0.5).repeat(4, axis=1).repeat(4, axis=2).astype(np.float32)
    x = (0.3 * rng.standard_normal((2, 3, 32, 32)) + 2 * mask[:, None] - 1).astype(np.float32)
    losses = []
    for _ in range(60):
        net.zero_grad()
        losses.append(float(net.loss_and_grad(x, mask, None).total))
        net.flat -= 0.2 * net.flat_grad
    assert losses[-1] < losses[0] / 2


def test_same_seed_same_bits():
    assert (UNet(2, seed=4).flat == UNet(2, seed=4).flat).all()
    assert (UNet(2, seed=4).flat != UNet(2, seed=5).flat).any()
