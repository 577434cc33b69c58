"""What each exercise is checked with: inputs, what must come out, and what a typical mistake gives instead."""

from exercises.cases import layers, losses, network
from exercises.diagnosis import Check

CHECKS: dict[str, Check] = {  # in the course's order
    "linear": layers.linear,
    "relu": layers.relu,
    "softmax_cross_entropy": losses.softmax_cross_entropy,
    "momentum": losses.momentum,
    "conv": layers.conv,
    "deconv": layers.deconv,
    "max_pool": layers.max_pool,
    "bilinear": layers.bilinear,
    "eq4": losses.eq4,
    "pooling_gradients": network.pooling_gradients,
    "second_order": network.second_order,
}
