"""gland/ops/plain.py, which proves the fast operations and the audit's layers: against SciPy, by hand, by adjoint identities."""

import ast
import inspect
from fractions import Fraction
from itertools import product
from types import ModuleType

import numpy as np
import pytest
import scripts
from scipy import ndimage, signal

from gland import ops
from gland.networks.base import Objective
from gland.networks.multiloss import MultiLoss
from gland.ops import device, host, plain
from gland.ops.layout import Geometry

ROOT = scripts.ROOT
GEOMETRIES = [Geometry(*g) for g in product((1, 2, 3), (0, 1, 2), (1, 2), (1, 2))]
HARD, OVERLAPPING = Geometry(2, 1, 2, 2), ((3, 3), 2, 1)


def numbers(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def fractions(seed, *shape):
    """Small fractions, so that sums and products of them are exact, and short."""
    n = np.random.default_rng(seed).integers(-9, 10, (2, *shape))
    return np.vectorize(lambda a, b: Fraction(int(a), 1 + abs(int(b))), otypes=[object])(*n)


def close(a, b):
    assert a.shape == b.shape
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


def dot(a, b):
    return (a * b).sum()


# Against SciPy.


@pytest.mark.parametrize("geo", GEOMETRIES, ids=str)
def test_convolution_is_scipys(geo):
    x, w, b = numbers(0, 2, 4, 8, 7), numbers(1, 6, 4 // geo.groups, 3, 2), numbers(2, 6)
    d, s, p = geo.dilation, geo.stride, geo.pad
    apart = np.zeros((*w.shape[:2], 2 * d + 1, d + 1))
    apart[:, :, ::d, ::d] = w
    y = plain.conv(x, w, b, geo)
    for n, o in np.ndindex(2, 6):
        first = o // (6 // geo.groups) * w.shape[1]
        planes = zip(np.pad(x[n], ((0, 0), (p, p), (p, p)))[first:], apart[o])
        close(y[n, o], b[o] + sum(signal.correlate(a, k, "valid")[::s, ::s] for a, k in planes))
    close(plain.conv(x, w, None, geo), y - b[:, None, None])


@pytest.mark.parametrize("kernel_size, stride, pad", [((2, 2), 2, 0), ((3, 2), 1, 1), ((3, 3), 2, 1), ((2, 3), 3, 0)])
def test_pools_are_scipys(kernel_size, stride, pad):
    x, (kh, kw) = (
        numbers(0, 2, 3, 8, 7) - 3,
        kernel_size,
    )  # nearly all below zero, so that a zero of the frame would win
    y, _ = plain.max_pool(x, kernel_size, stride, pad, False)
    mean = plain.avg_pool(x, kernel_size, stride, pad)
    for n, c in np.ndindex(2, 3):
        frame = np.pad(x[n, c], pad, constant_values=-np.inf)
        largest = ndimage.maximum_filter(frame, kernel_size, mode="constant", cval=-np.inf)
        h, w = (a - k + 1 for a, k in zip(frame.shape, kernel_size))
        close(y[n, c], largest[kh // 2 :, kw // 2 :][:h:stride, :w:stride])
        summed = signal.correlate(np.pad(x[n, c], pad), np.ones(kernel_size), "valid")
        close(mean[n, c], summed[::stride, ::stride] / (kh * kw))


@pytest.mark.parametrize("size", [(4, 5), (7, 9), (12, 5), (3, 2)])
def test_bilinear_upsampling_is_scipys(size):
    x = numbers(0, 2, 3, 4, 5)
    expected = ndimage.zoom(x, (1, 1, size[0] / 4, size[1] / 5), order=1, grid_mode=True, mode="nearest")
    close(plain.upsample_bilinear(x, size), expected)


# By hand.


def image(*rows):
    return np.array(rows, float)[None, None]


def test_convolution_by_hand():
    #  1 2 0            1 0      14 = 1*1 + 2*0 + 0*2 + 1*3 + 10: the kernel slides over the image without turning
    #  0 1 3    with    2 3      stride 2, padding 1: its lower right corner meets the 1 first, so 3; then 2*2 + 0*3 = 4
    #  4 0 1                     dilation 2: it meets the image's four corners, 1*1 + 0*0 + 4*2 + 1*3 = 12
    x, w = image([1, 2, 0], [0, 1, 3], [4, 0, 1]), image([1, 0], [2, 3])
    assert plain.conv(x, w, np.array([10.0]), Geometry())[0, 0].tolist() == [[14, 23], [18, 14]]
    assert plain.conv(x, w, None, Geometry(2, 1))[0, 0].tolist() == [[3, 4], [12, 4]]
    assert plain.conv(x, w, None, Geometry(dilation=2))[0, 0].tolist() == [[12]]


def test_the_adjoints_of_convolution_by_hand():
    #  dy = 1 10: each sends w dy to the four elements that it saw, and they overlap in the middle column
    #  w = 1 2      1 2 .       .  10 20      1 12 20
    #      3 4      3 4 .   +   .  30 40  =   3 34 40
    x, w, dy = image([5, 6, 7], [8, 9, 0]), image([1, 2], [3, 4]), image([1, 10])
    assert plain.conv_x(dy, w, Geometry(), (2, 3))[0, 0].tolist() == [[1, 12, 20], [3, 34, 40]]
    #  dw[a,e] = 1 x[a,e] + 10 x[a,e+1]
    assert plain.conv_w(x, dy, Geometry(), (2, 2))[0, 0].tolist() == [[65, 76], [98, 9]]
    #  x in two groups: each output has one input channel of its own
    two = np.concatenate([x, 10 * x], axis=1)
    y = plain.conv(two, np.array([1.0, 2]).reshape(2, 1, 1, 1), None, Geometry(groups=2))
    assert np.array_equal(y, np.concatenate([x, 20 * x], axis=1))


def test_max_pool_by_hand():
    #  1 2 5      windows 2x2, stride 1 overlap; the 9 wins two of them, of the two 5s in a window the upper one wins,
    #  9 4 5      and an element that won twice receives both gradients
    #  1 2 5
    x = image([1, 2, 5], [9, 4, 5], [1, 2, 5])
    for room in (plain, ops):
        y, argmax = room.max_pool(x, (2, 2), 1, 0, False)
        assert y[0, 0].tolist() == [[9, 5], [9, 5]] and argmax[0, 0].tolist() == [[2, 1], [0, 1]]
        dx = room.max_pool_x(image([1, 10], [100, 1000]), argmax, (2, 2), 1, 0, (3, 3))
        assert dx[0, 0].tolist() == [[0, 0, 10], [101, 0, 1000], [0, 0, 0]]
        assert room.max_pool_t(10 * x, argmax, (2, 2), 1, 0)[0, 0].tolist() == [[90, 50], [90, 50]]


def test_ceil_mode_by_hand():
    #  -1 -2 -3 -4 in windows of 3, stride 2: [-1 -2 -3], and in ceil mode [-3 -4 .], whose frame never wins
    x = image([-1, -2, -3, -4])
    assert plain.max_pool(x, (1, 3), 2, 0, False)[0].tolist() == [[[[-1]]]]
    y, argmax = plain.max_pool(x, (1, 3), 2, 0, True)
    assert y.tolist() == [[[[-1, -3]]]] and argmax.tolist() == [[[[0, 0]]]]
    assert plain.max_pool_x(image([1, 10]), argmax, (1, 3), 2, 0, (1, 4)).tolist() == [[[[1, 0, 10, 0]]]]
    #  2x2, stride 2, padding 1 over -1 -2 -3: [. -1], [-2 -3]; a third window would begin in the frame on the right
    y, argmax = plain.max_pool(image([-1, -2, -3]), (2, 2), 2, 1, True)
    assert y.tolist() == [[[[-1, -2]]]] and argmax.tolist() == [[[[3, 2]]]]


def test_avg_pool_by_hand():
    #  3 5  in windows of 2x2, stride 2, padding 1: each holds one number, and three zeros of the frame
    #  7 9
    assert plain.avg_pool(image([3, 5], [7, 9]), (2, 2), 2, 1)[0, 0].tolist() == [[0.75, 1.25], [1.75, 2.25]]
    assert plain.avg_pool(image([3, 5, 7, 9]), (1, 2), 2, 0).tolist() == [[[[4, 8]]]]


def test_upsampling_by_hand():
    #  0 4 at 0 and 1; four outputs at -1/4, 1/4, 3/4, 5/4, the outer two held at the ends
    assert plain.upsample_bilinear(image([0, 4]), (1, 4)).tolist() == [[[[0, 1, 3, 4]]]]
    assert plain.upsample_bilinear(image([0, 4], [8, 12]), (4, 2))[0, 0].tolist() == [[0, 4], [2, 6], [6, 10], [8, 12]]
    #  back, dy = 1 10 100 1000: the first input gave 1, 3/4, 1/4 and 0 of itself, the second the rest
    assert plain.upsample_bilinear_x(image([1, 10, 100, 1000]), (1, 2)).tolist() == [[[[33.5, 1077.5]]]]
    assert plain.upsample_nearest(image([5, 7, 9]), (1, 5)).tolist() == [[[[5, 5, 7, 7, 9]]]]
    assert plain.upsample_nearest_x(image([1, 10, 100, 1000, 10000]), (1, 3)).tolist() == [[[[11, 1100, 10000]]]]


def test_sums_and_softmax_by_hand():
    x = np.array([[1.0, 2], [3, 4], [5, 6]]).reshape(1, 3, 2, 1)
    assert plain.channel_sum(x).tolist() == [3, 7, 11] and plain.spatial_sum(x).tolist() == [[3, 7, 11]]
    assert plain.channel_window_sum(x, 3)[0, :, :, 0].tolist() == [[4, 6], [9, 12], [8, 10]]
    assert plain.broadcast(np.array([[1.0, 2]]), (1, 2)).tolist() == [[[[1, 1]], [[2, 2]]]]
    close(plain.softmax(np.log([[1.0, 3]])), np.array([[0.25, 0.75]]))
    close(plain.log_softmax(np.log([[1.0, 3]])), np.log([[0.25, 0.75]]))


# Every pair of adjoints, in fractions, where <A x, dy> = <x, A' dy> holds exactly.


@pytest.mark.parametrize("geo", GEOMETRIES, ids=str)
def test_the_adjoints_of_convolution_exactly(geo):
    x, w = fractions(0, 2, 4, 5, 6), fractions(1, 2, 4 // geo.groups, 3, 2)
    y = plain.conv(x, w, None, geo)
    dy = fractions(2, *y.shape)
    assert dot(y, dy) == dot(x, plain.conv_x(dy, w, geo, (5, 6))) == dot(w, plain.conv_w(x, dy, geo, (3, 2))) != 0


@pytest.mark.parametrize("window, ceil_mode", [(((2, 2), 2, 0), False), (OVERLAPPING, True), (((3, 2), 1, 1), False)])
def test_the_adjoints_of_pools_exactly(window, ceil_mode):
    x, tx = fractions(0, 2, 2, 7, 6), fractions(1, 2, 2, 7, 6)
    y, argmax = plain.max_pool(x, *window, ceil_mode)
    ty, dy = plain.max_pool_t(tx, argmax, *window), fractions(2, *y.shape)
    assert (plain.max_pool_t(x, argmax, *window) == y).all()
    assert dot(ty, dy) == dot(tx, plain.max_pool_x(dy, argmax, *window, (7, 6))) != 0
    y = plain.avg_pool(x, *window)
    dy = fractions(3, *y.shape)
    assert dot(y, dy) == dot(x, plain.avg_pool_x(dy, *window, (7, 6))) != 0


def test_all_other_adjoints_exactly():
    x, dy, v, other = fractions(0, 2, 3, 4, 5), fractions(1, 2, 3, 7, 4), fractions(2, 2, 3), fractions(3, 2, 3, 4, 5)
    for name in ("upsample_bilinear", "upsample_nearest"):
        up, back = getattr(plain, name), getattr(plain, name + "_x")
        assert dot(up(x, (7, 4)), dy) == dot(x, back(dy, (4, 5))) != 0
    assert dot(plain.global_avg_pool(x), v) == dot(x, plain.global_avg_pool_x(v, (4, 5))) != 0
    assert dot(plain.spatial_sum(x), v) == dot(x, plain.broadcast(v, (4, 5)))
    assert dot(plain.channel_window_sum(x, 3), other) == dot(x, plain.channel_window_sum(other, 3))
    w, dz = fractions(4, 5, 3), fractions(5, 2, 5)
    assert dot(plain.linear(v, w, None), dz) == dot(v, plain.linear_x(dz, w)) == dot(w, plain.linear_w(v, dz)) != 0


# The tests above, tested: an edit of plain.py, and the test that it turns red.

FLIPPED = "w[:, :, -1 - a, -1 - e], "
MISTAKES = [
    ("w[:, :, a, e], xp[seen]", FLIPPED + "xp[seen]", test_convolution_is_scipys, HARD),
    ("w[:, :, a, e], xp[seen]", FLIPPED + "xp[seen]", test_convolution_by_hand),
    ("w[:, :, a, e], dy", FLIPPED + "dy", test_the_adjoints_of_convolution_exactly, HARD),
    ("w[:, :, a, e], dy", FLIPPED + "dy", test_the_adjoints_of_convolution_by_hand),
    ("dw[:, :, a, e] =", "dw[:, :, -1 - a, e] =", test_the_adjoints_of_convolution_exactly, HARD),
    ("dw[:, :, a, e] =", "dw[:, :, -1 - a, e] =", test_the_adjoints_of_convolution_by_hand),
    ("slice(k * dilation, k * dilation + ", "slice(k, k + ", test_convolution_is_scipys, HARD),
    ("y + b[:, None, None]", "y + 2 * b[:, None, None]", test_convolution_by_hand),
    ("optimize=True) for part in", "optimize=True) * 2 for part in", test_convolution_by_hand),
    ("xp[seen].real > y.real", "xp[seen].real >= y.real", test_max_pool_by_hand),
    ("wins = inside[seen] & ", "wins = ", test_pools_are_scipys, *OVERLAPPING),
    ("wins = inside[seen] & ", "wins = ", test_ceil_mode_by_hand),
    ("first < n and ", "", test_ceil_mode_by_hand),
    ("ceil_mode and first", "first", test_ceil_mode_by_hand),
    ("dxp[seen] += dy * (", "dxp[seen] = dy * (", test_max_pool_by_hand),
    ("dy * (argmax == a * ", "dy * (argmax == e * ", test_the_adjoints_of_pools_exactly, OVERLAPPING, True),
    ("/ (kernel_size[0] * kernel_size[1])\n\n\ndef avg", "/ kernel_size[0]\n\n\ndef avg", test_avg_pool_by_hand),
    ("dy / (kernel_size[0] * kernel_size[1])", "dy", test_the_adjoints_of_pools_exactly, OVERLAPPING, True),
    ("Fraction((2 * i + 1) * n - out, 2 * out)", "Fraction(i * n, out)", test_upsampling_by_hand),
    ("Fraction((2 * i + 1) * n - out, 2 * out)", "Fraction(i * n, out)", test_bilinear_upsampling_is_scipys, (7, 9)),
    ("u == i * n // out", "u == (i * n + 1) // out", test_upsampling_by_hand),
    ("return _bilinear(size[0]", "return _nearest(size[0]", test_all_other_adjoints_exactly),
    ("max(0, c - n // 2)", "max(0, c - n // 2 + 1)", test_sums_and_softmax_by_hand),
    ("return e / e.sum(axis=1, keepdims=True)", "return e / e.sum()**2", test_sums_and_softmax_by_hand),
]  # fmt: skip


@pytest.mark.parametrize("old, new, test, arguments", [(old, new, test, rest) for old, new, test, *rest in MISTAKES])
def test_a_planted_mistake_turns_a_test_red(old, new, test, arguments, monkeypatch):
    text = inspect.getsource(plain)
    assert text.count(old) == 1
    broken = ModuleType("broken")
    exec(text.replace(old, new), broken.__dict__)
    monkeypatch.setitem(globals(), "plain", broken)
    with pytest.raises(AssertionError):
        test(*arguments)


# Its place in the house.


def test_it_shares_no_code_with_what_it_proves():
    imports = [
        node for node in ast.walk(ast.parse(inspect.getsource(plain))) if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    names = {node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in imports}
    assert names == {"collections.abc", "fractions", "typing", "numpy"}


def functions(module):
    return vars(ops._functions(module))


OPERATIONS = [name for name, f in functions(ops).items() if inspect.isfunction(f) and "_room(" in inspect.getsource(f)]


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_stands_in_four_places_with_the_same_arguments(name):
    signature = list(inspect.signature(getattr(ops, name)).parameters)
    for files in ([plain], host.FILES, device.FILES):
        found = [functions(file)[name] for file in files if name in functions(file)]
        assert len(found) == 1
        arguments = inspect.signature(found[0]).parameters
        assert list(arguments)[: len(signature)] == signature
        assert all(arguments[a].default is not inspect.Parameter.empty for a in list(arguments)[len(signature) :])


def test_plain_has_no_other_functions_than_the_operations():
    assert sorted(functions(plain)) == sorted(OPERATIONS) and len(OPERATIONS) > 40


def joint_gradient(prior_gradient):
    net = MultiLoss(width=2, seed=1, dtype=np.float64)
    x, mask = numbers(0, 2, 3, 32, 64), (numbers(1, 2, 32, 64) > 0) * 1.0
    net.loss_and_grad(x, mask, np.array([0, 1]), Objective(0.3, prior_gradient=prior_gradient))
    return net.gradients()


@pytest.mark.parametrize("prior_gradient", ["detached", "exact"])
def test_the_joint_gradient_is_the_hosts(prior_gradient):
    fast = joint_gradient(prior_gradient)
    ops.use_plain(True)
    try:
        plainly = joint_gradient(prior_gradient)
    finally:
        ops.use_plain(False)
    assert any(not np.array_equal(plainly[path], fast[path]) for path in fast)  # it was computed in another way
    for path, d in fast.items():
        assert np.abs(plainly[path] - d).max() <= 1e-10 * np.abs(d).max(), path


def test_train_py_runs_on_it(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setenv("GLAND_OPS", "plain")
    result = scripts.run("train.py", *scripts.TINY, "--data", tiny_data, "--out", tmp_path / "run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "by the definitions of gland/ops/plain.py" in result.stdout
    assert (tmp_path / "run" / "best.npz").exists()
