"""Short training runs: what they are fed and told, and whether two of them ended alike."""

from dataclasses import replace

import numpy as np

from gland import data
from gland.training import checkpoint
from gland.training.options import Sets, complete, parser


def samples(count=6):
    """Noise with a square gland, larger where malignant: enough to have something to fit."""
    made = []
    for i in range(count):
        rng = np.random.default_rng(i)
        image = rng.integers(0, 256, (96, 96, 3)).astype(np.uint8)
        instances = np.zeros((96, 96), np.int32)
        half = 30 if i % 2 else 15
        instances[48 - half : 48 + half, 48 - half : 48 + half] = 1
        image[instances > 0] //= 3
        made.append(data.Sample(f"train_{i + 1}", image, instances, bool(i % 2)))
    return made


def settings(*options):
    """A run's options: these, and else the smallest run there is."""
    given = "--width 1 --batch 2 --crop 32 --pretrain 3 --iterations 5 --log-every 2 --validate-every 4 --device cpu"
    c = complete(parser().parse_args([*given.split(), *options]))
    names = [s.name for s in samples()]
    return replace(c, data="made up", split=Sets(by="image", train=names[:4], val=names[4:], test=[]))


def assert_same_bits(a, b):
    """Two run folders whose last checkpoints are equal but for the time that it took."""
    (p, state_p, arrays_p), (q, state_q, arrays_q) = (checkpoint.load(run / "last.npz") for run in (a, b))
    assert p.keys() == q.keys()
    assert all(np.array_equal(p[name], q[name]) for name in p)
    assert arrays_p.keys() == arrays_q.keys() and len(arrays_p) > 0
    assert all(np.array_equal(arrays_p[name], arrays_q[name]) for name in arrays_p)
    for state in (state_p, state_q):
        state.pop("seconds")
        for row in state["rows"]:
            row.pop("seconds")
    assert state_p == state_q
