"""Stochastic gradient descent with momentum, as Caffe defines it, and the schedules of its rate.

Caffe (Jia et al. 2014; caffe.berkeleyvision.org/tutorial/solver.html), which the paper used:

    V <- mu V + alpha (dL/dW + decay W),      W <- W - V

The rate alpha multiplies the gradient before it enters the momentum, so that a change of rate does not rescale the
velocity gathered so far; PyTorch's V <- mu V + dL/dW, W <- W - alpha V differs as soon as alpha changes.
"""

import math
from typing import Any

from gland import ops

Array = Any
SCHEDULES = ("cosine", "step", "constant")


def learning_rate(step: int, steps: int, rate: float, schedule: str = "cosine", warmup: int = 0) -> float:
    """The rate of step 0 .. steps - 1.

    The first `warmup` steps rise linearly to rate. After that "constant" stays; "step" divides by 10 after each third of
    the steps; "cosine" falls to 0 along half a cosine (Loshchilov and Hutter 2017, Eq. 5, one period).
    """
    if step < warmup:
        return rate * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    if schedule == "constant":
        return rate
    if schedule == "step":
        return rate * 0.1 ** int(3 * done)
    if schedule == "cosine":
        return rate * 0.5 * (1 + math.cos(math.pi * done))
    raise ValueError(f"schedule {schedule!r} is none of {', '.join(SCHEDULES)}")


@ops.fused
def clip_factor(gradient: Array, largest: float) -> Array:
    """min(1, largest / |gradient|_2), by which Caffe's clip_gradients scales the whole gradient; a 0-d array."""
    norm_squared = gradient @ gradient
    excess = norm_squared / largest**2
    return 1 / (excess * (excess > 1) + (excess <= 1)) ** 0.5


class SGD:
    """Updates a network's flat parameter buffer; `velocity` is all of its state.

    clip: largest 2-norm of the whole gradient, None for no limit. decay: weight decay.
    """

    def __init__(self, network: Any, momentum: float = 0.9, decay: float = 0.0, clip: float | None = None) -> None:
        self.network, self.momentum, self.decay, self.clip = network, momentum, decay, clip
        self.velocity = network.flat * 0

    def step(self, rate: float | Array) -> None:
        """One update with the gradients gathered so far; the rate may be a 0-d array where the network lives."""
        w, dw = self.network.flat, self.network.flat_grad
        factor = None if self.clip is None else clip_factor(dw, self.clip)
        ops.sgd_update(w, dw, self.velocity, rate, self.momentum, self.decay, factor)
