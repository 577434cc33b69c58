"""Every kind of layer of the joint network and of AlexNet alone, at batch 1: forward, input gradient, weight gradient.

benchmarks/cpu.py prints it. PyTorch's gradients are torch.autograd.grad's, as an eager training step takes them.
"""

import argparse
import sys
from collections.abc import Callable
from typing import Any

import clock
import numpy as np
import sides
import torch
import torch.nn.functional as F
import work

from gland import layers, ops

Calls = dict[str, Callable[[], Any]]


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for every layer and direction. Raises sides.Mismatch."""
    rows = []
    for call in different_layers(options):
        found_by = {"ours": ours(call)}
        for name, channels_last in (("contiguous", False), ("channels_last", True)):
            found_by[name] = theirs(call, channels_last)
        for direction in found_by["ours"]:
            call.layer.zero_grad()
            expected = {direction: found_by["ours"][direction]().copy()}
            for name in ("contiguous", "channels_last"):
                found = {direction: found_by[name][direction]().detach().numpy()}
                sides.check(f"{call.path}, PyTorch {name}", expected, found)
            calls = {name: side[direction] for name, side in found_by.items()}
            seconds = clock.medians(calls, max(1, options.repeats // 2))
            variant = min(("contiguous", "channels_last"), key=seconds.__getitem__)
            rows.append({
                "layer": call.path, "what": describe(call), "direction": direction, "ours": seconds["ours"],
                "torch": seconds[variant], "torch_variant": variant, "operations": call.operations, "bytes": call.bytes,
            })  # fmt: skip
        print(".", end="", file=sys.stderr, flush=True)
    return rows


def different_layers(options: argparse.Namespace) -> list[work.Call]:
    """The layers of both networks, each shape once, the first of its kind."""
    found = {}
    for name in ("joint", "alexnet"):
        network, batch = sides.build(name, options.width, options.side), sides.batch_of(1, options.side)
        for call in work.watch(network, lambda network=network, batch=batch: network.forward(batch.x)):
            call = call._replace(path=f"{name} {call.path}")
            found.setdefault((type(call.layer), call.x.shape, call.y.shape), call)
    return list(found.values())


def describe(call: work.Call) -> str:
    """ConvReLU 3x3 16 -> 16, 224 px"""
    kernel = getattr(call.layer, "kernel", ())
    window = f" {kernel[0]}x{kernel[1]}" if kernel else ""
    side = f", {call.x.shape[2]} px" if call.x.ndim == 4 else ""
    return f"{type(call.layer).__name__}{window} {call.x.shape[1]} -> {call.y.shape[1]}{side}"


def _upstream(call: work.Call) -> np.ndarray:
    rng = np.random.default_rng(1)
    dy = np.empty_like(call.y)
    dy[...] = rng.standard_normal(call.y.shape, dtype=np.float32)
    return dy


def ours(call: work.Call) -> Calls:
    """What to time of our layer; each returns the result that is compared."""
    layer, x, dy = call.layer, call.x, _upstream(call)
    _, cache = layer.forward(x)
    calls = {"forward": lambda: layer.forward(x)[0], "input gradient": lambda: layer.input_grad(dy, cache)}

    def weight_gradient() -> np.ndarray:  # adds to dw, as in a step
        if isinstance(layer, layers.Conv2d):
            layer.weight_grad(dy, cache)
        elif isinstance(layer, layers.Deconv2d):
            layer.dw += ops.conv_w(dy, x, layer.geo, layer.kernel_size)
            layer.db += ops.channel_sum(dy)
        else:
            layer.dw += ops.linear_w(x, dy)
            layer.db += dy.sum(axis=0)
        return layer.dw

    return calls | ({"weight gradient": weight_gradient} if layer.names else {})


def theirs(call: work.Call, channels_last: bool) -> Calls:
    """The same in PyTorch."""
    form = torch.channels_last if channels_last else torch.contiguous_format

    def tensor(a: np.ndarray) -> torch.Tensor:
        t = torch.tensor(np.ascontiguousarray(a))
        return t.contiguous(memory_format=form) if t.ndim == 4 else t

    layer, x, dy = call.layer, tensor(call.x).requires_grad_(), tensor(_upstream(call))
    weights = [tensor(getattr(layer, name)).requires_grad_() for name in layer.names]
    y = apply(layer, x, weights)

    def forward() -> torch.Tensor:
        with torch.no_grad():
            return apply(layer, x, weights)

    calls: Calls = {
        "forward": forward,
        "input gradient": lambda: torch.autograd.grad(y, x, dy, retain_graph=True)[0],
    }
    if weights:
        calls["weight gradient"] = lambda: torch.autograd.grad(y, weights, dy, retain_graph=True)[0]
    return calls


def apply(layer: Any, x: torch.Tensor, weights: list[torch.Tensor]) -> torch.Tensor:
    """The layer in PyTorch."""
    if isinstance(layer, layers.Deconv2d):
        return F.conv_transpose2d(x, *weights, layer.geo.stride, layer.geo.pad)
    if isinstance(layer, layers.Conv2d):
        geo = layer.geo
        y = F.conv2d(x, *weights, geo.stride, geo.pad, geo.dilation, geo.groups)
        return F.relu(y, inplace=True) if isinstance(layer, layers.ConvReLU) else y
    if isinstance(layer, layers.Linear):
        return F.linear(x, *weights)
    if isinstance(layer, layers.MaxPool2d):
        return F.max_pool2d(x, layer.kernel_size, layer.stride, layer.pad, ceil_mode=layer.ceil_mode)
    return F.local_response_norm(x, layer.n, layer.n * layer.alpha, layer.beta, layer.k)
