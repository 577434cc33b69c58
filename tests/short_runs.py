"""Short training runs: what they are fed and told, and whether two of them ended alike."""

from dataclasses import replace

import numpy as np

from gland import data
from gland.training import checkpoint
from gland.training.loop import Training
from gland.training.options import Sets, complete, parser


def samples(count=6):
    """Noise with a square gland, larger where malignant: enough to have something to fit."""
    made = []
    for i in range(count):
        image = np.random.default_rng(i).integers(0, 256, (96, 96, 3)).astype(np.uint8)
        instances, half = np.zeros((96, 96), np.int32), 30 if i % 2 else 15
        instances[48 - half : 48 + half, 48 - half : 48 + half] = 1
        image[instances > 0] //= 3
        made.append(data.Sample(f"train_{i + 1}", image, instances, bool(i % 2)))
    return made


def settings(*options):
    """A run's configuration: these options, and else the smallest run there is."""
    given = "--width 1 --batch 2 --crop 32 --pretrain 3 --iterations 5 --log-every 2 --validate-every 4 --device cpu"
    c = complete(parser().parse_args([*given.split(), *options]))
    names = [s.name for s in samples()]
    return replace(c, data="made up", split=Sets(by="image", train=names[:4], val=names[4:], test=[]))


def training(folder, *options, resume=False):
    """Such a run in this folder, or what was interrupted there."""
    made = samples()
    run = Training(settings(*options), folder, made[:4], made[4:])
    if resume:
        run.restore()
    return run


def assert_same_bits(a, b, name="last.npz"):
    """The checkpoints of two run folders agree in weights, solver's state and progress, but for the seconds."""
    (p, state_p, arrays_p), (q, state_q, arrays_q) = (checkpoint.load(run / name) for run in (a, b))
    assert arrays_p or name != "last.npz"
    for one, other in ((p, q), (arrays_p, arrays_q)):
        assert one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)
    for state in (state_p, state_q):
        for row in (state, *state.get("rows", [])):
            row.pop("seconds", None)
    assert state_p == state_q


def assert_same_run(a, b):
    """Two finished run folders agree in both checkpoints and in the log, but for the seconds, its last column."""
    assert_same_bits(a, b)
    assert_same_bits(a, b, "best.npz")
    logs = [[line.rsplit(",", 1)[0] for line in (run / "log.csv").read_text().splitlines()] for run in (a, b)]
    assert logs[0] == logs[1] and len(logs[0]) > 3
