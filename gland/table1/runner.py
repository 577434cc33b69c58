"""Trains and tests one network after the other. Each keeps its run folder, with its best network; a run that was
stopped goes on to the bits of one that was not, and one that is finished is not touched again."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from gland import data
from gland.errors import Diverged, InputError
from gland.evaluation import scores
from gland.files import write_text
from gland.inference.predict import predict
from gland.networks import Network
from gland.table1 import table
from gland.table1.jobs import ABLATIONS, Job
from gland.training import checkpoint
from gland.training.loop import begin

SCORES = "scores.json"
GLAS_PARTS = ("testA", "testB")
GLAS_VALIDATION = 8  # an eighth of the training images, in whole visual fields, chooses the checkpoint


def run(jobs: Sequence[Job], options: argparse.Namespace) -> str:
    """Do every job that is not done, and write the table after each. Returns it. Raises InputError, Interrupted."""
    folder = Path(options.out)
    source, samples = (options.data, data.read(options.data, progress=True)) if options.data else data.phantom.samples()
    for job in jobs:
        _split(job, samples)  # a split that cannot be made is said before the first network is trained
        _check_same(job, source)
    results: dict[Path, dict[str, Any]] = {}
    bar = tqdm(jobs, desc="networks", unit="network")
    for job in bar:
        done = job.folder / SCORES
        result = _read(done) if done.exists() else None
        if result is None or result["tta"] != options.tta:
            bar.set_postfix_str(f"{job.title}, {job.folder.relative_to(folder)}; {_left(jobs, results)}")
            split = _split(job, samples)
            result = _train(job, split, samples, source) if result is None else result
            _score(job, split, samples, options.tta, result)
        results[job.folder] = _read(done)
        text = table.write(folder, *_entries(jobs, results, Path(source)), _heading(options, source))
    return text


def _read(file: Path) -> dict[str, Any]:
    try:
        result = json.loads(file.read_text())
        _ = result["rows"], result["seconds"], result["note"], result["tta"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{file} is not what the table wrote; delete its folder, and that network is made again"
        ) from error
    return result


def _train(job: Job, split: data.Split, samples: list[data.Sample], source: str | Path) -> dict[str, Any]:
    """Train one network. Returns what its scores.json says of the training."""
    training = begin(job.options, job.folder, source, samples, split)
    if (job.folder / "last.npz").exists():
        training.restore()
    result: dict[str, Any] = {"rows": [], "note": ""}
    try:
        training.run()
    except Diverged as error:
        result["note"] = f"diverged: {error}"
    result["seconds"] = training.rows[-1]["seconds"] if training.rows else 0.0
    return result


def _score(job: Job, split: data.Split, samples: list[data.Sample], tta: bool, result: dict[str, Any]) -> None:
    """Write the scores of a trained network beside what is known of its training; of one that diverged there are none."""
    if not result["note"]:
        network = checkpoint.load_network(job.folder, "best", job.options.device)
        result |= _test(network, data.choose(samples, split.val), data.choose(samples, split.test), tta)
    write_text(job.folder / SCORES, json.dumps(result | {"tta": tta}, indent=1) + "\n")
    if (job.folder / "best.npz").exists():
        (job.folder / "last.npz").unlink(missing_ok=True)  # AlexNet's holds 0.5 GB, and nothing is left to resume


def _test(network: Network, val: list[data.Sample], test: list[data.Sample], tta: bool) -> dict[str, Any]:
    """The scores of every test image, after the post-processing that is best for the validation images."""
    settings = scores.choose_settings(network, val, tta)
    rows = [
        scores.measure(network, s, predict(network, s, tta), settings)
        for s in tqdm(test, desc="testing", unit="image", leave=False)
    ]
    return {"rows": rows, "postprocess": settings._asdict()}


def _split(job: Job, samples: list[data.Sample]) -> data.Split:
    if job.split != "glas":
        o = job.options
        return data.choose_split(samples, str(o.data), o.split_by, o.seed, o.fold, o.folds)
    test = [s.name for s in samples if s.part in GLAS_PARTS]
    train = [s for s in samples if s.part == "train"]
    if not test or not train:
        raise InputError("the GlaS protocol needs images of part train and of testA or testB; the folder has not both")
    k = min(GLAS_VALIDATION, len({s.visual_field for s in train}))
    fold = data.folds(train, k, job.options.split_by, job.options.seed)[0]
    return data.Split(fold.train + fold.val, fold.test, test)


def _check_same(job: Job, source: str | Path) -> None:
    """A run folder that is there already must have been made by the same options, from the same data."""
    if not (job.folder / "config.json").exists():
        return
    before = checkpoint.load_options(job.folder).as_json()
    for name, value in replace(job.options, data=str(Path(source).resolve())).as_json().items():
        if before[name] != value:
            raise InputError(f"{job.folder} was made with {name} = {before[name]}, not {value}; choose another --out")


def _left(jobs: Sequence[Job], results: dict[Path, dict[str, Any]]) -> str:
    """How much longer, from the training times of the networks that are done: of the same kind where there is one."""
    known = {job.folder: results[job.folder]["seconds"] for job in jobs if job.folder in results}
    if not known:
        return "time left: known after the first"
    mean = sum(known.values()) / len(known)
    left = 0.0
    for job in jobs:
        if job.folder not in known:
            same = [s for j, s in ((j, known.get(j.folder)) for j in jobs) if s and _kind(j) == _kind(job)]
            left += sum(same) / len(same) if same else mean
    return f"about {left / 3600:.1f} hours left" if left > 5400 else f"about {left / 60:.0f} minutes left"


def _kind(job: Job) -> tuple[str, str]:
    return job.options.network, job.options.prior_gradient


def _entries(
    jobs: Sequence[Job], results: dict[Path, dict[str, Any]], source: Path
) -> tuple[list[table.Entry], list[table.Entry]]:
    """One entry per network and split, the folds' test images together; the ablations apart."""
    gathered: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for job in jobs:
        if job.folder in results:
            gathered.setdefault((job.split, job.title), []).append(results[job.folder])
    systems: list[table.Entry] = []
    ablations: list[table.Entry] = []
    painted = data.phantom.is_phantom(source)
    for (split, title), of in gathered.items():
        rows = [row for result in of for row in result["rows"]]
        seconds, note = sum(result["seconds"] for result in of), "; ".join({r["note"] for r in of if r["note"]})
        parts = GLAS_PARTS if split == "glas" else (split,)
        for part in parts:
            of_part = [row for row in rows if split != "glas" or row["part"] == part]
            paper = {} if painted else table.PAPER_BY_TITLE.get(title, {})
            entry = table.Entry(part, title, of_part, seconds, note, paper)
            (ablations if title in ABLATIONS else systems).append(entry)
    return systems, ablations


def _heading(options: argparse.Namespace, source: str | Path) -> str:
    how = f"{options.folds}-fold cross-validation" if options.folds else "one split into 70, 10 and 20 %"
    how = "training on part train, test on testA and testB" if options.protocol == "glas" else how
    return (
        f"## Table 1 on {Path(source).name}\n\n{options.iterations} steps for every network, {how}. "
        f"{'Predictions are averaged over flips and quarter turns. ' if options.tta else ''}"
        "The checkpoint and the post-processing for the object metrics were chosen on validation images alone."
    )
