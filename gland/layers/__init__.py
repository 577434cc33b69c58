"""The layers, one short file each.

base.py        the protocol that they all follow: forward, input_grad, backward, tangent, second_order
conv.py        Conv2d, ConvReLU; deconv.py: Deconv2d; linear.py: Linear
pool.py        MaxPool2d, AvgPool2d, GlobalAvgPool; upsample.py: bilinear, nearest
activation.py  ReLU, Dropout; softmax.py: Softmax, LogSoftmax; lrn.py: LocalResponseNorm; flatten.py: Flatten
"""

from gland.layers.activation import Dropout, ReLU
from gland.layers.base import Layer, start_small
from gland.layers.conv import Conv2d, ConvReLU
from gland.layers.deconv import Deconv2d
from gland.layers.flatten import Flatten
from gland.layers.linear import Linear
from gland.layers.lrn import LocalResponseNorm
from gland.layers.pool import AvgPool2d, GlobalAvgPool, MaxPool2d
from gland.layers.softmax import LogSoftmax, Softmax
from gland.layers.upsample import UpsampleBilinear, UpsampleNearest

__all__ = [
    "AvgPool2d",
    "Conv2d",
    "ConvReLU",
    "Deconv2d",
    "Dropout",
    "Flatten",
    "GlobalAvgPool",
    "Layer",
    "Linear",
    "LocalResponseNorm",
    "LogSoftmax",
    "MaxPool2d",
    "ReLU",
    "Softmax",
    "UpsampleBilinear",
    "UpsampleNearest",
    "start_small",
]
