"""Solution of the exercise softmax_cross_entropy."""

import numpy as np

from exercises.softmax_cross_entropy import loss, softmax  # noqa: F401, given


def softmax_input_grad(dq, q):
    return q * (dq - (q * dq).sum(axis=1, keepdims=True))


def loss_grad(a, label):
    da = softmax(a)
    da[np.arange(len(label)), label] -= 1
    return da / len(label)
