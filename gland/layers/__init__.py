"""The layers, one short file each. gland/layers/base.py states the protocol that they all follow."""

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
