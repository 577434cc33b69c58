"""Checks of a scalar function's gradient, and of a whole network's over every parameter."""

from collections.abc import Callable
from typing import Any

import numpy as np

from gland.gradcheck.numeric import ANALYTIC, along, central_difference, compare_along, directions, moved
from gland.gradcheck.rows import Report

Array = Any


def check_function(f: Callable[[Array], Any], grad: Callable[[Array], Array], x: Array, seed: int = 0) -> Report:
    """grad(x) against the derivative of the scalar f at x: by the complex step if f computes with complex numbers,
    else by central differences, where elements with a kink nearby are left out and named in the notes."""
    report, rng = Report(getattr(f, "__name__", "function")), np.random.default_rng(seed)
    gradient, x = grad(x), np.asarray(x, float)
    if np.iscomplexobj(f(x + 0j)):
        rows = [(name, v, along(f, x, v)) for name, v in directions(x, rng)]
        compare_along(report, "complex step", "x", gradient, rows, ANALYTIC)
        return report
    rows = []
    for name, v in directions(x, rng):
        value, kink = central_difference(f, x, v)
        if kink:
            report.notes.append(f"{name}: a kink or a tie lies within the step, so it was not compared")
        else:
            rows.append((name, v, value))
    if rows:
        compare_along(report, "central difference", "x", gradient, rows, 1e-6)
    return report


def check_parameters(
    loss_and_grad: Callable[[Any], Any],
    network: Any,
    loss: Callable[[Any], Any] | None = None,
    elements: int = 2,
    seed: int = 0,
) -> Report:
    """The gradient of a scalar over every parameter tensor of a network (gland/networks/base.py) in float64.

    loss_and_grad(network) returns the loss and adds its gradients; loss(network), the same without the gradients, is
    what is differentiated numerically (default: the same function). The network comes back in float64.
    """
    report, rng = Report(type(network).__name__), np.random.default_rng(seed)
    loss = loss or loss_and_grad
    network.flatten(np.float64)
    network.zero_grad()
    loss_and_grad(network)
    by_hand = {name: gradient.copy() for name, gradient in network.gradients().items()}
    network.flatten(np.complex128)
    for name, parameter in network.parameters().items():
        rows = [(l, v, moved(parameter, v, lambda: loss(network))) for l, v in directions(parameter, rng, elements)]
        compare_along(report, "complex step", name, by_hand[name], rows, ANALYTIC)
    network.flatten(np.float64)
    return report
