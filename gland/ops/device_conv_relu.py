"""The adjoints of conv_relu on the device: the rectifier's mask is a kernel of its own."""

from gland.ops.device_conv import conv_w, conv_x
from gland.ops.device_pointwise import channel_sum, relu_x


def conv_relu_x(dy, y, w, geo, size):
    return conv_x(relu_x(dy, y), w, geo, size)


def conv_relu_w(x, y, dy, geo, kernel):
    dy = relu_x(dy, y)
    return conv_w(x, dy, geo, kernel), channel_sum(dy)


def conv_relu_backward(x, y, dy, w, geo):
    dy = relu_x(dy, y)
    return conv_x(dy, w, geo, x.shape[2:]), conv_w(x, dy, geo, w.shape[2:]), channel_sum(dy)
