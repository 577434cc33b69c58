"""Exercise pooling_gradients (45 minutes): Eq. (3), a backward pass that stops early. See docs/backprop/7-eq3.md.

g_k = dQ_l/dz_k   for the pooling outputs z_1, z_2 of the network in exercises/tiny.py;   Q = softmax(logits), l = label
Every layer of gland has input_grad(dy, cache), which touches no parameter.

Check with:  python -m exercises.check pooling_gradients
"""

import numpy as np


def softmax(a):
    e = np.exp(a - a.real.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def score_grad(logits, label):
    """dQ_l/da (N, 2), l = label (N,) differing from image to image."""
    raise NotImplementedError("dQ_l/da_m = Q_l ([l = m] - Q_m), for each image its own l")


def pooling_gradients(net, logits, label, cache):
    """The list [g_1, g_2], g_k of z_k's shape."""
    raise NotImplementedError(
        "g_2 and g_1: start from score_grad, and go back layer by layer with input_grad as far as z_1"
    )
