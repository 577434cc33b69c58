"""The device's operations, layers and joint gradient against the host's, which test_ops and test_layers prove."""

import inspect

import numpy as np
import pytest
from cases import convolutions, normal, poolings
from cuda_on_cpu import ORDERS, emulated, thread_order
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from places import assert_close, everywhere

from gland import backend, layers, loss, ops, prior
from gland.audit.layers import SUBJECTS
from gland.networks import AlexNet, MultiLoss, UNet
from gland.networks.base import Matrix, Objective
from gland.networks.multiloss import Losses
from gland.ops import device
from gland.ops.device import launch, memory
from gland.training import solver
from gland.training.solver import SGD, SOLVERS, clip_factor

RNG = np.random.default_rng
FLOATS = (np.float64, np.float32)


@pytest.fixture(autouse=True)
def no_tf32():
    """A training run of another test in the same process may have left it on."""
    device.conv.use_tf32(False)


def both(operation, there, *arrays):
    """operation on the device and on the host, over arrays that are given as the host has them."""
    return operation(*map(there, arrays)), operation(*arrays)


def agree(operation, there, *arrays):
    """The device's result, or each of its results, is the host's."""
    found, expected = both(operation, there, *arrays)
    for a, b in zip(found, expected, strict=True) if isinstance(expected, tuple) else [(found, expected)]:
        assert_close(a, b)


@everywhere
@given(case=convolutions())
@settings(max_examples=40)
def test_conv_and_its_adjoints(there, case):
    x, w, b, geo, rng = case
    assume(x.dtype.kind == "f")
    y = ops.conv(x, w, b, geo)
    dy, size, kernel_size = normal(rng, y.shape, x.dtype), x.shape[2:], w.shape[2:]
    agree(lambda x, w, b: ops.conv(x, w, b, geo), there, x, w, b)
    agree(lambda x, w: ops.conv(x, w, None, geo), there, x, w)
    agree(lambda x, w, b: ops.conv_relu(x, w, b, geo), there, x, w, b)
    agree(lambda dy, w: ops.conv_x(dy, w, geo, size), there, dy, w)
    agree(lambda x, dy: ops.conv_w(x, dy, geo, kernel_size), there, x, dy)
    agree(lambda x, y, dy: ops.conv_relu_w(x, y, dy, geo, kernel_size), there, x, y, dy)
    agree(lambda x, y, dy, w: ops.conv_relu_backward(x, y, dy, w, geo), there, x, y, dy, w)
    agree(lambda dy, y, w: ops.conv_relu_x(dy, y, w, geo, size), there, dy, y, w)


@everywhere
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("c", "o", "size", "side", "geo"),
    [
        (70, 70, (5, 9), 3, ops.Geometry(1, 1)),  # several tiles and several splits of the sum, both with a rest
        (3, 33, (20, 20), 3, ops.Geometry(1, 1)),  # the widest tile, more than one along the places
        (20, 17, (8, 8), 2, ops.Geometry(2)),  # four phases, one place of the window each
        (4, 4, (23, 11), 11, ops.Geometry(4, 2)),  # AlexNet's first: phases with 9, 6, 6 and 4 places
        (2, 2, (13, 13), 3, ops.Geometry(2, 1, 4)),  # phases that no place of the window reaches
        (8, 4, (6, 5), 1, ops.Geometry(1, 0, 1, 4)),
    ],
)
def test_conv_at_sizes_that_need_tiles_splits_and_phases(there, dtype, c, o, size, side, geo):
    rng = RNG(0)
    x, w, b = (rng.standard_normal(s).astype(dtype) for s in ((2, c, *size), (o, c // geo.groups, side, side), o))
    dy = rng.standard_normal(ops.conv(x, w, b, geo).shape).astype(dtype)
    agree(lambda x, w, b: ops.conv_relu(x, w, b, geo), there, x, w, b)
    agree(lambda dy, w: ops.conv_x(dy, w, geo, size), there, dy, w)
    agree(lambda x, dy: ops.conv_w(x, dy, geo, (side, side)), there, x, dy)


def test_a_long_sum_over_few_tiles_is_cut_and_a_wide_one_is_not():
    _, _, deep = device.conv._cut(49, 128, 9 * 128, 1)
    _, _, wide = device.conv._cut(224 * 224, 16, 9 * 16, 1)
    assert deep > 1 and wide == 1


@everywhere
@given(case=poolings())
def test_pools(there, case):
    x, *window, ceil_mode, rng = case
    assume(x.dtype.kind == "f")
    (y, place), (y_host, place_host) = both(lambda x: ops.max_pool(x, *window, ceil_mode), there, x)
    assert_close(y, y_host)
    assert_close(place, place_host)
    dy, tx, size = normal(rng, y.shape, x.dtype), normal(rng, x.shape, x.dtype), x.shape[2:]
    assert_close(ops.max_pool_x(there(dy), place, *window, size), ops.max_pool_x(dy, place_host, *window, size))
    assert_close(ops.max_pool_t(there(tx), place, *window), ops.max_pool_t(tx, place_host, *window))
    agree(lambda x: ops.avg_pool(x, *window), there, x)
    dy = normal(rng, ops.avg_pool(x, *window).shape, x.dtype)
    agree(lambda dy: ops.avg_pool_x(dy, *window, size), there, dy)


@everywhere
@given(sizes=st.tuples(*[st.integers(1, 6)] * 4), seed=st.integers(0, 99), dtype=st.sampled_from(FLOATS))
def test_upsampling(there, sizes, seed, dtype):
    h, w, oh, ow = sizes
    x, dy = normal(RNG(seed), (2, 3, h, w), dtype), normal(RNG(seed + 1), (2, 3, oh, ow), dtype)
    for up, down in (
        (ops.upsample_bilinear, ops.upsample_bilinear_x),
        (ops.upsample_nearest, ops.upsample_nearest_x),
    ):
        assert_close(up(there(x), (oh, ow)), up(x, (oh, ow)))
        assert_close(down(there(dy), (h, w)), down(dy, (h, w)))


@everywhere
@given(n=st.integers(1, 3), c=st.integers(1, 40), seed=st.integers(0, 99), dtype=st.sampled_from(FLOATS))
def test_pointwise_operations(there, n, c, seed, dtype):
    rng = RNG(seed)
    a, b = normal(rng, (n, c, 5, 4), dtype), normal(rng, (n, c, 5, 4), dtype)
    v, flat = normal(rng, (c,), dtype), normal(rng, (n, c), dtype)
    w, bias, dy = normal(rng, (5, c), dtype), normal(rng, (5,), dtype), normal(rng, (n, 5), dtype)
    for operation in (ops.add, ops.multiply, ops.relu_x):
        agree(operation, there, a, b)
    for operation in (
        ops.relu, ops.channel_sum, ops.spatial_sum, ops.global_avg_pool, ops.softmax, ops.log_softmax,
        lambda x: ops.channel_window_sum(x, 5),
    ):  # fmt: skip
        agree(operation, there, a)
    agree(ops.channel_add, there, a, v)
    agree(ops.softmax, there, flat)
    agree(lambda x: ops.broadcast(x, (2, 3)), there, flat)
    agree(lambda x: ops.global_avg_pool_x(x, (2, 3)), there, flat)
    agree(ops.linear, there, flat, w, bias)
    agree(ops.linear_x, there, dy, w)
    agree(ops.linear_w, there, flat, dy)
    joined, joined_host = both(lambda a, b: ops.concat([a, b]), there, a, b)
    assert_close(joined, joined_host)
    for piece, expected in zip(ops.split(joined, [1, 2 * c - 1]), ops.split(joined_host, [1, 2 * c - 1]), strict=True):
        assert_close(piece, expected)


@everywhere
def test_sums_over_many_rows(there):
    # more than one part in each pass
    x = RNG(0).standard_normal((2, 35, 60, 41))
    agree(ops.channel_sum, there, x)
    agree(ops.spatial_sum, there, x)


@everywhere
def test_what_is_not_a_number_stays_seen(there):
    x = np.array([np.nan, -np.inf, 2.0, -1.0])
    assert np.array_equal(backend.to_host(ops.relu(there(x))), [np.nan, 0, 2, 0], equal_nan=True)
    q = backend.to_host(ops.softmax(there(np.array([[1e4, -1e4]]))))
    assert q.tolist() == [[1, 0]]


@everywhere
@pytest.mark.parametrize("factor", (None, 0.25))
def test_sgd_update(there, factor):
    w, dw, v = (RNG(i).standard_normal(300) for i in range(3))
    there_w, there_dw, there_v = there(w), there(dw), there(v)
    ops.sgd_update(there_w, there_dw, there_v, 0.1, 0.9, 0.01, factor)
    ops.sgd_update(w, dw, v, 0.1, 0.9, 0.01, factor)
    assert_close(there_w, w)
    assert_close(there_v, v)


@everywhere
@pytest.mark.parametrize("factor", (None, 0.25))
def test_nesterov(there, factor):
    dw, v = (RNG(i).standard_normal(300) for i in range(2))
    there_v = there(v)
    assert_close(ops.nesterov(there(dw), there_v, 0.9, factor), ops.nesterov(dw, v, 0.9, factor))
    assert_close(there_v, v)


@everywhere
@pytest.mark.parametrize("factor", (None, 0.25))
def test_adam_update(there, factor):
    arrays = [abs(RNG(i).standard_normal(300)) for i in range(4)]
    on_device = [there(a) for a in arrays]
    for room in (on_device, arrays):
        ops.adam_update(*room, 0.1, (0.9, 0.99), 1e-3, 0.01, factor)
    for a, b in zip(on_device, arrays, strict=True):
        assert_close(a, b)


@everywhere
def test_straighten(there):
    shapes = (45, 33), (3, 40), (1, 1), (7, 7), (64, 32), (2, 5)  # tiles cut and whole, both ways to lie, zeros
    matrices, start = [], 0
    for rows, columns in shapes:
        matrices.append(Matrix(rows, columns, start))
        start += rows * columns
    g = RNG(0).standard_normal(start)
    g[-10:] = 1e-16  # a dead matrix takes no step
    found = solver.straighten(there(g), matrices, solver.POLYNOMIAL)
    assert_close(found, solver.straighten(g, matrices, solver.POLYNOMIAL))
    assert not backend.to_host(found)[-10:].any()


@everywhere
@pytest.mark.parametrize("largest", (0.5, 1e9))
def test_clip_factor(there, largest):
    g = RNG(0).standard_normal(70_000)
    assert_close(clip_factor(there(g), largest), clip_factor(g, largest))


@everywhere
@pytest.mark.parametrize("value", (np.nan, np.inf))
@pytest.mark.parametrize("clip", (None, 1.0))
@pytest.mark.parametrize("kind", SOLVERS.values())
def test_a_gradient_that_is_not_finite_changes_nothing(there, value, clip, kind):
    class Flat:
        flat, flat_grad = there(np.ones(9)), there(np.array([*np.ones(8), value]))
        matrices = (Matrix(2, 3, 0),)

    solver = kind(Flat, clip=clip)
    solver.step(0.1)
    assert np.array_equal(backend.to_host(Flat.flat), np.ones(9))
    assert not any(backend.to_host(values).any() for values in solver.state.values())


def test_every_operation_has_a_device_version_with_the_hosts_arguments():
    operations = [
        n for n, f in vars(ops).items() if inspect.isfunction(f) and n != "_room" and "_room(" in inspect.getsource(f)
    ]
    assert len(operations) >= 41
    for name in operations:
        ours, theirs = (inspect.signature(getattr(room, name)).parameters.values() for room in (ops._DEVICE, ops._HOST))
        assert len(ours) >= len(theirs)
        assert [p.default for p in ours][: len(theirs)] == [p.default for p in theirs], name
        assert all(p.default is not p.empty for p in list(ours)[len(theirs) :]), name


def test_every_fused_function_has_a_device_version_with_its_arguments():
    found = 0
    for module in (loss, prior, solver):
        for name, function in vars(module).items():
            if hasattr(function, "__wrapped__"):
                theirs = inspect.signature(function.twin)
                assert function.twin.__name__ == name.lstrip("_")
                assert list(theirs.parameters) == list(inspect.signature(function).parameters), name
                found += 1
    assert found == 18


# Layers: all passes, over the audit's cases


def passes(layer, move, x, tx, dy):
    layer.zero_grad()
    y, cache = layer.forward(move(x))
    results = [y, layer.input_grad(move(dy), cache), layer.backward(move(dy), cache), layer.tangent(move(tx), cache)]
    if (dx := layer.second_order(move(tx), move(dy), cache)) is not None:
        results.append(dx)
    return results + [getattr(layer, "d" + name) for name in layer.names]


def bring(layer, there):
    for name in layer.names:
        for attribute in (name, "d" + name):
            setattr(layer, attribute, there(getattr(layer, attribute)))
    return layer


CASES = [(s.name, case) for s in SUBJECTS for case in s.cases]


@everywhere
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("name", "case"), CASES, ids=[f"{name}: {case.what}" for name, case in CASES])
def test_every_pass_of_every_layer(there, dtype, name, case):
    rng = RNG(7)
    x, tx = (rng.standard_normal(case.shape).astype(dtype) for _ in range(2))
    layer = case.make(RNG(1), dtype)
    dy = rng.standard_normal(layer.forward(x)[0].shape).astype(dtype)
    host = passes(layer, np.array, x, tx, dy)
    device = passes(bring(case.make(RNG(1), dtype), there), there, x, tx, dy)
    for a, b in zip(device, host, strict=True):
        assert_close(a, b)


@everywhere
def test_the_tangent_is_the_adjoint_of_the_input_gradient_on_the_device(there):
    rng = RNG(0)
    for layer in (
        layers.ConvReLU(3, 5, 3, stride=2, pad=1, rng=rng, dtype=float),
        layers.Deconv2d(3, 4, 3, stride=2, pad=1, output_pad=1, rng=rng, dtype=float),
        layers.MaxPool2d(3, 2, 1, ceil_mode=True),
        layers.UpsampleBilinear((13, 5)),
    ):
        bring(layer, there)
        y, cache = layer.forward(there(rng.standard_normal((2, 3, 8, 7))))
        tx, dy = rng.standard_normal((2, 3, 8, 7)), rng.standard_normal(y.shape)
        left = (backend.to_host(layer.tangent(there(tx), cache)) * dy).sum()
        right = (tx * backend.to_host(layer.input_grad(there(dy), cache))).sum()
        assert abs(left - right) <= 1e-12 * np.linalg.norm(tx) * np.linalg.norm(dy)


# The joint network: every parameter's gradient


def batch(dtype, n=2, size=32):
    rng = RNG(0)
    x, mask = rng.standard_normal((n, 3, size, size)), rng.random((n, size, size)) > 0.5
    mask[0] &= np.tri(size, dtype=bool)  # images with different shares of gland
    return x.astype(dtype), mask.astype(dtype), np.arange(n) % 2


def gradients(make, there, dtype, *options):
    results = []
    for move in (there, np.array):
        net = moved(make(dtype), there) if move is there else make(dtype)
        losses = net.loss_and_grad(*map(move, batch(dtype)), Objective(*options))
        results.append((backend.to_host(losses.total), net))
    return results


def moved(net, there):
    """The network with its parameters and gradients on the device, as views of one buffer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "to_device", there)
        net.flatten(device=True)
    return net


def assert_same_gradients(device, host, tolerance):
    (loss_device, net_device), (loss_host, net_host) = device, host
    assert_close(loss_device, loss_host, tolerance)
    for path, gradient in net_host.gradients().items():
        assert_close(net_device.gradients()[path], gradient, tolerance)


READINGS = [
    ("balanced-weight", "gradient", "margin"),
    ("weight", "gradient", "probability"),
    ("soft-target", "gradient-activation", "probability"),
    ("balanced-weight", "gradient-activation", "margin"),
]


@everywhere
@pytest.mark.parametrize("prior_gradient", ("detached", "exact"))
@pytest.mark.parametrize(("reading", "prior", "score"), READINGS)
def test_the_joint_loss_and_gradient(there, reading, prior, score, prior_gradient):
    def make(dtype):
        return MultiLoss(width=2, seed=3, dtype=dtype, prior_kind=prior, eq3_of=score)

    assert_same_gradients(*gradients(make, there, np.float64, 0.3, reading, prior_gradient), 1e-11)
    # in float32 a rectifier near zero may be decided the other way by rounding
    assert_same_gradients(*gradients(make, there, np.float32, 0.3, reading, prior_gradient), 1e-4)


@everywhere
@pytest.mark.parametrize(
    "make",
    [
        lambda dtype: MultiLoss("class", width=2, dtype=dtype),
        lambda dtype: MultiLoss("seg", width=2, dtype=dtype),
        lambda dtype: MultiLoss(width=1, skip=False, use_prior=False, use_scores=False, dtype=dtype),
        lambda dtype: UNet(2, dtype=dtype),
    ],
)
def test_the_other_networks(there, make):
    assert_same_gradients(*gradients(make, there, np.float64, 0.3, "balanced-weight"), 1e-11)


@everywhere
def test_alexnet_with_its_dropout(there):
    results = []
    for move in (there, np.array):
        net = AlexNet(6, 64, dtype=np.float64)
        net = moved(net, there) if move is there else net
        net.set_rng(RNG(5))
        x, _, label = batch(np.float64, size=64)
        results.append((backend.to_host(net.class_loss_and_grad(move(x), move(label)).total), net))
    assert_same_gradients(*results, 1e-11)


@everywhere
@pytest.mark.parametrize("reading", loss.SEGMENTATION_LOSSES)
def test_an_image_without_gland_or_whose_prior_vanishes_there(there, reading):
    value, grad = loss.SEGMENTATION_LOSSES[reading]
    logits, mask = RNG(0).standard_normal((3, 2, 20, 20)), np.ones((3, 20, 20))
    f = RNG(1).random((3, 20, 20))
    mask[0], f[1] = 0, 0
    agree(value, there, logits, mask, f)
    agree(grad, there, logits, mask, f)


@everywhere
def test_the_tally_of_a_step(there):
    x, mask, label = batch(np.float32, n=3)
    logits, s = RNG(1).standard_normal((3, 2)), RNG(2).standard_normal((3, 2, 32, 32))
    totals = []
    for move in (there, np.array):
        total = move(np.zeros(7))
        full = Losses(*(move(np.array(v)) for v in (0.5, 0.25, 0.75)), move(logits), move(s))
        ops.tally(total, full, move(mask.astype(float)), move(label))
        ops.tally(total, full._replace(total=move(np.array(np.inf))), move(mask.astype(float)), move(label))
        totals.append(total)
    assert_close(totals[0][1:], totals[1][1:])
    assert backend.to_host(totals[0])[[0, 5, 6]].tolist() == [np.inf, 2, 2]
    only_class = Losses(there(np.array(0.5)), there(np.array(0.5)), None, there(logits), None)
    total = there(np.zeros(7))
    ops.tally(total, only_class, there(mask), there(label))
    assert np.isnan(backend.to_host(total)).tolist() == [False, False, True, False, True, False, False]


# The same bits


@everywhere
def test_a_second_run_gives_the_same_bits(there):
    def make(dtype):
        return MultiLoss(width=2, seed=3, dtype=dtype)

    (_, a), _ = gradients(make, there, np.float32, 0.3, "balanced-weight", "exact")
    (_, b), _ = gradients(make, there, np.float32, 0.3, "balanced-weight", "exact")
    assert np.array_equal(backend.to_host(a.flat_grad), backend.to_host(b.flat_grad))


@pytest.mark.parametrize("order", ORDERS[1:])
def test_every_order_of_threads_gives_the_same_bits(order):
    def run():
        net = moved(MultiLoss(width=1, seed=3), emulated)
        net.loss_and_grad(*map(emulated, batch(np.float32)), Objective(0.3, "balanced-weight", "exact"))
        SGD(net, clip=0.1).step(0.1)
        return net.flat.get()

    forward = run()
    with thread_order(order):
        assert np.array_equal(run(), forward)


# Tensor cores


def to_tf32(x):
    """Rounded to 10 bits after the point, ties away from zero."""
    bits = x.view(np.uint32) + np.uint32(0x1000) & np.uint32(0xFFFFE000)
    return bits.view(np.float32)


@pytest.fixture
def tf32():
    ops.use_tf32(True)
    yield
    ops.use_tf32(False)


@everywhere
@pytest.mark.parametrize("o", (12, 20, 36))  # the three widths of tiles
def test_tf32_multiplies_rounded_factors_and_is_as_accurate_as_stated(there, o, tf32):
    rng, geo = RNG(0), ops.Geometry(1, 1)
    x, dy = (
        np.ascontiguousarray(rng.standard_normal((1, 6, 12, c), np.float32)).transpose(0, 3, 1, 2) for c in (20, o)
    )
    w = rng.standard_normal((o, 20, 3, 3)).astype(np.float32)
    for operation, *arrays in (
        (lambda x, w: ops.conv(x, w, None, geo), x, w),
        (lambda dy, w: ops.conv_x(dy, w, geo, (6, 12)), dy, w),
        (lambda x, dy: ops.conv_w(x, dy, geo, (3, 3)), x, dy),
    ):
        result = backend.to_host(operation(*map(there, arrays)))
        assert_close(result, operation(*map(to_tf32, arrays)))
        error = np.abs(result - operation(*arrays)).max() / np.abs(result).max()
        assert 1e-6 < error < 5e-4


@everywhere
def test_tf32_leaves_float64_and_odd_channels_alone(there, tf32):
    for c, dtype in ((20, np.float64), (3, np.float32)):
        x, w = RNG(0).standard_normal((1, c, 6, 6)).astype(dtype), RNG(1).standard_normal((4, c, 3, 3)).astype(dtype)
        agree(lambda x, w: ops.conv(x, w, None, ops.Geometry()), there, x, w)


# The checks above, checked


def test_a_bias_forgotten_on_the_device_is_caught(monkeypatch):
    conv = device.conv._convolve
    monkeypatch.setattr(device.conv, "_convolve", lambda x, w, b, geo, relu: conv(x, w, None, geo, relu))
    x, w, b = (RNG(0).standard_normal(s) for s in ((1, 2, 5, 5), (3, 2, 3, 3), 3))
    with pytest.raises(AssertionError):
        agree(lambda x, w, b: ops.conv(x, w, b, ops.Geometry()), emulated, x, w, b)


def test_a_split_left_out_of_a_sum_is_caught(monkeypatch):
    add = device.conv.add_splits
    monkeypatch.setattr(device.conv, "add_splits", lambda parts, y, *rest, **options: add(parts[:-1], y, *rest))
    with pytest.raises(AssertionError):
        test_conv_at_sizes_that_need_tiles_splits_and_phases(emulated, float, 70, 70, (5, 9), 3, ops.Geometry(1, 1))


def test_an_update_of_a_bad_gradient_is_caught(monkeypatch):
    monkeypatch.setattr(device.update, "clip_factor", lambda gradient, largest: memory.like(np.ones(()), gradient))
    with pytest.raises(AssertionError):
        test_a_gradient_that_is_not_finite_changes_nothing(emulated, np.nan, None, SGD)


def test_float32_computed_where_float64_is_meant_is_caught():
    x = RNG(0).standard_normal((1, 2, 5, 5))
    narrow = ops.softmax(emulated(x.astype(np.float32))).astype(np.float64)
    with pytest.raises(AssertionError):
        assert_close(narrow, ops.softmax(x))


def test_memory_that_is_read_before_it_is_written_is_caught(monkeypatch):
    run = launch.Kernel.over
    monkeypatch.setattr(launch.Kernel, "over", lambda self, n, *args, **options: run(self, n - 1, *args[:-1], n - 1))
    with pytest.raises(AssertionError):
        agree(ops.relu, emulated, np.ones((1, 2, 3, 4)))
