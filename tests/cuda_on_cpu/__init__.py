"""kernels/*.cu without a GPU: the same text compiled by g++ and run on the processor.

`emulated(x)` makes an array that gland.ops takes for a device array. `thread_order` runs blocks and threads in another
order. recording.py keeps launches and replays them under the sanitizers and the race detector.
"""

from cuda_on_cpu.build import MISSING, BuildError
from cuda_on_cpu.emulator import ORDERS, EmulatedArray, KernelError, emulated, thread_order

__all__ = ["MISSING", "ORDERS", "BuildError", "EmulatedArray", "KernelError", "emulated", "thread_order"]
