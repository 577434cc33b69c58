"""A function of device work, recorded once as a CUDA graph and launched from then on as one piece.

A training step of a small network is hundreds of short kernels, and each costs the processor more to launch than the GPU to
run. Recorded, the whole step is one launch. What is recorded is pointers: so the function must read and write the same arrays
on every call, draw nothing on the host, and copy nothing between host and device. Its temporaries come from a memory pool of
its own, which nobody else can be given as long as the graph lives.
"""

from collections.abc import Callable

from gland import backend

WARM_UP = 2  # eager calls before the recording: kernels are compiled and the pool is filled by then


class Recorded:
    """Call it: eagerly at first, then by the graph. `reason` says why there is none, if there is none."""

    def __init__(self, function: Callable[[], None], reason: str | None = None) -> None:
        """reason: given by a caller who knows why the function cannot be recorded."""
        self.function, self.reason = function, reason or None
        self.calls, self.graph = 0, None
        cp = backend.cupy()
        self.stream = cp.cuda.Stream()  # waits for the default stream and it for this one, so other code needs no care
        self._pool = cp.cuda.MemoryPool()

    def __call__(self) -> None:
        """The function's work, in order after all work given before; returns without waiting for it."""
        self.calls += 1
        if self.graph is None and self.reason is None and self.calls > WARM_UP:
            self._record()
        if self.graph is None:
            with backend.cupy().cuda.using_allocator(self._pool.malloc), self.stream:
                self.function()
        else:
            self.graph.launch(self.stream)

    def _record(self) -> None:
        with backend.cupy().cuda.using_allocator(self._pool.malloc), self.stream:
            try:
                self.stream.begin_capture()
                try:
                    self.function()
                finally:
                    graph = self.stream.end_capture()  # also after an error: the stream must leave its recording state
                self.graph = graph
            except Exception as error:  # CuPy and CUDA refuse in many ways; a run without a graph is slower, not wrong
                text = str(error).strip() or type(error).__name__
                self.reason = f"the step could not be recorded: {text.splitlines()[0]}"
