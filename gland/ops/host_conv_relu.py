"""The adjoints of conv_relu on the host. Winograd's convolution applies the rectifier's mask to dy while it gathers its
rows, and finds the gradient of the bias among its own sums; elsewhere each is a pass of its own.
"""

from gland.ops import host_winograd
from gland.ops.host_conv import adjoint, conv_w, conv_x, turned
from gland.ops.host_pointwise import channel_sum, relu_x
from gland.ops.layout import nchw, nhwc, oihw
from gland.ops.threads import at_once


def conv_relu_x(dy, y, w, geo, size):
    rows, back = nhwc(dy), adjoint(geo, w.shape[2:])
    if back is not None and host_winograd.applies(rows, w.shape[2:], back):
        return nchw(host_winograd.convolve(rows, turned(w), None, back.pad, False, nhwc(y)))
    return conv_x(relu_x(dy, y), w, geo, size)


def conv_relu_w(x, y, dy, geo, kernel):
    rows = nhwc(x)
    if host_winograd.applies(rows, kernel, geo):
        dw, db = host_winograd.weight_grad(rows, nhwc(dy), geo.pad, nhwc(y))
        return oihw(dw), db
    dy = relu_x(dy, y)
    return conv_w(x, dy, geo, kernel), channel_sum(dy)


def conv_relu_backward(x, y, dy, w, geo):
    if host_winograd.applies(nhwc(x), w.shape[2:], geo):
        dx, dwb = at_once(
            lambda: conv_relu_x(dy, y, w, geo, x.shape[2:]), lambda: conv_relu_w(x, y, dy, geo, w.shape[2:])
        )
        return dx, *dwb
    dy = relu_x(dy, y)
    return *at_once(lambda: conv_x(dy, w, geo, x.shape[2:]), lambda: conv_w(x, dy, geo, w.shape[2:])), channel_sum(dy)
