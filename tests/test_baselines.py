"""AlexNet and U-Net: the published shapes, every gradient by the complex step, dropout, learning, AlexNet's windows.

PyTorch's gradients and predictions are compared in test_benchmarks.py.
"""

import numpy as np
import pytest
from made import awake

from gland import ops
from gland.gradcheck import check_parameters
from gland.layers import Dropout, LocalResponseNorm, MaxPool2d
from gland.networks import AlexNet, Objective, UNet
from gland.networks.alexnet import _starts

RNG = np.random.default_rng(0)
# the smallest side at which every convolution of AlexNet has more than one output
X, MASK, LABEL = RNG.standard_normal((2, 3, 67, 67)), (RNG.random((2, 67, 67)) < 0.5) * 1.0, np.array([0, 1])


def alexnet():
    net = awake(AlexNet(6, 67, 1, np.float64))
    net.layers |= {name: LocalResponseNorm(alpha=0.05, k=1.0) for name in ("norm1", "norm2")}  # strong enough to matter
    return net


def unet():
    return awake(UNet(2, 1, np.float64))


def step(net, seed=7, reading="balanced-weight"):
    """The losses of one batch, their gradient added. seed: of the dropout, None leaves it out."""
    h, w = (67, 67) if net.kind == "class" else (32, 16)
    net.set_rng(None if seed is None else np.random.default_rng(seed))
    x, mask = (a[..., :h, :w].astype(net.flat.dtype) for a in (X, MASK))
    return net.loss_and_grad(x, mask, LABEL, Objective(reading=reading))


def gradients(net):
    return check_parameters(lambda net: step(net).total, net, elements=1)


def test_alexnets_shapes_and_its_number_of_parameters_are_the_published_ones():
    net = AlexNet()
    assert {name: value.shape for name, value in net.parameters().items() if name.endswith(".w")} == {
        "conv1.w": (96, 3, 11, 11), "conv2.w": (256, 48, 5, 5), "conv3.w": (384, 256, 3, 3),
        "conv4.w": (384, 192, 3, 3), "conv5.w": (256, 192, 3, 3),
        "fc6.w": (4096, 9216), "fc7.w": (4096, 4096), "fc8.w": (2, 4096),
    }  # fmt: skip
    # the published network has 60,965,224 parameters with 1000 classes
    assert net.flat.size == 60_965_224 - 998 * 4097


def test_unets_shapes_are_the_published_ones_with_width_64():
    # Ronneberger et al. 2015, figure 1, with 3 input channels; 23 convolutional layers, as its text counts them
    weights = {k: v.shape for k, v in UNet(64).parameters().items() if k[-1] == "w"}
    assert len(weights) == 23
    assert [weights[f"down{k}.conv2.w"][:2] for k in range(1, 6)] == [(c, c) for c in (64, 128, 256, 512, 1024)]
    assert [weights[f"up{k}.deconv.w"] for k in (4, 1)] == [(1024, 512, 2, 2), (128, 64, 2, 2)]
    assert [weights[f"up{k}.conv1.w"] for k in (4, 1)] == [(512, 1024, 3, 3), (64, 128, 3, 3)]
    assert weights["score.w"] == (2, 64, 1, 1)


@pytest.mark.parametrize("size", [224, 227])
def test_both_input_sizes_give_alexnets_published_map_sizes(size):
    y, seen = np.zeros((1, 3, size, size), np.float32), {}
    for name, layer in AlexNet(width=6, size=size).layers.items():
        y, _ = layer.forward(y)
        seen[name] = y.shape[2:]
    assert [seen[k][0] for k in ("conv1", "pool1", "conv2", "pool2", "conv5", "pool5")] == [55, 27, 27, 13, 13, 6]


def test_alexnets_normalisation_pools_and_the_order_of_its_layers_are_as_published():
    layers = AlexNet(width=6, size=67).layers
    assert " ".join(layers) == (
        "conv1 norm1 pool1 conv2 norm2 pool2 conv3 conv4 conv5 pool5 flatten fc6 relu6 drop6 fc7 relu7 drop7 fc8"
    )
    norms, pools = ([v for k, v in layers.items() if k.startswith(kind)] for kind in ("norm", "pool"))
    assert all(isinstance(n, LocalResponseNorm) for n in norms) and all(isinstance(p, MaxPool2d) for p in pools)
    assert {(n.n, n.alpha, n.beta, n.k) for n in norms} == {(5, 1e-4, 0.75, 2.0)}
    assert {(p.kernel_size, p.stride) for p in pools} == {((3, 3), 2)}  # windows of 3, 2 apart: they overlap


@pytest.mark.parametrize("make", [alexnet, unet])
def test_every_gradient_matches_complex_step(make):
    gradients(make()).assert_ok()


MISTAKES = {
    "AlexNet forgets its dropout mask": (alexnet, Dropout, "backward", lambda self, dy, cache: dy),
    "U-Net forgets its dropout mask": (unet, Dropout, "backward", lambda self, dy, cache: dy),
    "only the diagonal of the normalisation": (
        alexnet, LocalResponseNorm, "backward", lambda self, dy, cache: dy * cache.s**-self.beta,
    ),
    "no skip connection": (unet, ops, "split", lambda x, sizes: [0 * SPLIT(x, sizes)[0], SPLIT(x, sizes)[1]]),
    "pieces joined in the wrong order": (unet, ops, "split", lambda x, sizes: SPLIT(x, sizes)[::-1]),
    "a pool forgets its argmax": (
        unet, MaxPool2d, "backward", lambda self, dy, c: self.input_grad(dy, c._replace(argmax=0 * c.argmax)),
    ),
}  # fmt: skip
SPLIT = ops.split


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_backward_pass_is_caught(mistake, monkeypatch):
    make, *place = MISTAKES[mistake]
    monkeypatch.setattr(*place)
    assert gradients(make()).worst > 1e-4


@pytest.mark.parametrize("reading", ["weight", "soft-target"])
def test_all_readings_of_eq4_are_one_without_a_prior(reading):
    a, b = unet(), unet()
    assert step(a).total == pytest.approx(step(b, reading=reading).total, rel=1e-13)
    np.testing.assert_allclose(a.flat_grad, b.flat_grad, rtol=1e-11, atol=1e-16)


@pytest.mark.parametrize("make", [alexnet, unet])
def test_dropout_repeats_with_its_generator_and_stays_out_of_predict(make):
    net = make()
    five, again, six, none = (
        next(a for a in step(net, seed)[3:] if a is not None) for seed in (5, 5, 6, None)
    )  # logits
    assert (five == again).all() and (five != six).any() and (five != none).any()
    step(net, 5)
    first = net.predict(X)
    net.set_rng(None)
    assert all(np.array_equal(a, b) for a, b in zip(first, net.predict(X), strict=True) if a is not None)


def halves_its_loss(net, batch, steps, rate):
    losses = []
    for _ in range(steps):
        net.zero_grad()
        losses.append(float(net.loss_and_grad(*batch).total))
        net.flat -= rate * net.flat_grad
    return losses[-1] < losses[0] / 2


def test_alexnet_learns_two_colours():
    malignant = np.array([0, 1] * 4)
    x = np.random.default_rng(0).standard_normal((8, 3, 67, 67)) + 2 * malignant[:, None, None, None]
    assert halves_its_loss(AlexNet(12, 67), (x.astype(np.float32), None, malignant), steps=10, rate=0.02)


def test_unet_learns_to_tell_bright_from_dark():
    rng = np.random.default_rng(0)
    mask = (rng.random((2, 8, 8)) < 0.5).repeat(4, axis=1).repeat(4, axis=2).astype(np.float32)
    x = (0.3 * rng.standard_normal((2, 3, 32, 32)) + 2 * mask[:, None] - 1).astype(np.float32)
    assert halves_its_loss(UNet(4), (x, mask, None), steps=60, rate=0.2)


def test_alexnet_averages_the_scores_of_the_covering_windows():
    net, image = alexnet(), np.random.default_rng(2).standard_normal((1, 3, 67, 100))
    sides = [net.predict(np.ascontiguousarray(image[..., j : j + 67])).q for j in (0, 33)]
    np.testing.assert_allclose(net.predict(image).q, (sides[0] + sides[1]) / 2, rtol=1e-12)


def test_windows_cover_the_image_evenly():
    assert _starts(500, 224) == [0, 138, 276] and _starts(224, 224) == [0] and _starts(225, 224) == [0, 1]


@pytest.mark.parametrize(
    ("sizes", "said"), [({"width": 16}, "multiple of 6"), ({"width": 6, "size": 63}, "64 or more")]
)
def test_sizes_that_cannot_work_are_refused(sizes, said):
    with pytest.raises(ValueError, match=said):
        AlexNet(**sizes)
