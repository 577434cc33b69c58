"""What a training step is logged by, added up on the device."""

import numpy as np

from gland.ops.device_memory import contiguous, empty, nhwc
from gland.ops.launch import kernel

_PARTS = 64


def tally(totals, losses, mask, label):
    right, parts, n, classes = None, 0, 0, 0
    logits, s = losses.logits, losses.seg_logits
    if s is not None:
        parts = min(_PARTS, -(-mask.size // 256))
        right = empty((parts,), s, np.int32)
        kernel("tally", "count_right", s.dtype)(parts, 256, nhwc(s), contiguous(mask), right, mask.size)
    if logits is not None:
        logits, (n, classes) = contiguous(logits), logits.shape
    sizes = n, classes, parts, 0 if mask is None else mask.size
    run = kernel("tally", "tally", losses.total.dtype)
    run(1, 32, losses.total, losses.loss_class, losses.loss_segmentation, logits, label, right, totals, *sizes)
