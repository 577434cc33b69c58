"""Every layer: all of its passes by the complex step and by the adjoint identity, over shapes that Hypothesis chooses."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gland import layers
from gland.audit.layers import SUBJECTS
from gland.gradcheck import check_layer
from gland.ops import plain

RNG = np.random.default_rng


def proven(layer, x):
    report = check_layer(layer, x)
    report.assert_ok()
    assert report.worst <= 1e-11


@st.composite
def images(draw, smallest=1, largest=7):
    s = st.integers
    shape = draw(s(1, 2)), draw(s(1, 3)), draw(s(smallest, largest)), draw(s(smallest, largest))
    return RNG(draw(s(0, 99))).standard_normal(shape)


@given(st.data(), images(), st.integers(1, 3), st.booleans())
def test_convolutions_are_proven(data, x, o, relu):
    draw = data.draw
    kernel = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    stride, pad, dilation = draw(st.integers(1, 3)), draw(st.integers(0, 2)), draw(st.integers(1, 2))
    groups = draw(st.sampled_from([1, x.shape[1]]))
    assume(all(n + 2 * pad > dilation * (k - 1) for n, k in zip(x.shape[2:], kernel, strict=True)))
    kind = layers.ConvReLU if relu else layers.Conv2d
    layer = kind(x.shape[1], o * groups, kernel, stride, pad, dilation, groups, rng=RNG(1), dtype=float)
    layer.b[...] = RNG(2).standard_normal(layer.b.shape)
    y, _ = layer.forward(x)
    expected = plain.conv(x, layer.w, layer.b, layer.geo)
    np.testing.assert_allclose(y, np.maximum(expected, 0) if relu else expected, atol=1e-12)
    proven(layer, x)


@given(st.data(), images(largest=4), st.integers(1, 3))
def test_deconvolutions_are_proven(data, x, o):
    draw = data.draw
    kernel, stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3))), draw(st.integers(1, 3))
    pad = draw(st.integers(0, 1))
    output_pad = draw(st.integers(0, stride - 1))
    layer = layers.Deconv2d(x.shape[1], o, kernel, stride, pad, output_pad, rng=RNG(1), dtype=float)
    size = layer.output_size(x.shape[2:])
    # its adjoint, a convolution, must give back x's size, and there must be something to give
    assume(min(size) > 0 and all(n >= k - 2 * pad for n, k in zip(size, kernel, strict=True)))
    layer.b[...] = RNG(2).standard_normal(layer.b.shape)
    y, _ = layer.forward(x)
    np.testing.assert_allclose(y, plain.conv_x(x, layer.w, layer.geo, size) + layer.b[:, None, None], atol=1e-12)
    proven(layer, x)


@given(st.data(), images())
def test_pools_are_proven(data, x):
    draw = data.draw
    kernel, stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3))), draw(st.integers(1, 3))
    pad = draw(st.integers(0, min(kernel) // 2))
    assume(all(n + 2 * pad >= k for n, k in zip(x.shape[2:], kernel, strict=True)))
    ceil_mode = draw(st.booleans())
    largest, mean = layers.MaxPool2d(kernel, stride, pad, ceil_mode), layers.AvgPool2d(kernel, stride, pad)
    whole = layers.GlobalAvgPool()
    assert np.array_equal(largest.forward(x)[0], plain.max_pool(x, kernel, stride, pad, ceil_mode)[0])
    np.testing.assert_allclose(mean.forward(x)[0], plain.avg_pool(x, kernel, stride, pad), atol=1e-12)
    np.testing.assert_allclose(whole.forward(x)[0], [[c.sum() / c.size for c in image] for image in x], atol=1e-12)
    for layer in (largest, mean, whole):
        proven(layer, x)


@given(images(), st.integers(1, 9), st.integers(1, 9))
def test_upsampling_is_proven(x, oh, ow):
    bilinear, nearest = layers.UpsampleBilinear((oh, ow)), layers.UpsampleNearest((oh, ow))
    np.testing.assert_allclose(bilinear.forward(x)[0], plain.upsample_bilinear(x, (oh, ow)), atol=1e-12)
    assert np.array_equal(nearest.forward(x)[0], plain.upsample_nearest(x, (oh, ow)))
    proven(bilinear, x)
    proven(nearest, x)


@given(images())
def test_activations_are_proven(x):
    proven(layers.ReLU(), x)
    proven(layers.Softmax(), x)
    proven(layers.LogSoftmax(), x)
    dropout = layers.Dropout(0.4)
    proven(dropout, x)  # at test time the identity


def test_dropout_while_training_is_proven_for_one_mask():
    class SameMask(layers.Dropout):
        """Dropout that draws the same mask at every call, so that it can be differentiated."""

        def forward(self, x):
            self.rng = RNG(3)
            return super().forward(x)

    x = RNG(0).standard_normal((2, 3, 4, 5))
    proven(SameMask(0.4), x)
    y, cache = SameMask(0.4).forward(np.ones((100, 100)))
    assert set(np.unique(y)) == {0, 1 / 0.6}
    assert y.mean() == pytest.approx(1, abs=0.02)


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 4))
def test_linear_is_proven(n, d, o):
    layer = layers.Linear(d, o, rng=RNG(1), dtype=float)
    layer.b[...] = RNG(2).standard_normal(o)
    x = RNG(0).standard_normal((n, d))
    np.testing.assert_allclose(layer.forward(x)[0], x @ layer.w.T + layer.b)
    proven(layer, x)


def test_deconvolution_with_output_pad_by_hand():
    # stride 2, kernel 2 x 2 of [1 2; 3 4], one extra row and column that nothing reaches
    layer = layers.Deconv2d(1, 1, 2, stride=2, output_pad=1, rng=RNG(0), dtype=float)
    layer.w[...] = [[[[1, 2], [3, 4]]]]
    y, _ = layer.forward(np.array([[[[1.0, 10]]]]))
    assert y[0, 0].tolist() == [[1, 2, 10, 20, 0], [3, 4, 30, 40, 0], [0, 0, 0, 0, 0]]


def test_softmax_by_hand():
    y, cache = layers.Softmax().forward(np.log([[1.0, 3]]))
    np.testing.assert_allclose(y, [[0.25, 0.75]])
    # dy_l/dx_m = y_l (delta_lm - y_m)
    np.testing.assert_allclose(layers.Softmax().input_grad(np.array([[1.0, 0]]), cache), [[0.1875, -0.1875]])


def dropout():
    layer = layers.Dropout(0.5)
    layer.rng = RNG(0)
    return layer


IMAGE = (2, 4, 9, 6)
ALL = [  # each layer with the shape of an input: the audit's, and some that take other ways
    *((case.make(RNG(0), np.float32), case.shape) for subject in SUBJECTS for case in subject.cases),
    (layers.ConvReLU(16, 32, 3, pad=1, rng=RNG(0)), (2, 16, 40, 36)),  # large enough for every fast path
    (layers.Deconv2d(32, 16, 2, stride=2, rng=RNG(0)), (2, 32, 20, 18)),
    (layers.Conv2d(4, 6, (3, 1), stride=2, dilation=2, groups=2, rng=RNG(0)), IMAGE),
    (layers.Deconv2d(4, 3, 2, stride=2, rng=RNG(0)), IMAGE),
    (layers.MaxPool2d(2), IMAGE),
    (layers.MaxPool2d(3, 2, 1, ceil_mode=True), IMAGE),
    (layers.AvgPool2d(2), IMAGE),
    (layers.UpsampleBilinear(11), IMAGE),
    (layers.UpsampleNearest(11), IMAGE),
    (layers.LocalResponseNorm(), IMAGE),
    (dropout(), IMAGE),
]


def every_layer(test):
    ids = [f"{type(layer).__name__}-{i}" for i, (layer, _) in enumerate(ALL)]
    return pytest.mark.parametrize(("layer", "shape"), ALL, ids=ids)(test)


def locked(shape, seed):
    x = RNG(seed).standard_normal(shape).astype(np.float32)
    x.flags.writeable = False
    return x


@every_layer
def test_float32_in_gives_float32_out_and_no_argument_is_written_into(layer, shape):
    x = locked(shape, 0)
    y, cache = layer.forward(x)
    dy = locked(y.shape, 1)
    before = [getattr(layer, name).copy() for name in layer.names]
    results = [y, layer.input_grad(dy, cache), layer.backward(dy, cache), layer.tangent(x, cache)]
    curved = layer.second_order(x, dy, cache)
    results += [] if curved is None else [curved]
    assert {r.dtype for r in results} == {np.dtype(np.float32)}
    assert all(np.array_equal(getattr(layer, name), value) for name, value in zip(layer.names, before, strict=True))


def gradients_of(layer, dy, cache):
    """dx and the gradient of every parameter of one backward pass, from zero."""
    layer.zero_grad()
    dx = layer.backward(dy, cache)
    return [dx.copy(), *(getattr(layer, "d" + name).copy() for name in layer.names)]


def twice_the_same_bits(layer, shape):
    y, cache = layer.forward(locked(shape, 0))
    dy = locked(y.shape, 1)
    first, second = gradients_of(layer, dy, cache), gradients_of(layer, dy, cache)
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@every_layer
def test_a_backward_pass_run_twice_gives_the_same_bits(layer, shape):
    assert twice_the_same_bits(layer, shape)


def test_a_backward_pass_that_uses_up_its_cache_is_caught():
    class UsesUp(layers.Linear):
        def backward(self, dy, cache):
            dx = super().backward(dy, cache)
            cache.x.flags.writeable = True
            cache.x[...] *= 2  # the planted mistake
            return dx

        def forward(self, x):
            return super().forward(x.copy())

    assert not twice_the_same_bits(UsesUp(5, 3, rng=RNG(0)), (4, 5))


@every_layer
def test_a_layer_used_twice_keeps_its_two_calls_apart(layer, shape):
    a, b = RNG(0).standard_normal((2, *shape)).astype(np.float32)
    y, first = layer.forward(a)
    dy = RNG(1).standard_normal(y.shape).astype(np.float32)
    before = layer.input_grad(dy, first)
    layer.forward(b)
    assert np.array_equal(layer.input_grad(dy, first), before)


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.Conv2d(3, 4, 3, groups=2, rng=RNG(0)),
        lambda: layers.Deconv2d(1, 1, 2, stride=2, output_pad=2, rng=RNG(0)),
        lambda: layers.MaxPool2d(2, pad=2),
        lambda: layers.Dropout(1.0),
    ],
)
def test_impossible_layers_are_refused(make):
    with pytest.raises(ValueError):
        make()
