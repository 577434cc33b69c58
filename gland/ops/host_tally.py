"""What a training step is logged by, on the host.

totals (7,): the sums over steps of Eq. (5), Eq. (1), Eq. (4), of class and of pixel accuracy; the number of steps; and the
number, counted from 1, of the first step whose loss was not finite, 0 while there was none. NaN where a network has no
such part.
"""

import numpy as np


def tally(totals, losses, mask, label):
    values = [losses.total, losses.loss_class, losses.loss_segmentation, None, None]
    if losses.logits is not None:
        values[3] = (losses.logits.argmax(axis=1) == label).mean()
    if losses.seg_logits is not None:
        values[4] = ((losses.seg_logits[:, 0] > losses.seg_logits[:, 1]) == (mask > 0)).mean()
    totals[:5] += [np.nan if value is None else float(value) for value in values]
    totals[5] += 1
    if totals[6] == 0 and not np.isfinite(float(losses.total)):
        totals[6] = totals[5]
