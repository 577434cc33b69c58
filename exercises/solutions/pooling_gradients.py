"""Solution of the exercise pooling_gradients."""

import numpy as np

from exercises.pooling_gradients import softmax


def score_grad(logits, label):
    q, one_hot = softmax(logits), np.arange(logits.shape[1]) == label[:, None]
    return (q * one_hot).sum(axis=1, keepdims=True) * (one_hot - q)


def pooling_gradients(net, logits, label, cache):
    dy = net.mean.input_grad(score_grad(logits, label), cache.mean)
    g2 = net.head.input_grad(dy, cache.head)
    g1 = net.conv2.input_grad(net.pool2.input_grad(g2, cache.pool2), cache.conv2)
    return [g1, g2]
