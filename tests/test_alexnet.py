"""AlexNet: the published shapes, every gradient against complex step and PyTorch, dropout, prediction on any size."""

import numpy as np
import pytest

from gland.gradcheck import STEP
from gland.layers import Dropout, LocalResponseNorm, MaxPool2d
from gland.loss import class_loss
from gland.networks import Architecture, build
from gland.networks.alexnet import AlexNet, _starts


@pytest.fixture(scope="module")
def batch():
    """Two 67 x 67 images, the smallest size at which every convolution has more than one output, and their classes."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((2, 3, 67, 67)), np.array([0, 1])


def small(seed=1, layer_norm=None):
    net = AlexNet(width=6, size=67, seed=seed, dtype=np.float64)
    rng = np.random.default_rng(seed + 1)
    for name, value in net.parameters().items():
        if name.endswith(".b"):
            value[...] = 0.1 * rng.standard_normal(value.shape)  # away from 0, or no bias could be wrong
    for name in ("norm1", "norm2"):
        net.layers[name] = layer_norm or LocalResponseNorm(alpha=0.05, k=1.0)  # strong enough to matter
    return net


def complex_step_error(net, batch, seed=3):
    """The worst relative error of dL/dw over all parameter tensors, each moved along one random direction."""
    x, malignant = batch
    net.zero_grad()
    net.set_rng(np.random.default_rng(7))
    net.class_loss_and_grad(x, malignant)
    analytic = {name: value.copy() for name, value in net.gradients().items()}
    net.flatten(dtype=np.complex128)
    rng, worst = np.random.default_rng(seed), 0.0
    for name, value in net.parameters().items():
        direction = rng.standard_normal(value.shape)
        value += 1j * STEP * direction
        logits, _ = net.forward(x.astype(complex), np.random.default_rng(7))
        moved = class_loss(logits, malignant).imag / STEP
        value -= 1j * STEP * direction
        expected = (analytic[name] * direction).sum()
        worst = max(worst, abs(moved - expected) / (np.linalg.norm(analytic[name]) * np.linalg.norm(direction)))
    return worst


def test_shapes_and_parameter_counts_are_the_published_ones():
    net = AlexNet()
    shapes = {name: value.shape for name, value in net.parameters().items() if name.endswith(".w")}
    assert shapes == {
        "conv1.w": (96, 3, 11, 11),
        "conv2.w": (256, 48, 5, 5),
        "conv3.w": (384, 256, 3, 3),
        "conv4.w": (384, 192, 3, 3),
        "conv5.w": (256, 192, 3, 3),
        "fc6.w": (4096, 9216),
        "fc7.w": (4096, 4096),
        "fc8.w": (2, 4096),
    }
    # the published network has 60,965,224 parameters with 1000 classes
    assert net.flat.size == 60_965_224 - 998 * 4097


@pytest.mark.parametrize("size", [224, 227])
def test_both_input_sizes_give_the_published_map_sizes(size):
    net = AlexNet(width=6, size=size)
    y, seen = np.zeros((1, 3, size, size), np.float32), {}
    for name, layer in net.layers.items():
        y, _ = layer.forward(y)
        seen[name] = y.shape[2:]
    assert [seen[k][0] for k in ("conv1", "pool1", "conv2", "pool2", "conv5", "pool5")] == [55, 27, 27, 13, 13, 6]


def test_normalisation_and_pools_are_as_published():
    layers = AlexNet(width=6, size=67).layers
    norms = [layer for layer in layers.values() if isinstance(layer, LocalResponseNorm)]
    pools = [layer for layer in layers.values() if isinstance(layer, MaxPool2d)]
    assert {(n.n, n.alpha, n.beta, n.k) for n in norms} == {(5, 1e-4, 0.75, 2.0)}
    assert {(p.kernel_size, p.stride) for p in pools} == {((3, 3), 2)}  # windows of 3, 2 apart: they overlap


def test_every_gradient_matches_complex_step(batch):
    assert complex_step_error(small(), batch) < 1e-11


class NormWithoutNeighbours(LocalResponseNorm):
    """A planted mistake: only the diagonal of the normalisation's derivative."""

    def input_grad(self, dy, cache):
        return dy * cache.s**-self.beta

    backward = input_grad


def test_a_wrong_normalisation_gradient_is_caught(batch):
    assert complex_step_error(small(layer_norm=NormWithoutNeighbours(alpha=0.05, k=1.0)), batch) > 1e-4


def test_a_dropout_mask_that_backward_forgets_is_caught(batch, monkeypatch):
    monkeypatch.setattr(Dropout, "backward", lambda self, dy, cache: dy)
    assert complex_step_error(small(), batch) > 1e-4


def test_pytorch_agrees(batch):
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    x, malignant = batch
    net = small()
    for name in ("norm1", "norm2"):
        net.layers[name] = LocalResponseNorm()
    losses = net.class_loss_and_grad(x, malignant)
    w = {name: torch.tensor(value.copy(), requires_grad=True) for name, value in net.parameters().items()}

    def conv(y, name, **geometry):
        return F.relu(F.conv2d(y, w[f"{name}.w"], w[f"{name}.b"], **geometry))

    def norm(y):
        return F.local_response_norm(y, 5, alpha=5e-4, beta=0.75, k=2.0)

    y = F.max_pool2d(norm(conv(torch.tensor(x), "conv1", stride=4)), 3, 2)
    y = F.max_pool2d(norm(conv(y, "conv2", padding=2, groups=2)), 3, 2)
    y = conv(conv(y, "conv3", padding=1), "conv4", padding=1, groups=2)
    y = F.max_pool2d(conv(y, "conv5", padding=1, groups=2), 3, 2).flatten(1)
    for name in ("fc6", "fc7"):
        y = F.relu(F.linear(y, w[f"{name}.w"], w[f"{name}.b"]))
    y = F.linear(y, w["fc8.w"], w["fc8.b"])
    F.cross_entropy(y, torch.tensor(malignant)).backward()
    np.testing.assert_allclose(losses.logits, y.detach().numpy(), rtol=1e-11)
    for name, gradient in net.gradients().items():
        np.testing.assert_allclose(gradient, w[name].grad.numpy(), rtol=1e-8, atol=1e-13, err_msg=name)


def test_dropout_repeats_with_its_generator_and_stays_out_of_predict(batch):
    x, malignant = batch
    net = small()

    def logits(seed):
        net.set_rng(None if seed is None else np.random.default_rng(seed))
        return net.loss_and_grad(x, None, malignant).logits

    assert (logits(5) == logits(5)).all()
    assert (logits(5) != logits(6)).any() and (logits(5) != logits(None)).any()
    net.set_rng(np.random.default_rng(5))
    first = net.predict(x).q
    net.set_rng(None)
    assert (first == net.predict(x).q).all()


def test_gradients_add_and_arguments_stay(batch):
    x, malignant = batch
    kept, net = x.copy(), small()
    net.class_loss_and_grad(x, malignant)
    once = net.flat_grad.copy()
    net.class_loss_and_grad(x, malignant)
    np.testing.assert_allclose(net.flat_grad, 2 * once, rtol=1e-12)
    assert (x == kept).all()


def test_same_seed_same_bits():
    assert (AlexNet(6, 67, seed=4).flat == AlexNet(6, 67, seed=4).flat).all()
    assert (AlexNet(6, 67, seed=4).flat != AlexNet(6, 67, seed=5).flat).any()


def test_predict_averages_the_scores_of_the_covering_windows(batch):
    net = small()
    image = np.random.default_rng(2).standard_normal((1, 3, 67, 100))
    sides = [net.predict(np.ascontiguousarray(image[..., j : j + 67])).q for j in (0, 33)]
    np.testing.assert_allclose(net.predict(image).q, (sides[0] + sides[1]) / 2, rtol=1e-12)


@pytest.mark.parametrize("shape", [(1, 1), (30, 67), (68, 150), (300, 299)])
def test_predict_takes_any_size(shape):
    prediction = AlexNet(6, 67).predict(np.zeros((2, 3, *shape), np.float32))
    np.testing.assert_allclose(prediction.q.sum(axis=1), 1, rtol=1e-6)
    assert prediction.q.shape == (2, 2) and prediction.p_gland is None


def test_windows_cover_the_image_evenly():
    assert _starts(500, 224) == [0, 138, 276] and _starts(224, 224) == [0] and _starts(225, 224) == [0, 1]


def test_it_learns_two_colours():
    """Ten plain gradient steps halve the loss on images that differ in colour alone."""
    rng, net = np.random.default_rng(0), AlexNet(12, 67)
    malignant = np.array([0, 1] * 4)
    x = (rng.standard_normal((8, 3, 67, 67)) + 2 * malignant[:, None, None, None]).astype(np.float32)
    losses = []
    for _ in range(10):
        net.zero_grad()
        losses.append(float(net.loss_and_grad(x, None, malignant).total))
        net.flat -= 0.02 * net.flat_grad
    assert losses[-1] < losses[0] / 2


def test_sizes_that_cannot_work_are_refused():
    with pytest.raises(ValueError, match="multiple of 6"):
        AlexNet(width=16)
    with pytest.raises(ValueError, match="64 or more"):
        AlexNet(width=6, size=63)


def test_build_knows_it():
    net = build(Architecture(network="alexnet", width=6, crop=96, seed=3))
    assert (net.flat == AlexNet(6, 96, seed=3).flat).all()
