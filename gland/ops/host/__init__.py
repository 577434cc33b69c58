"""The operations in NumPy, made fast: channels-last memory, a few threads, buffers that are used again.

    conv.py       convolution and its adjoints, with the rectifier too, as matrix products over strips
    winograd.py   3x3 kernels at stride 1 in float32: half the multiplications; tiles.py cuts the image for it
    columns.py    im2col for everything else, a strip at a time
    pool.py       max and mean of windows
    pointwise.py  sums, products, rectifier, softmax, joins, the fully connected product
    upsample.py   bilinear, nearest
    update.py     the solvers' updates, and what a training step is logged by
    threads.py    a few threads that share strips; products.py: how matrix products are cut; arena.py: buffers

The formulas are in gland/ops/plain.py, the signatures in gland/ops/__init__.py.
"""

from gland.ops.host import conv, pointwise, pool, update, upsample

FILES = conv, pointwise, pool, update, upsample
