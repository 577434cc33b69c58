"""Solution of the exercise second_order."""

from exercises.second_order import curvature, eq3


def second_order(net, u, logits, label, cache):
    into_conv2, into_head = eq3(net, logits, label, cache)
    net.conv2.second_order(u[0], into_conv2, cache.conv2)
    t = net.pool2.tangent(net.conv2.tangent(u[0], cache.conv2), cache.pool2) + u[1]
    net.head.second_order(t, into_head, cache.head)
    ta = net.mean.tangent(net.head.tangent(t, cache.head), cache.mean)
    dy = net.head.backward(net.mean.backward(curvature(logits, label, ta), cache.mean), cache.head)
    dy = net.conv2.backward(net.pool2.backward(dy, cache.pool2), cache.conv2)
    net.conv1.backward(net.pool1.backward(dy, cache.pool1), cache.conv1)
