"""Where numbers end: sure classifiers, masks of any kind, NaN, and inputs smaller than a window."""

import numpy as np
import pytest
from places import everywhere

from gland import backend, layers, loss, ops, prior
from gland.networks import MultiLoss, Objective

RNG = np.random.default_rng


@pytest.fixture(params=[False, True], ids=["host", "plain"])
def plainly(request):
    ops.use_plain(request.param)
    yield
    ops.use_plain(False)


def exact_gradient(margin, dtype, eq3_of):
    """dL_s/dw by way of f alone, of a network whose class scores are as sure as the margin says."""
    net = MultiLoss(width=2, seed=1, eq3_of=eq3_of, dtype=dtype)
    x = RNG(0).standard_normal((1, 3, 32, 32)).astype(dtype)
    net.classifier.head.b[...] = np.array([margin, -margin]) / 2
    net.zero_grad()
    mask = (RNG(1).random((1, 32, 32)) < 0.5).astype(dtype)
    with np.errstate(all="ignore"):
        net.loss_and_grad(x, mask, np.array([0]), Objective(0.0, "soft-target", "exact"))
    return net.flat_grad.astype(float)


@pytest.mark.parametrize(
    ("dtype", "margins", "most"), [(np.float32, (0.5, 40, 80), 2e-3), (np.float64, (0.5, 370, 700), 1e-9)]
)
def test_a_sure_classifiers_exact_gradient_is_that_of_the_margin(dtype, margins, most):
    for margin in margins:
        literal, of_margin = (exact_gradient(margin, dtype, score) for score in ("probability", "margin"))
        assert np.isfinite(literal).all()
        assert np.abs(literal - of_margin).max() <= most * np.abs(of_margin).max(), margin


@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_square_of_the_maximum_that_underflows_is_caught(monkeypatch):
    def squared(dn, c, peak):
        m = prior._peak_value(c, peak)
        dc = (dn / m).reshape(len(c), -1)
        dc[np.arange(len(c)), peak] -= (dn * c).sum(axis=(1, 2, 3)) / m[:, 0, 0, 0] ** 2
        return dc.reshape(c.shape)

    monkeypatch.setattr(prior, "_normalise_grad", squared)
    with pytest.raises(AssertionError):
        test_a_sure_classifiers_exact_gradient_is_that_of_the_margin(np.float32, (80,), 2e-3)


LOGITS, MASK, F = RNG(2).standard_normal((2, 2, 5, 4)), (RNG(3).random((2, 5, 4)) < 0.5) * 1.0, RNG(4).random((2, 5, 4))


@pytest.mark.parametrize("reading", loss.SEGMENTATION_LOSSES)
@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64, np.float32])
def test_a_mask_may_be_of_any_kind(reading, kind):
    value, grad = loss.SEGMENTATION_LOSSES[reading]
    assert value(LOGITS, MASK.astype(kind), F) == pytest.approx(value(LOGITS, MASK, F), rel=1e-12)
    for d, expected in zip(grad(LOGITS, MASK.astype(kind), F), grad(LOGITS, MASK, F), strict=True):
        np.testing.assert_allclose(d, expected, rtol=1e-12)


@pytest.mark.parametrize("reading", loss.SEGMENTATION_LOSSES)
@pytest.mark.parametrize("wrong", [MASK * 255, MASK - 1, np.where(MASK > 0, np.nan, 0), MASK[:1], MASK / 2])
def test_what_is_no_mask_is_one_sentence(reading, wrong):
    for function in loss.SEGMENTATION_LOSSES[reading]:
        with pytest.raises(ValueError, match="mask"):
            function(LOGITS, wrong, F)


@pytest.mark.parametrize("label", [[0, 2], [-1, 0], [0.5, 1], [True, False], [0]])
def test_what_is_no_label_is_one_sentence(label):
    logits, label = RNG(5).standard_normal((2, 2)), np.array(label)
    for function in (loss.class_loss, loss.class_loss_grad):
        if label.dtype == bool:  # as good as 0 and 1
            np.testing.assert_array_equal(function(logits, label), function(logits, label.astype(int)))
        else:
            with pytest.raises(ValueError, match="label"):
                function(logits, label)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
@pytest.mark.parametrize(("kernel_size", "stride", "pad"), [((2, 2), 2, 0), ((3, 3), 2, 1)])
def test_a_nan_comes_out_of_a_max_pool(plainly, dtype, kernel_size, stride, pad):
    x = RNG(6).standard_normal((1, 2, 6, 6)).astype(dtype)
    for place in np.ndindex(6, 6):
        holed = x.copy()
        holed[0, 0][place] = np.nan
        y, _ = ops.max_pool(holed, kernel_size, stride, pad, False)
        seen, _ = ops.max_pool(np.isnan(holed).astype(float), kernel_size, stride, pad, False)
        assert np.array_equal(np.isnan(y), seen > 0), place


@everywhere
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_nan_comes_out_of_a_max_pool_on_the_device(there, dtype):
    x = RNG(6).standard_normal((1, 2, 6, 6)).astype(dtype)
    x[0, 0, 2, 3] = x[0, 1, 5, 5] = np.nan
    on_device, on_host = (ops.max_pool(a, (3, 3), 2, 1, False)[0] for a in (there(x), x))
    assert np.array_equal(backend.to_host(on_device), on_host, equal_nan=True) and np.isnan(on_host).any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_a_rectifier_of_minus_infinity_is_zero_and_of_nan_is_nan(plainly, dtype):
    x = np.array([[-np.inf, np.nan, -1, 2]], dtype)
    assert np.array_equal(ops.relu(x), np.array([[0, np.nan, 0, 2]], dtype), equal_nan=True)


def small(layer, shape):
    return pytest.param(layer, shape, id=f"{type(layer).__name__} {shape}")


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        small(layers.Conv2d(1, 1, 3, rng=RNG(0)), (1, 1, 2, 5)),
        small(layers.Conv2d(1, 1, 3, dilation=3, pad=1, rng=RNG(0)), (1, 1, 9, 4)),
        small(layers.ConvReLU(1, 1, (1, 4), rng=RNG(0)), (1, 1, 3, 3)),
        small(layers.Deconv2d(1, 1, 2, pad=2, rng=RNG(0)), (1, 1, 2, 3)),
        small(layers.MaxPool2d(3), (1, 1, 2, 5)),
        small(layers.MaxPool2d(2, 2), (1, 1, 1, 1)),
        small(layers.MaxPool2d(4, 1), (1, 1, 1, 9)),
        small(layers.AvgPool2d(3), (1, 1, 2, 5)),
    ],
)
def test_an_input_smaller_than_a_window_names_both_sizes(plainly, layer, shape):
    with pytest.raises(ValueError, match=rf"{shape[2]} x {shape[3]}.*window"):
        layer.forward(np.ones(shape, np.float32))
