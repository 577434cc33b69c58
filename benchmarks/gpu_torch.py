"""The same networks in PyTorch on the same GPU, eagerly and captured in a CUDA graph; used by benchmarks/gpu.py."""

import sys
from collections.abc import Callable
from typing import Any

import torch
import torch_networks

from gland import backend

WARM_UP = 3  # calls before a capture, as PyTorch's documentation asks for
TOLERANCE = {"float32": 1e-3, "tf32": 2e-2}  # relative, of the loss: both must compute the same before they are timed


def competitors(case: Any, network: Any, batch: Any, device: str = "cuda") -> dict[str, Callable[[], None]]:
    """PyTorch's step or inference by name: "eager", and "graph" where it can be captured. Set up for speed.

    Raises AssertionError if its loss is not ours.
    """
    tf32 = case.precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True
    net = torch_networks.twin(network, device, channels_last=True)
    inputs = [net.tensor(a) for a in batch]
    _check_agreement(case, network, net, batch, inputs)
    work = _training(net, inputs) if case.work == "train" else lambda: net.predict(inputs[0])
    for _ in range(WARM_UP):
        work()
    found = {"eager": work}
    if device == "cuda":
        try:
            found["graph"] = _captured(work)
        except RuntimeError as error:
            print(f"  PyTorch cannot capture this: {str(error).splitlines()[0]}", file=sys.stderr)
            torch.cuda.synchronize()
    return found


def _check_agreement(case: Any, network: Any, net: Any, batch: Any, inputs: list[torch.Tensor]) -> None:
    losses = network.loss_and_grad(*(backend.to_device(a) for a in batch))
    ours, theirs = float(backend.to_host(losses.total)), net.loss(*inputs).item()
    assert abs(ours - theirs) <= TOLERANCE[case.precision] * max(1, abs(theirs)), (
        f"{case}: our loss is {ours}, PyTorch's {theirs}"
    )


def _training(net: Any, inputs: list[torch.Tensor]) -> Callable[[], None]:
    """The step that ours takes: gradient, its norm limited, momentum and decay."""
    weights = list(net.weights.values())
    optimizer = torch.optim.SGD(weights, lr=1e-4, momentum=0.9, weight_decay=5e-4, foreach=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        net.loss(*inputs).backward()
        torch.nn.utils.clip_grad_norm_(weights, 5.0, foreach=True)
        optimizer.step()

    return step


def _captured(work: Callable[[], Any]) -> Callable[[], None]:
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UP):
            work()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay
