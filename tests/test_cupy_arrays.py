"""CuPy's own arrays without a GPU: over host memory, and our kernels on the emulator. Skipped where CuPy is not installed.

So shapes, strides, views and flags are CuPy's, which differ from NumPy's here and there; CuPy's own kernels cannot run.
"""

import ctypes
from contextlib import contextmanager

import numpy as np
import pytest
from cuda_on_cpu import MISSING, emulator
from places import assert_close

from gland import backend, layers, loss, ops, prior
from gland.networks import MultiLoss
from gland.ops.device import launch
from gland.training.solver import clip_factor

cp = pytest.importorskip("cupy", reason="CuPy is not installed")
pytestmark = pytest.mark.skipif(bool(MISSING), reason=str(MISSING))
RNG = np.random.default_rng(0)


def _allocate(size):
    memory = np.zeros(size + 64, np.uint8)
    start = -(-memory.ctypes.data // 64) * 64
    return cp.cuda.MemoryPointer(cp.cuda.UnownedMemory(start, max(size, 1), memory, 0), 0)


def _run(kernel, grid, block, values, shared):
    values = [np.uint64(v.data.ptr) if isinstance(v, cp.ndarray) else v for v in values]
    emulator.run(kernel, grid, block, values, shared)


def _seen(x):
    """The memory of a CuPy array as a NumPy array."""
    if type(x) is np.ndarray:
        return x
    memory = (ctypes.c_char * max(1, x.nbytes)).from_address(x.data.ptr)
    return np.lib.stride_tricks.as_strided(np.frombuffer(memory, x.dtype, x.size), x.shape, x.strides)


@contextmanager
def _uploads(patch):
    """asarray without a copy to a device, which there is none of."""

    def asarray(x):
        y = cp.empty(x.shape, x.dtype)
        _seen(y)[...] = x
        return y

    patch.setattr(cp, "asarray", asarray)
    patch.setattr(backend, "to_host", _seen)
    with cp.cuda.using_allocator(_allocate):
        yield


@pytest.fixture(autouse=True)
def on_host_memory(monkeypatch):
    monkeypatch.setitem(launch._runners, cp.ndarray, _run)
    with _uploads(monkeypatch):
        yield


def channels_last(*shape):
    n, c, h, w = shape
    return RNG.standard_normal((n, h, w, c)).transpose(0, 3, 1, 2)


def same(function, *arrays):
    there, here = function(*map(backend.to_device, arrays)), function(*arrays)
    for a, b in zip(*((r if isinstance(r, tuple | list) else [r]) for r in (there, here)), strict=True):
        if b is None:
            assert a is None
            continue
        assert isinstance(a, cp.ndarray)
        assert_close(a, b)


def test_layouts_survive_the_way_up():
    x = channels_last(2, 3, 4, 5)
    assert backend.to_device(x).strides == x.strides
    w = ops.parameter(RNG.standard_normal((5, 3, 2, 2)))
    assert backend.to_device(w).strides == w.strides
    net, host = MultiLoss(width=2), MultiLoss(width=2)
    net.flatten(device=True)
    for path, parameter in host.parameters().items():
        assert net.parameters()[path].strides == parameter.strides
        assert_close(net.parameters()[path], parameter)


def test_convolutions_pools_and_joins():
    x, dy, geo = channels_last(2, 3, 8, 6), channels_last(2, 5, 8, 6), ops.Geometry(1, 1)
    w, b = ops.parameter(RNG.standard_normal((5, 3, 3, 3))), np.ones(5)
    same(lambda x, w, b: ops.conv_relu(x, w, b, geo), x, w, b)
    same(lambda dy, w: ops.conv_x(dy, w, geo, (8, 6)), dy, w)
    same(lambda x, dy: ops.conv_w(x, dy, geo, (3, 3)), x, dy)
    same(lambda x: ops.max_pool(x, (2, 2), 2, 0, False), x)
    same(lambda x: ops.concat([x, x]), x)
    same(lambda x: ops.split(x, [1, 2]), x)
    same(lambda x: ops.upsample_bilinear(x, (16, 9)), x)
    for operation in (ops.softmax, ops.spatial_sum, ops.channel_sum, ops.global_avg_pool, ops.relu):
        same(operation, x)
    same(lambda x: ops.broadcast(ops.spatial_sum(x), (2, 2)), x)


def test_a_layer_through_all_its_passes():
    x = channels_last(1, 3, 8, 8)
    same(lambda x: layers.MaxPool2d(2).forward(x)[0], x)
    pool = layers.MaxPool2d(3, 2, 1)
    same(lambda x: pool.input_grad(*pool.forward(x)), x)
    same(lambda x: pool.tangent(x, pool.forward(x)[1]), x)


@pytest.mark.parametrize("reading", loss.SEGMENTATION_LOSSES)
def test_losses_and_prior(reading):
    logits, mask, f = channels_last(2, 2, 8, 8), (RNG.random((2, 8, 8)) > 0.5) * 1.0, RNG.random((2, 8, 8))
    for function in loss.SEGMENTATION_LOSSES[reading]:
        same(function, logits, mask, f)
    a, label = RNG.standard_normal((2, 2)), np.array([1, 0])
    same(loss.class_loss, a, label)
    same(loss.class_loss_grad, a, label)
    g = channels_last(2, 5, 4, 4)
    same(lambda g: prior.gradient_grad(prior.gradient(g, g), g, g), g)
    same(lambda g: prior.gradient_activation_grad(prior.gradient_activation(g, g), g, g), g)
    c = abs(channels_last(2, 1, 4, 4))
    same(lambda c: prior._normalise(c, prior._peak(c)), c)
    same(lambda c: prior._normalise_grad(c, c, prior._peak(c)), c)


def test_the_update_of_a_network_in_place():
    nets = MultiLoss(width=1), MultiLoss(width=1)
    gradient = RNG.standard_normal(nets[0].flat.size).astype(np.float32)
    nets[0].flatten(device=True)
    for net in nets:
        _seen(net.flat_grad)[...] = gradient
        velocity = np.empty_like(net.flat)
        _seen(velocity)[...] = 0
        ops.sgd_update(net.flat, net.flat_grad, velocity, 0.1, 0.9, 1e-3, clip_factor(net.flat_grad, 1.0))
    assert isinstance(velocity, np.ndarray) and isinstance(nets[0].flat, cp.ndarray)
    assert_close(nets[0].flat, nets[1].flat)
