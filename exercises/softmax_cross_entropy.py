"""Exercise softmax_cross_entropy (45 minutes): Eqs. (1) and (2). See docs/backprop/5-softmax.md.

Q_l = exp(a_l) / sum_m exp(a_m),   L_c = -(1/N) sum_n log Q_{label[n]}          a (N, L)   label (N,)   Q (N, L)

Check with:  python -m exercises.check softmax_cross_entropy
"""

import numpy as np


def softmax(a):
    """Q (N, L). The largest logit is subtracted first, which changes nothing but keeps exp from overflowing."""
    e = np.exp(a - a.real.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def loss(a, label):
    """L_c, a number: the mean over the images."""
    q = softmax(a)
    return -np.log(q[np.arange(len(label)), label]).sum() / len(label)


def softmax_input_grad(dq, q):
    """da (N, L) from dq (N, L) for any dq: every Q_l depends on every a_m."""
    raise NotImplementedError(
        "da: dQ_l/da_m = Q_l ([l = m] - Q_m); multiply by dq_l and sum over l, without building the matrix"
    )


def loss_grad(a, label):
    """dL_c/da (N, L), short and without any logarithm."""
    raise NotImplementedError("dL_c/da: put dL_c/dQ into softmax_input_grad on paper; nearly everything cancels")
