"""Which networks are trained, each with its options: five systems, two ways to split, folds, and the paper's ablations.

One protocol for all: the same images in the same sets, the same augmentation, batch, solver, schedule, total number of
steps, and choice of checkpoint on the validation images. The exception is AlexNet (gland.training.options.ALEXNET).
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from gland.console import command
from gland.errors import InputError
from gland.training.options import Options, complete, parser

SYSTEMS = {
    "alexnet": "AlexNet",
    "class": "Multi-Loss-Class",
    "unet": "U-Net",
    "seg": "Multi-Loss-Seg",
    "joint": "Multi-Loss-Joint",
}
# What the paper argues from, each as the options that differ from the joint network's.
ABLATIONS: dict[str, dict[str, Any]] = {
    "without f": {"use_prior": False},
    "without Q": {"use_scores": False},
    "without skip connections": {"skip": False},
    "f exact": {"prior_gradient": "exact"},
    "f times activation": {"prior": "gradient-activation"},
    "Eq. 4 as a weight": {"loss": "weight"},
    "Eq. 4 as a soft target": {"loss": "soft-target"},
    "lambda 0": {"lam": 0.0},
    "lambda 0.25": {"lam": 0.25},
    "lambda 0.75": {"lam": 0.75},
    "lambda 1": {"lam": 1.0},
}
OURS = ("--network", "--fold", "--split-by", "--iterations", "--pretrain", "--out", "--resume", "--data")


class Job(NamedTuple):
    """One network to train and test."""

    title: str  # as the table names it
    split: str  # "visual_field", "image" or "glas"
    options: Options
    folder: Path


def plan(options: argparse.Namespace, training_options: Sequence[str]) -> list[Job]:
    """Every job, in the order in which they are done: a whole table for one split, then for the next, then ablations.

    training_options: options of train.py, for all networks alike. Raises InputError.
    """
    given = [o.split("=")[0] for o in training_options if o.startswith("--")]
    if wrong := [o for o in given if any(own.startswith(o) for own in OURS)]:  # abbreviated ones too
        raise InputError(f"{wrong[0]} is what the table varies or sets itself; see {command('table1')} --help")
    splits = ("glas",) if options.protocol == "glas" else dict.fromkeys(options.split_by)
    folds = [None] if options.folds is None or options.protocol == "glas" else list(range(max(1, options.folds)))
    # (of a number of folds below 2 at least one job is planned: options.complete then says what is wrong with it)
    jobs = []
    for split in splits:
        for fold in folds:
            for network in dict.fromkeys(options.networks):
                jobs.append(_job(SYSTEMS[network], network, {}, split, fold, options, training_options))
    if options.ablations:
        for title, changes in ABLATIONS.items():
            for fold in folds:
                jobs.append(_job(title, "joint", changes, next(iter(splits)), fold, options, training_options))
    return jobs


def _job(
    title: str, network: str, changes: dict[str, Any], split: str, fold: int | None,
    options: argparse.Namespace, training_options: Sequence[str],
) -> Job:  # fmt: skip
    arguments = [
        *training_options,
        *("--data", str(options.data), "--network", network),
        *("--iterations", str(options.iterations), "--pretrain", "0"),
        *("--split-by", "visual_field" if split == "glas" else split),
        *(() if fold is None else ("--fold", str(fold), "--folds", str(options.folds))),
    ]
    settings = replace(complete(parser().parse_args(arguments)), **changes)
    name = title.lower().replace(" ", "-").replace(".", "")
    parts = [split, *(() if fold is None else (f"fold{fold}",)), name]
    return Job(title, split, settings, Path(options.out).joinpath(*parts))
