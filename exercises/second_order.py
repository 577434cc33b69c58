"""Exercise second_order (90 minutes): the gradient of a gradient, by a forward pass. See docs/backprop/8-second-order.md.

s = sum_k <u_k, g_k>,   g_k = dQ_l/dz_k as in the exercise pooling_gradients, u_k held still.   ds/dw for every w?

s is how fast Q_l moves when every z_k moves along u_k. So carry the tangent u_k forward, from pool k to the logits. Each
convolution that it meets receives dw += conv_w(tangent, dy), where dy is what the backward pass of Eq. (3) sent into it.
The tangent ta that arrives at the logits meets a curved function, Q_l: one ordinary backward pass starts from there.

Of gland's layers use tangent(tx, cache), second_order(tx, dy, cache), input_grad and backward.

Check with:  python -m exercises.check second_order
"""

import numpy as np


def softmax(a):
    e = np.exp(a - a.real.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def one_hot(label, logits):
    return (np.arange(logits.shape[1]) == label[:, None]).astype(float)


def eq3(net, logits, label, cache):
    """Given: what Eq. (3)'s backward pass sent into conv2 and into head."""
    q, d = softmax(logits), one_hot(label, logits)
    da = (q * d).sum(axis=1, keepdims=True) * (d - q)
    into_head = net.mean.input_grad(da, cache.mean)
    into_conv2 = net.pool2.input_grad(net.head.input_grad(into_head, cache.head), cache.pool2)
    return into_conv2, into_head


def curvature(logits, label, ta):
    """Given: the gradient of <ta, dQ_l/da> with respect to a."""
    q, d = softmax(logits), one_hot(label, logits)
    centred = ta - (q * ta).sum(axis=1, keepdims=True)
    return (q * d).sum(axis=1, keepdims=True) * ((d - q) * (centred * d).sum(axis=1, keepdims=True) - q * centred)


def second_order(net, u, logits, label, cache):
    """Adds ds/dw to the dw, and ds/db to the db, of conv1, conv2 and head. u: the list [u_1, u_2]. Returns nothing."""
    raise NotImplementedError(
        "the tangent starts as u_1 at z_1; u_2 joins it at z_2; then curvature, then an ordinary backward pass"
    )
