"""Training batches, made in a background thread so that training does not wait for them.

Batch `step` of a seed is a pure function of (seed, step): nothing is carried from one to the next. So the thread's
timing cannot change a bit, and to resume is to start at a later step.
"""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from gland.data.augment import DEFAULT, NONE, Recipe, augment
from gland.data.crops import WINDOW, resize
from gland.data.sample import Sample, to_input
from gland.errors import InputError


class Batch(NamedTuple):
    images: np.ndarray  # (N, 3, size, size) float32 network input, channels-last memory
    mask: np.ndarray  # (N, size, size) float32, 1 = gland
    malignant: np.ndarray  # (N,) int64, the class index: 0 benign, 1 malignant
    names: list[str]
    instances: np.ndarray  # (N, size, size) int32, 0 = background


class Batches:
    """An endless iterator of Batch. Use as a context manager, or close() it.

    samples: any sizes; each is resized by scale (gland/data/crops.py) once. balanced: classes alternate, otherwise all
    samples are one class; every sample of a class comes once before any comes again. augment=False leaves only the random
    windows.
    start_step: the first batch to return. step: the next batch to return. threads: batches made at the same time; a window
    of 224 pixels takes one about 7 ms. An error in a thread is raised by next().
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        batch: int,
        size: int = WINDOW,
        seed: int = 0,
        augment: bool = True,
        start_step: int = 0,
        recipe: Recipe = DEFAULT,
        scale: float = 0,
        ahead: int = 4,
        threads: int = 1,
    ):
        if not samples:
            raise InputError("there are no images to train on; the split or the folder left none.")
        self.samples = [resize(s, scale) for s in samples]
        self.batch, self.size, self.seed, self.step = batch, size, seed, start_step
        self.recipe = recipe if augment else NONE._replace(quadrant=recipe.quadrant)
        classes = [[i for i, s in enumerate(samples) if s.malignant == label] for label in (False, True)]
        self.groups = [group for group in classes if group]
        self._thread = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="batches")
        self._pending: deque[Future[Batch]] = deque()
        self._ahead = max(ahead, 2 * threads)

    def __iter__(self) -> "Batches":
        return self

    def __next__(self) -> Batch:
        while len(self._pending) < self._ahead:
            self._pending.append(self._thread.submit(self.make, self.step + len(self._pending)))
        try:
            batch = self._pending[0].result()
        except Exception:
            self.close()
            raise
        self._pending.popleft()
        self.step += 1
        return batch

    def make(self, step: int) -> Batch:
        """Batch number step, the same bits whenever and wherever it is asked for."""
        chosen = [self.samples[self.sample_index(step, index)] for index in range(self.batch)]
        windows = [
            augment(s, np.random.default_rng([self.seed, step, index]), self.recipe, self.size)
            for index, s in enumerate(chosen)
        ]
        instances = np.stack([instances for _, instances in windows])
        return Batch(
            to_input([image for image, _ in windows]),
            (instances > 0).astype(np.float32),
            np.array([s.malignant for s in chosen], dtype=np.int64),
            [s.name for s in chosen],
            instances,
        )

    def sample_index(self, step: int, index: int) -> int:
        """Which sample stands at index of batch step: groups alternate, each running through its own permutations."""
        turn, which = divmod(step * self.batch + index, len(self.groups))
        group = self.groups[which]
        epoch, position = divmod(turn, len(group))
        return group[np.random.default_rng([self.seed, epoch, which, len(group)]).permutation(len(group))[position]]

    def close(self) -> None:
        """Stop the thread after the batch in hand. Needed once; harmless twice."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._pending.clear()

    def __enter__(self) -> "Batches":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
