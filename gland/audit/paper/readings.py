"""Departures from the paper and open readings of it, with what each changes on one image, measured.

They are those of Eqs. (3) and (4), of f as a constant or differentiated, and the skip connections. docs/equations.md lists
all departures; those of data, training and prediction are measured elsewhere, or not.

All start from the same weights, trained for a moment under the default reading. L, the gradient's norm and its
direction against the default's are those of that start, on one image; then each reading trains for a few steps more,
and Eq. (6)'s mask of that image is compared.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gland import loss, ops, prior
from gland.audit.paper.image import START, Descent, started, window
from gland.metrics import dice
from gland.networks.base import Objective
from gland.networks.multiloss import MultiLoss

Array = Any
Size = tuple[int, int]
STEPS = 10
DIVERGES = "diverges at the mean's rate"  # all readings train at the rate that suits the loss as a mean


class Reading(NamedTuple):
    """One way to read the paper: an option of the network or of the loss, or a function of this file."""

    name: str
    question: str  # what the paper leaves open, or what we do otherwise
    options: dict[str, Any] = {}  # of MultiLoss  # noqa: RUF012
    call: dict[str, Any] = {}  # of Objective  # noqa: RUF012
    prior_of: Callable[..., Array] | None = None  # (g, z, size) -> f
    losses: tuple[Callable[..., Array], Callable[..., Any]] | None = None  # (value, gradient) in place of Eq. (4)


class Measured(NamedTuple):
    name: str
    question: str
    loss: float
    norm: float
    cosine: float | None  # with the default's gradient; None where the parameters are other ones
    changed: float  # share of the mask's pixels that differ from the default's after training; nan: training diverged
    gland: float  # share of pixels that are gland
    dice: float

    @property
    def diverged(self) -> bool:
        return self.changed != self.changed


def literal_loss(logits: Array, mask: Array, f: Array) -> Array:
    """Eq. (4) as typeset, the minus covering its first term only: -sum S f log P_g + sum (1 - S f) log P_b, over J."""
    log_p = ops.log_softmax(logits)
    return (-(mask * f * log_p[:, 0]) + (1 - mask * f) * log_p[:, 1]).sum() / mask.size


def literal_loss_grad(logits: Array, mask: Array, f: Array) -> tuple[Array, None]:
    p = ops.softmax(logits)
    # -t log P_g gives t (P_g - 1), +(1 - t) log P_b gives -(1 - t) P_g
    ds_gland = (mask * f * (p[:, 0] - 1) - (1 - mask * f) * p[:, 0]) / mask.size
    return np.stack([ds_gland, -ds_gland], axis=1), None


def summed_loss(logits: Array, mask: Array, f: Array) -> Array:
    """Eq. (4) as a sum over the pixels of an image, mean over the images."""
    return loss.soft_target_loss(logits, mask, f) * mask[0].size


def summed_loss_grad(logits: Array, mask: Array, f: Array) -> tuple[Array, Array]:
    ds, df = loss.soft_target_loss_grad(logits, mask, f)
    return ds * mask[0].size, df * mask[0].size


def absolute_prior(g: list[Array], z: list[Array], size: Size) -> Array:
    """|g| in place of its positive part: the same map for both classes."""
    return prior.combine([np.abs(v) for v in g], z, size, "gradient")[0]


def unnormalised_prior(g: list[Array], z: list[Array], size: Size) -> Array:
    """The mean over channels and pooling layers, without dividing any map by its maximum."""
    return sum(ops.upsample_bilinear(prior.gradient(a, b), size)[:, 0] for a, b in zip(g, z)) / len(g)


READINGS = (
    Reading("default", "balanced-weight, positive gradient, f detached, skip connections, mean over pixels"),
    Reading("loss weight", "Eq. 4: f weighs the gland term as it is", call={"reading": "weight"}),
    Reading("loss soft-target", "Eq. 4: S f is the target itself", call={"reading": "soft-target"}),
    Reading("Eq. 4 as a sum", "the paper's sum over pixels; ours is the mean", losses=(summed_loss, summed_loss_grad)),
    Reading("Eq. 4 as typeset", "the minus covers the first term only", losses=(literal_loss, literal_loss_grad)),
    Reading("f exact", "is f a constant of the loss, or differentiated", call={"prior_gradient": "exact"}),
    Reading(
        "prior gradient x activation", "Eq. 3's derivative times z_k", options={"prior_kind": "gradient-activation"}
    ),
    Reading("score Q, literally", "Eq. 3 of Q_l where ours takes the margin", options={"eq3_of": "probability"}),
    Reading("prior from |g|", "magnitude in place of the positive part", prior_of=absolute_prior),
    Reading("prior not normalised", "no division by each map's maximum", prior_of=unnormalised_prior),
    Reading("no skip connections", "the paper's text has none; ours has", options={"skip": False}),
)


def gradient(net: MultiLoss, reading: Reading, x: Any, mask: Any, label: Any) -> Any:
    """L of this reading, its gradient added to the network's."""
    own_prior = reading.prior_of
    if own_prior is None and reading.losses is None:
        return net.loss_and_grad(x, mask, label, Objective(**reading.call)).total

    def prior_of(logits: Array, label: Array, cache: Any) -> Array:
        assert own_prior is not None
        g, _ = net.classifier.pooling_gradients(prior.SCORES[net.eq3_of].grad(logits, label), cache)
        return own_prior(g, cache.pooled, x.shape[2:])

    passed = net.forward(x, label, f=None if own_prior is None else prior_of)
    value, value_grad = reading.losses or loss.SEGMENTATION_LOSSES["balanced-weight"]
    loss_class, loss_segmentation = loss.class_loss(passed.logits, label), value(passed.seg_logits, mask, passed.f)
    da = loss.class_loss_grad(passed.logits, label)
    dseg, _ = value_grad(passed.seg_logits, mask, passed.f)
    net.backward(passed, 0.5 * da, 0.5 * dseg, None)
    return loss.joint_loss(loss_class, loss_segmentation, 0.5)


@contextmanager
def overflowing() -> Iterator[None]:
    """What is unbounded below overflows, and that is the finding, so NumPy need not warn, in no thread."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def measure(steps: int = STEPS) -> list[Measured]:
    one = [v[:1] for v in window(START)]
    rows: list[Measured] = []
    for reading in READINGS:
        net = started(**reading.options)
        net.zero_grad()
        value = float(gradient(net, reading, *one))
        g = net.flat_grad.astype(float)
        descent = Descent(net)
        with overflowing():
            for step in range(START, START + steps):
                last = descent.step(partial(gradient, net, reading, *window(step)))
        mask = net.predict(one[0]).gland_mask()[0]
        if not rows:
            base, base_mask = g, mask
        cosine = None if g.size != base.size else float(g @ base / np.sqrt((g @ g) * (base @ base)))
        after = (
            (float((mask != base_mask).mean()), float(mask.mean()), dice(mask, one[1][0]))
            if np.isfinite(last)
            else (np.nan,) * 3
        )
        rows.append(Measured(reading.name, reading.question, value, float(np.sqrt(g @ g)), cosine, *after))
    return rows
