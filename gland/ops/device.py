"""The device versions of every operation: the kernels of kernels/*.cu on CuPy's arrays."""

from gland.ops.device_conv import conv, conv_relu, conv_w, conv_x
from gland.ops.device_conv_relu import conv_relu_backward, conv_relu_w, conv_relu_x
from gland.ops.device_memory import like
from gland.ops.device_pointwise import (
    add,
    broadcast,
    channel_add,
    channel_sum,
    channel_window_sum,
    concat,
    global_avg_pool,
    global_avg_pool_x,
    linear,
    linear_w,
    linear_x,
    log_softmax,
    multiply,
    relu,
    relu_x,
    softmax,
    spatial_sum,
    split,
)
from gland.ops.device_pool import avg_pool, avg_pool_x, max_pool, max_pool_t, max_pool_x
from gland.ops.device_tally import tally
from gland.ops.device_update import adam_update, nesterov, sgd_update
from gland.ops.device_upsample import upsample_bilinear, upsample_bilinear_x, upsample_nearest, upsample_nearest_x

__all__ = [
    "adam_update",
    "add",
    "at_once",
    "avg_pool",
    "avg_pool_x",
    "broadcast",
    "by_pieces",
    "channel_add",
    "channel_sum",
    "channel_window_sum",
    "concat",
    "conv",
    "conv_relu",
    "conv_relu_backward",
    "conv_relu_w",
    "conv_relu_x",
    "conv_w",
    "conv_x",
    "global_avg_pool",
    "global_avg_pool_x",
    "like",
    "linear",
    "linear_w",
    "linear_x",
    "log_softmax",
    "max_pool",
    "max_pool_t",
    "max_pool_x",
    "multiply",
    "nesterov",
    "relu",
    "relu_x",
    "sgd_update",
    "softmax",
    "spatial_sum",
    "split",
    "tally",
    "upsample_bilinear",
    "upsample_bilinear_x",
    "upsample_nearest",
    "upsample_nearest_x",
]


def at_once(x, *calls):
    return [call() for call in calls]


def by_pieces(function, *arrays):
    return function(*arrays)
