"""How gradients become steps: descent with momentum as Caffe defines it, Adam, Muon, and the schedules of their rate.

SGD, the paper's. Caffe (Jia et al. 2014; caffe.berkeleyvision.org/tutorial/solver.html), which the paper used:

    V <- mu V + alpha (dL/dW + decay W),      W <- W - V

The rate alpha multiplies the gradient before it enters the momentum, so that a change of rate does not rescale the
velocity gathered so far; PyTorch's V <- mu V + dL/dW, W <- W - alpha V differs as soon as alpha changes.

Adam (departs from paper). Every parameter moves by about the rate, however small its gradients are. Kingma and Ba (2015), in the
form of the last lines of their section 2, with the decay kept out of the moments as Loshchilov and Hutter (2019) have it:

    m <- beta1 m + (1 - beta1) dL/dW          alpha_t = alpha sqrt(1 - beta2^t) / (1 - beta1^t),  t = 1, 2, ...
    s <- beta2 s + (1 - beta2) (dL/dW)^2      W <- W - alpha_t (m / (sqrt(s) + epsilon) + decay W)

Departs from source: the decay is multiplied by alpha_t too, not by the schedule alone.

Muon, the default (departs from paper). Most of a gradient matrix lies along few directions, and a step along it leaves the others
untaught. Muon moves a convolution's weights, an m x n matrix of inputs by outputs, as far along every direction of the gradient:
from the same start it learns in 300 steps what Adam does in 600 (docs/lab-notes.md). Jordan et al. (2024), "Muon: an optimizer
for hidden layers in neural networks", with the length of a step and the decay of Liu et al. (2025), "Muon is scalable for LLM
training", Eq. (4):

    v <- mu v + dL/dW,   g = mu v + dL/dW        W <- W - alpha (0.2 sqrt(max(m, n)) orthogonal(g) + decay W)

The factor gives the step a root mean square of about 0.2 an element, as large as Adam's; so one rate serves both. The decay
bounds what a matrix can grow to: its spectral norm stays below 0.25 sqrt(max(m, n)) / decay, or falls to it. Biases, layers that
give logits and fully connected layers (of AlexNet: orthogonal would take longer than the rest of the step) are Adam's, with
beta1 = beta2 = mu. Departs from source: with equal betas, Adam's corrections for its first steps amount to a warm-up less,
sqrt(1 - mu^t), and are left out.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from gland import ops
from gland.networks.base import Matrix, Network
from gland.ops import device

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


@ops.fused(device.solver.clip_factor)
def clip_factor(gradient: Array, largest: float) -> Array:
    """min(1, largest / |gradient|_2), by which Caffe's clip_gradients scales the whole gradient; a 0-d array."""
    norm_squared = gradient @ gradient
    excess = norm_squared / largest**2
    return 1 / (excess * (excess > 1) + (excess <= 1)) ** 0.5


class Solver:
    """Updates a network's flat parameter buffer by the gradients gathered so far.

    momentum: mu; for Adam beta1. decay: weight decay. clip: largest 2-norm of the whole gradient, None for no limit.
    """

    def __init__(self, network: Network, momentum: float = 0.9, decay: float = 0.0, clip: float | None = None) -> None:
        self.network, self.momentum, self.decay, self.clip = network, momentum, decay, clip

    @property
    def state(self) -> dict[str, Array]:
        """What a checkpoint has to keep, by name."""
        raise NotImplementedError

    def rate_at(self, step: int, rate: float) -> float:
        """What `step` takes as its rate at step 0, 1, ... of a phase: the scheduled rate itself, unless said."""
        return rate

    def step(self, rate: float | Array) -> None:
        """One update; the rate may be a 0-d array where the network lives."""
        raise NotImplementedError

    def _factor(self) -> Array | None:
        return None if self.clip is None else clip_factor(self.network.flat_grad, self.clip)


class SGD(Solver):
    """V <- mu V + alpha (dL/dW + decay W),  W <- W - V.  `velocity` V is all of its state."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.velocity = ops.zeros_like(self.network.flat)

    @property
    def state(self) -> dict[str, Array]:
        return {"velocity": self.velocity}

    def step(self, rate: float | Array) -> None:
        w, dw = self.network.flat, self.network.flat_grad
        ops.sgd_update(w, dw, self.velocity, rate, self.momentum, self.decay, self._factor())


class Adam(Solver):
    """`mean` and `square`, the moments m and s, are its state."""

    BETA2, EPSILON = 0.999, 1e-8  # as published

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.mean, self.square = ops.zeros_like(self.network.flat), ops.zeros_like(self.network.flat)

    @property
    def state(self) -> dict[str, Array]:
        return {"mean": self.mean, "square": self.square}

    def rate_at(self, step: int, rate: float) -> float:
        """alpha_t."""
        return rate * math.sqrt(1 - self.BETA2 ** (step + 1)) / (1 - self.momentum ** (step + 1))

    def step(self, rate: float | Array) -> None:
        w, dw, betas = self.network.flat, self.network.flat_grad, (self.momentum, self.BETA2)
        ops.adam_update(w, dw, self.mean, self.square, rate, betas, self.EPSILON, self.decay, self._factor())


class Muon(Solver):
    """Its state are the velocity of the matrices and Adam's moments of all other parameters."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        hidden = self.hidden = sum(m.rows * m.columns for m in self.network.matrices)
        self.velocity, self.moved = (ops.zeros_like(self.network.flat[:hidden]) for _ in range(2))
        self.mean, self.square = (ops.zeros_like(self.network.flat[hidden:]) for _ in range(2))

    @property
    def state(self) -> dict[str, Array]:
        return {"velocity": self.velocity, "mean": self.mean, "square": self.square}

    def step(self, rate: float | Array) -> None:
        w, dw = self.network.flat, self.network.flat_grad
        factor = clip_factor(dw, math.inf if self.clip is None else self.clip)  # of both parts, so that both heed it
        g = ops.nesterov(dw[: self.hidden], self.velocity, self.momentum, factor)
        g = straighten(g, self.network.matrices, POLYNOMIAL)
        ops.sgd_update(w[: self.hidden], g, self.moved, rate, 0.0, self.decay)
        rest = slice(self.hidden, None)
        betas = self.momentum, self.momentum
        ops.adam_update(w[rest], dw[rest], self.mean, self.square, rate, betas, Adam.EPSILON, self.decay, factor)


POLYNOMIAL = 3.4445, -4.7750, 2.0315  # a, b, c of Jordan et al.


@ops.fused(device.solver.straighten)
def straighten(g: Array, matrices: Sequence[Matrix], polynomial: tuple[float, float, float]) -> Array:
    """0.2 sqrt(max(m, n)) orthogonal(matrix) of every matrix in the flat g, which may be written over."""
    by_cost = sorted(matrices, key=lambda m: m.rows * m.columns * min(m.rows, m.columns), reverse=True)

    def work(some: Sequence[Matrix]) -> None:
        for place in some:
            matrix = place.of(g)
            matrix[...] = 0.2 * max(matrix.shape) ** 0.5 * orthogonal(matrix, polynomial)

    ops.at_once(g[:1], partial(work, by_cost[::2]), partial(work, by_cost[1::2]))
    return g


def orthogonal(g: np.ndarray, polynomial: tuple[float, float, float] = POLYNOMIAL) -> np.ndarray:
    """About U V^T of g = U diag(s) V^T (m, n): g with all singular values near 1, without finding them.

    Newton-Schulz: from x = g / |g|, five times x <- x (a I + b x^T x + c (x^T x)^2), which sends every singular value s of x to
    a s + b s^3 + c s^5. With the published a, b, c five turns bring all from 0.01 to 1 within 0.68 and 1.14. Every x is g
    times a polynomial q of g^T g, so the turns multiply matrices of the smaller side alone, and g but once.
    """
    a, b, c = polynomial
    tall = g if g.shape[0] >= g.shape[1] else g.T
    square = ops.linear_w(tall, tall)  # x^T x
    norm = square.trace() ** 0.5
    if norm < 1e-15:  # of dead weights: its squares underflow, and a step made of them would be wild
        return ops.zeros_like(g)
    square, q = square / norm / norm, np.eye(len(square), dtype=g.dtype) / norm
    for _ in range(5):
        r = b * square + c * (square @ square)
        q = a * q + q @ r
        square = a * square + square @ r  # a I + r on both sides of x^T x: all of these commute
        square = a * square + square @ r
    x = ops.linear_x(tall, q)
    return x if tall is g else x.T


SOLVERS: dict[str, type[Solver]] = {"muon": Muon, "adam": Adam, "sgd": SGD}
