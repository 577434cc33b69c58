"""Train, validation and test sets that keep what belongs together together.

Tiles of one visual field, and images of one patient, look alike: a split that separates them measures memory. So whole
groups are dealt out, the largest first, each to the set that it brings nearest to its share of every class.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gland.data.sample import Sample
from gland.data.visual_fields import find_visual_fields
from gland.errors import InputError

SHARES = (0.7, 0.1, 0.2)  # train, val, test
BY = ("visual_field", "image", "patient")


class Split(NamedTuple):
    """Names of the samples in each set, in the order in which they were given."""

    train: list[str]
    val: list[str]
    test: list[str]


def split(samples: Sequence[Sample], by: str = "visual_field", seed: int = 0) -> Split:
    """70 % train, 10 % val, 20 % test, no group (by: visual_field, image or patient) in two sets. Raises InputError."""
    groups = _groups(samples, by, at_least=3)
    return Split(*_deal(samples, groups, SHARES, np.random.default_rng([seed, len(SHARES)])))


def folds(samples: Sequence[Sample], k: int = 5, by: str = "visual_field", seed: int = 0) -> list[Split]:
    """k splits whose test sets part the samples; split i validates on an eighth of the rest. Raises InputError."""
    if k < 2:
        raise InputError(f"{k} folds cannot be made; choose at least 2.")
    groups = _groups(samples, by, at_least=k)
    tests = _deal(samples, groups, (1 / k,) * k, np.random.default_rng([seed, k]))
    return [
        _with_validation(samples, groups, test, np.random.default_rng([seed, k, i])) for i, test in enumerate(tests)
    ]


def choose_split(
    samples: Sequence[Sample], source: str, by: str, seed: int, fold: int | None = None, k: int = 5
) -> Split:
    """The split, or fold `fold` of k, of the part "train" of the data set at source. Raises InputError."""
    train = [s for s in samples if s.part == "train"]
    if not train:
        raise InputError(f"{source} has no training images (train_N); training needs that part")
    return split(train, by, seed) if fold is None else folds(train, k, by, seed)[fold]


def choose(samples: Sequence[Sample], names: Sequence[str]) -> list[Sample]:
    """The samples of these names, in the names' order. Raises InputError if one is absent."""
    found = {s.name: s for s in samples}
    if absent := [name for name in names if name not in found]:
        raise InputError(f"{absent[0]} is part of the split but not among the {len(found)} images read.")
    return [found[name] for name in names]


def _with_validation(
    samples: Sequence[Sample], groups: list[list[int]], test: list[str], rng: np.random.Generator
) -> Split:
    rest = [group for group in groups if samples[group[0]].name not in test]
    if len(rest) < 2:
        raise InputError("a fold leaves one group to train and to validate on; there are too few groups for folds.")
    train, val = _deal(samples, rest, [share / sum(SHARES[:2]) for share in SHARES[:2]], rng)
    return Split(train, val, test)


def _groups(samples: Sequence[Sample], by: str, at_least: int) -> list[list[int]]:
    """Indices of the samples, gathered by what must not be separated."""
    if by == "image":
        keys: list[int] = list(range(len(samples)))
    elif by == "visual_field":
        known = [s.visual_field for s in samples if s.visual_field is not None]
        keys = known if len(known) == len(samples) else find_visual_fields([s.image for s in samples])
    elif by == "patient":
        if unknown := [s.name for s in samples if s.patient is None]:
            raise InputError(f"{unknown[0]} has no patient number; split by visual_field instead.")
        keys = [s.patient for s in samples if s.patient is not None]
    else:
        raise InputError(f"{by!r} is no way to split; choose from {', '.join(BY)}.")
    groups = defaultdict(list)
    for i, key in enumerate(keys):
        groups[key].append(i)
    if len(groups) < at_least:
        raise InputError(f"{at_least} sets by {by} need at least {at_least} groups, there are {len(groups)}.")
    return list(groups.values())


def _deal(
    samples: Sequence[Sample], groups: list[list[int]], shares: Sequence[float], rng: np.random.Generator
) -> list[list[str]]:
    """The names dealt out to len(shares) sets, groups whole, none empty.

    A group goes where the sum over sets and classes of (count / wanted count - 1)^2 ends smallest; ties go by chance.
    """
    classes = np.array([[1 - s.malignant, s.malignant] for s in samples], dtype=float)  # (n, 2) one-hot
    per_class = np.concatenate([classes[group] for group in groups]).sum(axis=0)
    wanted = np.maximum(np.outer(shares, per_class), 1e-9)
    counts = np.zeros_like(wanted)
    sets: list[list[int]] = [[] for _ in shares]
    shuffled = [groups[i] for i in rng.permutation(len(groups))]
    order = sorted(shuffled, key=len, reverse=True)
    for position, group in enumerate(order):
        adds = classes[group].sum(axis=0)
        # smaller sets weigh their error relative to their size, so that they get small groups rather than none
        change = (((counts + adds) / wanted - 1) ** 2 - (counts / wanted - 1) ** 2)[:, per_class > 0] * wanted[
            :, per_class > 0
        ]
        cost = change.sum(axis=1)
        empty = [i for i, members in enumerate(sets) if not members]
        if len(order) - position <= len(empty):  # the last groups go to sets that have none
            cost[[i for i in range(len(sets)) if i not in empty]] = np.inf
        best = np.flatnonzero(cost <= cost.min() + 1e-9)
        chosen = rng.choice(best)
        counts[chosen] += adds
        sets[chosen] += group
    return [[samples[i].name for i in sorted(members)] for members in sets]
