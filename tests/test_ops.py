"""Every host operation against plain loops and against its own adjoint, over shapes that Hypothesis chooses."""

import numpy as np
import pytest
import reference
from cases import DTYPES, convolutions, normal, poolings
from hypothesis import assume, given
from hypothesis import strategies as st

from gland import ops
from gland.ops.host import threads

TOLERANCE = {np.dtype(np.float64): 1e-12, np.dtype(np.complex128): 1e-12, np.dtype(np.float32): 2e-5}


def close(a, b):
    assert a.shape == b.shape
    scale = max(1, np.abs(b).max(initial=0))
    np.testing.assert_array_less(np.abs(a - b).max(initial=0) / scale, TOLERANCE[a.dtype])


def adjoint(left, right):
    assert abs(left - right) <= 1e-12 * max(1, abs(left))


@given(convolutions())
def test_conv_matches_loops(case):
    x, w, b, geo, _ = case
    expected = reference.conv(x, w, b, *geo)
    y = ops.conv(x, w, b, geo)
    close(y, expected)
    close(ops.conv(x, w, None, geo), expected - b[:, None, None])
    close(ops.conv_relu(x, w, b, geo), y * (y.real > 0))
    assert y.dtype == x.dtype and y.transpose(0, 2, 3, 1).flags.c_contiguous


@given(convolutions())
def test_conv_x_and_conv_w_match_loops(case):
    x, w, _, geo, rng = case
    dy = normal(rng, ops.conv(x, w, None, geo).shape, x.dtype)
    close(ops.conv_x(dy, w, geo, x.shape[2:]), reference.conv_x(dy, w, x.shape[2:], *geo))
    close(ops.conv_w(x, dy, geo, w.shape[2:]), reference.conv_w(x, dy, w.shape[2:], *geo))


@given(convolutions())
def test_the_adjoints_of_conv_relu_see_dy_only_where_y_is_positive(case):
    x, w, b, geo, rng = case
    y = ops.conv_relu(x, w, b, geo)
    dy = normal(rng, y.shape, x.dtype)
    kept = np.where(y.real > 0, dy, 0)
    dx, dw = reference.conv_x(kept, w, x.shape[2:], *geo), reference.conv_w(x, kept, w.shape[2:], *geo)
    close(ops.conv_relu_x(dy, y, w, geo, x.shape[2:]), dx)
    for got, expected in zip(ops.conv_relu_w(x, y, dy, geo, w.shape[2:]), (dw, kept.sum((0, 2, 3))), strict=True):
        close(got, expected)
    for got, expected in zip(ops.conv_relu_backward(x, y, dy, w, geo), (dx, dw, kept.sum((0, 2, 3))), strict=True):
        close(got, expected)


@given(convolutions())
def test_conv_x_and_conv_w_are_the_adjoints_of_conv(case):
    x, w, _, geo, rng = case
    assume(x.dtype == np.float64)
    y = ops.conv(x, w, None, geo)
    dy = normal(rng, y.shape)
    adjoint((y * dy).sum(), (x * ops.conv_x(dy, w, geo, x.shape[2:])).sum())
    adjoint((y * dy).sum(), (w * ops.conv_w(x, dy, geo, w.shape[2:])).sum())


@pytest.mark.parametrize(
    "size, kernel, geo",
    [
        ((1, 1), (1, 1), ops.Geometry()),
        ((3, 3), (3, 3), ops.Geometry()),  # kernel = input
        ((1, 1), (3, 3), ops.Geometry(pad=1)),  # kernel larger than the image
        ((2, 2), (2, 2), ops.Geometry(stride=2)),  # one block
        ((8, 6), (2, 2), ops.Geometry(stride=2)),  # blocks that tile
        ((40, 33), (3, 3), ops.Geometry(pad=1)),  # several strips
    ],
)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_degenerate_sizes_and_thread_counts(size, kernel, geo, count):
    rng = np.random.default_rng(0)
    x, w, b = normal(rng, (2, 1, *size)), normal(rng, (2, 1, *kernel)), normal(rng, (2,))
    before = threads.count_threads()
    threads.set_threads(count)
    try:
        y = ops.conv(x, w, b, geo)
        dy = normal(rng, y.shape)
        close(y, reference.conv(x, w, b, *geo))
        close(ops.conv_x(dy, w, geo, size), reference.conv_x(dy, w, size, *geo))
        close(ops.conv_w(x, dy, geo, kernel), reference.conv_w(x, dy, kernel, *geo))
        assert np.array_equal(ops.conv_w(x, dy, geo, kernel), ops.conv_w(x, dy, geo, kernel))
    finally:
        threads.set_threads(before)


@given(poolings())
def test_max_pool_matches_loops_ties_to_the_first(case):
    x, kernel, stride, pad, ceil_mode, rng = case
    y, argmax = ops.max_pool(x, kernel, stride, pad, ceil_mode)
    expected, places = reference.max_pool(x, kernel, stride, pad, ceil_mode)
    assert y.dtype == x.dtype
    assert np.array_equal(y, expected) and np.array_equal(argmax, places)
    dy = normal(rng, y.shape, x.dtype)
    dx = ops.max_pool_x(dy, argmax, kernel, stride, pad, x.shape[2:])
    close(dx, reference.max_pool_x(dy, argmax, kernel, stride, pad, x.shape[2:]))


def test_max_pool_by_hand():
    #  1 2 5      windows 2x2, stride 1 overlap; the 9 wins two of them, of the two 5s in a window the upper one
    #  9 4 5      wins, and the element that won twice receives both gradients
    #  1 2 5
    x = np.array([[1.0, 2, 5], [9, 4, 5], [1, 2, 5]])[None, None]
    y, argmax = ops.max_pool(x, (2, 2), 1, 0, False)
    assert y[0, 0].tolist() == [[9, 5], [9, 5]]
    assert argmax[0, 0].tolist() == [[2, 1], [0, 1]]
    dx = ops.max_pool_x(np.array([[1.0, 10], [100, 1000]])[None, None], argmax, (2, 2), 1, 0, (3, 3))
    assert dx[0, 0].tolist() == [[0, 0, 10], [101, 0, 1000], [0, 0, 0]]


@given(poolings())
def test_pool_adjoints(case):
    x, kernel, stride, pad, ceil_mode, rng = case
    assume(x.dtype == np.float64)
    y, argmax = ops.max_pool(x, kernel, stride, pad, ceil_mode)
    dy, tx = normal(rng, y.shape), normal(rng, x.shape)
    ty = ops.max_pool_t(tx, argmax, kernel, stride, pad)
    adjoint((ty * dy).sum(), (tx * ops.max_pool_x(dy, argmax, kernel, stride, pad, x.shape[2:])).sum())
    y = ops.avg_pool(x, kernel, stride, pad)
    close(y, reference.avg_pool(x, kernel, stride, pad))
    dy = normal(rng, y.shape)
    adjoint((y * dy).sum(), (x * ops.avg_pool_x(dy, kernel, stride, pad, x.shape[2:])).sum())


@given(st.tuples(*[st.integers(1, 6)] * 4), st.integers(0, 99), st.sampled_from(DTYPES))
def test_upsampling_matches_loops_and_has_its_adjoint(sizes, seed, dtype):
    h, w, oh, ow = sizes
    rng = np.random.default_rng(seed)
    x, dy = normal(rng, (2, 3, h, w), dtype), normal(rng, (2, 3, oh, ow), dtype)
    for name in ("bilinear", "nearest"):
        up, down = getattr(ops, f"upsample_{name}"), getattr(ops, f"upsample_{name}_x")
        y = up(x, (oh, ow))
        close(y, getattr(reference, f"upsample_{name}")(x, (oh, ow)))
        if dtype == np.float64:
            adjoint((y * dy).sum(), (x * down(dy, (h, w))).sum())


@given(st.integers(1, 3), st.integers(1, 4), st.integers(0, 99), st.sampled_from(DTYPES))
def test_pointwise_operations_match_numpy(n, c, seed, dtype):
    rng = np.random.default_rng(seed)
    a, b = normal(rng, (n, c, 5, 4), dtype), normal(rng, (n, c, 5, 4), dtype)
    v = normal(rng, (c,), dtype)
    close(ops.add(a, b), a + b)
    close(ops.multiply(a, b), a * b)
    close(ops.relu(a), np.where(a.real > 0, a, 0))
    close(ops.relu_x(a, b), np.where(b.real > 0, a, 0))
    close(ops.channel_sum(a), a.sum(axis=(0, 2, 3)))
    close(ops.channel_add(a, v), a + v[:, None, None])
    close(ops.spatial_sum(a), a.sum(axis=(2, 3)))
    close(ops.global_avg_pool(a), a.mean(axis=(2, 3)))
    close(ops.concat([a, b]), np.concatenate([a, b], axis=1))
    for piece, expected in zip(ops.split(ops.concat([a, b]), [c, c]), (a, b), strict=True):
        close(piece, expected)


def test_large_pointwise_arrays_are_whole():
    # more than one piece a thread
    rng = np.random.default_rng(0)
    a, b = normal(rng, (2, 3, 150, 170), np.float32), normal(rng, (2, 3, 150, 170), np.float32)
    close(ops.add(a, b), a + b)
    close(ops.channel_sum(a), a.sum(axis=(0, 2, 3)))
    close(ops.concat([a, b])[:, 3:], b)


@pytest.mark.parametrize("shape", [(3, 2), (2, 2, 4, 5)])
def test_softmax_neither_overflows_nor_takes_log_of_zero(shape):
    x = normal(np.random.default_rng(0), shape) * 1e4
    q, log_q = ops.softmax(x), ops.log_softmax(x)
    assert np.isfinite(q).all() and np.isfinite(log_q).all()
    close(q.sum(axis=1), np.ones(q.sum(axis=1).shape))
    close(ops.softmax(x / 1e4), np.exp(x / 1e4) / np.exp(x / 1e4).sum(axis=1, keepdims=True))


def test_sgd_update_by_hand():
    w, dw, v = np.array([1.0]), np.array([2.0]), np.array([0.5])
    ops.sgd_update(w, dw, v, 0.1, 0.9, 0.01)
    assert v == pytest.approx([0.9 * 0.5 + 0.1 * (2 + 0.01)])
    assert w == pytest.approx([1 - v[0]])


def test_nesterov_by_hand():
    dw, v = np.array([2.0]), np.array([0.5])
    ahead = ops.nesterov(dw, v, 0.9, 0.25)
    assert v == pytest.approx([0.9 * 0.5 + 0.5]) and ahead == pytest.approx([0.9 * v[0] + 0.5])


def test_adam_update_by_hand():
    w, dw, m, s = np.array([1.0]), np.array([4.0]), np.array([0.5]), np.array([0.25])
    ops.adam_update(w, dw, m, s, 0.1, (0.9, 0.99), 0.01, 0.02, 0.5)
    assert m == pytest.approx([0.9 * 0.5 + 0.1 * 2]) and s == pytest.approx([0.99 * 0.25 + 0.01 * 4])
    assert w == pytest.approx([1 - 0.1 * (m[0] / (s[0] ** 0.5 + 0.01) + 0.02)])


def test_an_error_in_a_thread_reaches_the_caller():
    def work(thread, first, last):
        if thread == threads.count_threads() - 1:
            raise KeyError("planted")

    with pytest.raises(KeyError, match="planted"):
        threads.parallel(work, 8)
    done = []
    threads.parallel(lambda thread, first, last: done.extend(range(first, last)), 8)
    assert sorted(done) == list(range(8))


# The checks above, checked: each planted mistake must turn its comparison red.


def flipped(x, w, b, geo):
    return ops.conv(x, w[:, :, ::-1, ::-1], b, geo)


def padding_off_by_one(x, w, b, geo):
    return ops.conv(x, w, b, geo._replace(pad=geo.pad + 1))[:, :, : x.shape[2], : x.shape[3]]


def without_bias(x, w, b, geo):
    return ops.conv(x, w, None, geo)


@pytest.mark.parametrize("mistake", [flipped, padding_off_by_one, without_bias])
def test_a_planted_mistake_in_conv_is_caught(mistake):
    rng, geo = np.random.default_rng(0), ops.Geometry(pad=1)
    x, w, b = normal(rng, (1, 2, 5, 5)), normal(rng, (3, 2, 3, 3)), normal(rng, (3,))
    with pytest.raises(AssertionError):
        close(mistake(x, w, b, geo), reference.conv(x, w, b, *geo))


def test_a_tie_given_to_the_last_is_caught():
    x = np.ones((1, 1, 2, 2))
    y, argmax = ops.max_pool(x[:, :, ::-1, ::-1], (2, 2), 2, 0, False)
    with pytest.raises(AssertionError):
        assert np.array_equal(3 - argmax, reference.max_pool(x, (2, 2), 2)[1])


def test_a_rotated_gradient_that_is_not_rotated_is_caught():
    rng, geo = np.random.default_rng(0), ops.Geometry(pad=1)
    x, w = normal(rng, (1, 2, 5, 5)), normal(rng, (3, 2, 3, 3))
    dy = normal(rng, (1, 3, 5, 5))
    with pytest.raises(AssertionError):
        adjoint((ops.conv(x, w, None, geo) * dy).sum(), (x * ops.conv(dy, w.transpose(1, 0, 2, 3), None, geo)).sum())
