"""How gradients become steps: descent with momentum as Caffe defines it, Adam, and the schedules of their rate.

SGD, the paper's. Caffe (Jia et al. 2014; caffe.berkeleyvision.org/tutorial/solver.html), which the paper used:

    V <- mu V + alpha (dL/dW + decay W),      W <- W - V

The rate alpha multiplies the gradient before it enters the momentum, so that a change of rate does not rescale the
velocity gathered so far; PyTorch's V <- mu V + dL/dW, W <- W - alpha V differs as soon as alpha changes.

Adam, the default (departs from paper). Every parameter moves by about the rate, however small its gradients are: from the same
start it reaches in 600 steps what momentum does not in 1500 (docs/results.md). Kingma and Ba (2015), in the form of the last
lines of their section 2, with the decay kept out of the moments as Loshchilov and Hutter (2019) have it:

    m <- beta1 m + (1 - beta1) dL/dW          alpha_t = alpha sqrt(1 - beta2^t) / (1 - beta1^t),  t = 1, 2, ...
    s <- beta2 s + (1 - beta2) (dL/dW)^2      W <- W - alpha_t (m / (sqrt(s) + epsilon) + decay W)

Departs from source: the decay is multiplied by alpha_t too, not by alpha; from t = 3000 on they differ by less than 3 %.
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

    @property
    def state(self) -> dict[str, Array]:
        """What a checkpoint has to keep, by name."""
        return {"velocity": self.velocity}

    @staticmethod
    def rate_at(step: int, rate: float) -> float:
        """What `step` takes as its rate at step 0, 1, ... of a phase: here the scheduled rate itself."""
        return rate

    def step(self, rate: float | Array) -> None:
        """One update with the gradients gathered so far; the rate may be a 0-d array where the network lives."""
        w, dw = self.network.flat, self.network.flat_grad
        factor = None if self.clip is None else clip_factor(dw, self.clip)
        ops.sgd_update(w, dw, self.velocity, rate, self.momentum, self.decay, factor)


class Adam:
    """As SGD; `mean` and `square`, the moments m and s, are its state, and momentum is beta1."""

    BETA2, EPSILON = 0.999, 1e-8  # as published

    def __init__(self, network: Any, momentum: float = 0.9, decay: float = 0.0, clip: float | None = None) -> None:
        self.network, self.momentum, self.decay, self.clip = network, momentum, decay, clip
        self.mean, self.square = network.flat * 0, network.flat * 0

    @property
    def state(self) -> dict[str, Array]:
        """What a checkpoint has to keep, by name."""
        return {"mean": self.mean, "square": self.square}

    def rate_at(self, step: int, rate: float) -> float:
        """alpha_t, which `step` takes as its rate at step 0, 1, ... of a phase."""
        return rate * math.sqrt(1 - self.BETA2 ** (step + 1)) / (1 - self.momentum ** (step + 1))

    def step(self, rate: float | Array) -> None:
        """One update with the gradients gathered so far; the rate may be a 0-d array where the network lives."""
        w, dw = self.network.flat, self.network.flat_grad
        factor = None if self.clip is None else clip_factor(dw, self.clip)
        betas = self.momentum, self.BETA2
        ops.adam_update(w, dw, self.mean, self.square, rate, betas, self.EPSILON, self.decay, factor)


SOLVERS = {"adam": Adam, "sgd": SGD}
