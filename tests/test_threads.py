"""Sharing work: every strip once and evenly, calls at once, helpers off the caller's core, products cut to size."""

import os
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from places import on_threads

from gland import ops
from gland.ops.host import pointwise, products, threads, winograd


@pytest.fixture
def two_threads():
    with on_threads(2):
        yield


@given(st.integers(1, 500), st.integers(1, 60), st.integers(1, 9), st.integers(1, 5))
def test_every_thread_gets_as_many_blocks(length, most, count, number):
    with on_threads(number):
        blocks = threads.blocks(length, most, count)
    bounds = [length * k // blocks for k in range(blocks + 1)]
    sizes = np.diff(bounds)
    assert bounds[-1] == length and 1 <= sizes.min() and sizes.max() <= most
    assert count * blocks % number == 0 or blocks == length


@given(st.integers(1, 10**7), st.integers(1, 5000))
def test_strips_cover_every_row_once(count, row):
    step, covered = threads.strip_rows(count, row), []
    threads.by_strips(lambda _, at: covered.append((at.start, at.stop)), count, step)
    covered.sort()
    assert covered[0][0] == 0 and covered[-1][1] == count
    assert all(a[1] == b[0] for a, b in pairwise(covered))
    assert step * row <= max(threads.PIECE, row)


def test_calls_at_once_have_a_thread_each_and_keep_their_order(two_threads):
    calls = (lambda i=i: (i, threads.count_threads()) for i in range(3))
    assert threads.at_once(*calls) == [(0, 1), (1, 1), (2, 1)]
    assert threads.count_threads() == 2


def test_with_threads_enough_every_call_has_all_of_them():
    with on_threads(4):
        assert threads.at_once(threads.count_threads, threads.count_threads) == [4, 4]


def test_what_a_call_raises_arrives_and_threads_go_on(two_threads):
    def broken():
        raise ZeroDivisionError

    for calls in ((broken, list), (list, broken)):
        with pytest.raises(ZeroDivisionError):
            threads.at_once(*calls)
        assert threads.at_once(list, dict) == [[], {}]
        assert threads.count_threads() == 2


def test_a_layers_gradients_at_once_are_those_one_by_one(two_threads):
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal((2, 40, 36, c), dtype=np.float32).transpose(0, 3, 1, 2) for c in (6, 8))
    w, geo = rng.standard_normal((8, 6, 3, 3), dtype=np.float32), ops.Geometry(1, 1)
    y = ops.conv_relu(x, w, None, geo)
    together = ops.conv_relu_backward(x, y, dy, w, geo)
    threads.set_threads(1)
    alone = ops.conv_relu_x(dy, y, w, geo, (40, 36)), *ops.conv_relu_w(x, y, dy, geo, (3, 3))
    assert all(np.array_equal(a, b) for a, b in zip(together, alone, strict=True))


NOT_PLACED = threads._current_core() < 0 or len(threads._cores(0)) < 2


@pytest.mark.skipif(NOT_PLACED, reason="one core, or threads are not placed")
def test_helpers_stay_off_the_callers_core_and_the_caller_is_free_afterwards(two_threads):
    before, cores = os.sched_getaffinity(0), {}

    def work(thread, first, last):
        cores[thread] = os.sched_getaffinity(0)

    threads.parallel(work, 2)
    assert len(cores[0]) == 1 and not cores[0] & cores[1]
    assert os.sched_getaffinity(0) == before


@given(st.integers(1, 3000), st.integers(1, 10**6))
def test_products_are_cut_evenly(rows, scalars):
    size = products.rows_at_once(rows, scalars)
    assert rows % size == 0
    assert size == rows or size * scalars <= products.small_product()


def test_where_blas_packs_every_product_nothing_is_cut_and_the_result_is_the_same(monkeypatch):
    rng = np.random.default_rng(1)
    x, w = (rng.standard_normal(shape, dtype=np.float32) for shape in ((1, 40, 60, 16), (3, 3, 16, 24)))
    expected = winograd.convolve(x, w, None, 1, False)
    products.rows_at_once.cache_clear()
    monkeypatch.setattr(products, "small_product", lambda: 0)
    try:
        assert products.rows_at_once(800, 1152) == 800 and products.pixels_at_once(800, 384) == 800
        np.testing.assert_allclose(winograd.convolve(x, w, None, 1, False), expected, rtol=1e-3, atol=1e-3)
    finally:
        products.rows_at_once.cache_clear()


@pytest.mark.parametrize("dtype", [np.float32, complex])
def test_a_function_by_pieces_is_the_function(two_threads, dtype):
    a = np.random.default_rng(2).standard_normal((3, 7, 200, 211)).astype(dtype)  # channels apart, several pieces
    y = ops.by_pieces(lambda a, b: a * 2 - b, a, a[:, ::-1])
    assert y.dtype == dtype and np.array_equal(y, a * 2 - a[:, ::-1])


@pytest.mark.parametrize("shape", [(2, 2, 300, 301), (1, 5, 3, 4)])
def test_softmax_of_pixels(two_threads, shape):
    x = np.random.default_rng(3).standard_normal(shape) * 50
    e = np.exp(x - x.max(axis=1, keepdims=True))
    np.testing.assert_allclose(ops.softmax(x), e / e.sum(axis=1, keepdims=True), rtol=1e-12)


@pytest.mark.parametrize("rows", [1, 3, 8, 40])
def test_a_large_matrix_times_few_rows(two_threads, rows):
    rng = np.random.default_rng(4)
    x, w, b = rng.standard_normal((rows, 900)), rng.standard_normal((203, 900)), rng.standard_normal(203)
    np.testing.assert_allclose(ops.linear(x, w, b), np.einsum("nd,od->no", x, w) + b, rtol=1e-10, atol=1e-10)


def test_a_share_that_is_left_out_is_caught(monkeypatch, two_threads):
    whole = threads.by_strips
    monkeypatch.setattr(pointwise, "by_strips", lambda work, count, step: whole(work, max(1, count - step), step))
    monkeypatch.setattr(pointwise.arena, "empty", lambda shape, dtype: np.full(shape, np.nan, dtype))
    with pytest.raises(AssertionError):
        test_a_function_by_pieces_is_the_function(None, np.float32)


def test_a_second_caller_gets_the_same_bits_while_the_threads_are_busy(two_threads):
    rng, geo = np.random.default_rng(0), ops.Geometry(1, 1)
    x = rng.standard_normal((1, 14, 14, 64)).astype(np.float32).transpose(0, 3, 1, 2)  # few tiles: channels are shared
    w, b = rng.standard_normal((64, 64, 3, 3)).astype(np.float32), np.zeros(64, np.float32)

    def calls():
        return ops.conv_relu(x, w, b, geo), ops.conv_w(x, x, geo, (3, 3))

    assert winograd._parts(x.transpose(0, 2, 3, 1), 64) == 2
    free = calls()
    with threads._pool._busy:
        busy = calls()
    assert all(np.array_equal(p, q) for p, q in zip(free, busy, strict=True))
