"""The operations on CuPy's arrays, by the kernels of kernels/*.cu. Nothing here imports CuPy: an array brings its own kind.

conv.py       convolution and its adjoints; pool.py, pointwise.py, upsample.py, update.py as on the host
sums.py       sums over channels and positions, in a fixed order
loss.py       the fused twins of gland/loss.py, prior.py of gland/prior.py, solver.py of gland/training/solver.py
launch.py     from a Python call to a kernel, by the kernel's own C signature
memory.py     arrays and their layout
graph.py      a whole step recorded as one CUDA graph
"""

from gland.ops.device import conv, loss, memory, pointwise, pool, prior, solver, sums, update, upsample

EQUATIONS = loss, prior, solver
FILES = conv, memory, pointwise, pool, sums, update, upsample
