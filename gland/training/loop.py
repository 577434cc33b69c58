"""The training run: data, phases, steps, validation, checkpoints. `python train.py` comes here.

A run is a pure function of its configuration: batches come from (seed, step), nothing else is random, and a checkpoint
holds all that changes. So an interrupted run that is resumed ends with the bits of one that was not.
"""

import os
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
from tqdm import tqdm

from gland import backend, data, ops
from gland.console import command
from gland.errors import Diverged, InputError, Interrupted
from gland.files import held
from gland.networks import Losses, Network, build
from gland.ops.host.threads import count_threads, set_threads
from gland.tables import write_csv
from gland.training import checkpoint
from gland.training.device_step import DeviceStep
from gland.training.options import Options, Sets
from gland.training.solver import SOLVERS, Solver, learning_rate
from gland.training.validation import validate

Array = Any
COLUMNS = (
    "phase", "step", "loss", "loss_class", "loss_seg", "learning_rate", "class_accuracy", "pixel_accuracy",
    "val_loss", "val_class_accuracy", "val_class_score", "val_pixel_accuracy", "val_dsc", "seconds",
)  # fmt: skip
SUMS = ("loss", "loss_class", "loss_seg", "class_accuracy", "pixel_accuracy")
ORDER = "kernels first"  # of the numbers in the solver's state; gland/networks/base.py
TOTALS = 7  # the sums, how many steps are in them, and the first whose loss was not finite; gland/ops/host/update.py


class Training:
    """One run in one folder. `run()` does all that is left to do; it may be called on a fresh or a resumed run."""

    def __init__(self, options: Options, folder: Path, train: list[data.Sample], val: list[data.Sample]) -> None:
        self.options, self.folder, self.train, self.val = options, folder, train, val
        self.device = backend.select(options.device)
        if self.device.is_device:
            ops.use_tf32(options.tf32)
        self.network = build(options)
        self.network.flatten(device=self.device.is_device)
        self.phases = _phases(options)
        self.solver = self._solver()
        self.phase, self.step, self.best, self.seconds = 0, 0, -np.inf, 0.0
        self.totals = self.device.to_device(np.zeros(TOTALS))
        self.device_step: DeviceStep | None = None
        self.rows: list[dict[str, Any]] = []
        self.saved = self.started = time.monotonic()

    def summary(self) -> str:
        """What this run is, in a few lines for the screen."""
        o, sets = self.options, self.options.sets
        phases = ", ".join(f"{steps} steps of {name}" for name, steps in self.phases)
        size = self.network.flat.size
        seen = f"scaled by {self.network.scale}" if self.network.scale else "resized to 500 x 500"
        threads = f", {count_threads()} thread{'s' * (count_threads() > 1)}" * (not self.device.is_device)
        return (
            f"run      {self.folder}\n"
            f"data     {o.data}: {len(sets.train)} training, {len(sets.val)} validation, "
            f"{len(sets.test)} test images, split by {sets.by}, seed {o.seed}\n"
            f"network  {o.network}, width {o.width}, {size:,} parameters, on {self.device.name}{threads}\n"
            f"steps    {phases}, {o.batch} windows of {o.crop} x {o.crop} pixels each, "
            f"of images {seen}\n"
        )

    def run(self) -> None:
        """All phases to the end. Raises Interrupted or Diverged; what was reached is saved then."""
        self.saved = self.started = time.monotonic()
        explained = backend.memory_explained("--batch, --crop or --width")
        with held(self.folder), _stop_signals() as stop, warnings.catch_warnings(), explained:
            warnings.simplefilter("ignore", RuntimeWarning)  # an overflow is reported once, with its place, by Diverged
            while self.phase < len(self.phases):
                name, steps = self.phases[self.phase]
                try:
                    self._run_phase(name, steps, stop)
                except KeyboardInterrupt:
                    raise self._stopped("Stopped at once; the last checkpoint is kept.") from None
                self.phase, self.step, self.solver, self.device_step = self.phase + 1, 0, self._solver(), None
            self.save()
            if stop:
                raise self._stopped("Stopped after the last step; everything is saved.")

    def _stopped(self, what: str) -> Interrupted:
        return Interrupted(f"{what} To go on: {command('train')} --resume {quote(str(self.folder))}")

    def _run_phase(self, name: str, steps: int, stop: list[int]) -> None:
        o = self.options
        seed = o.seed + self.phase * 1_000_003  # another stream of batches for each phase
        # the processor has nothing else to do while a device trains
        threads = max(1, min(8, (os.cpu_count() or 1) - 1)) if self.device.is_device else 1
        recipe = data.Recipe(quadrant=o.recipe == "paper")
        batches = data.Batches(
            self.train, o.batch, o.crop, seed, o.augment, self.step, recipe, scale=self.network.scale, threads=threads
        )
        bar = tqdm(total=steps, initial=self.step, desc=name, unit="step", mininterval=0.5, dynamic_ncols=True)
        with batches, bar:
            while self.step < steps:
                if stop:
                    self.save()
                    raise self._stopped(f"Stopped after step {self.step} of {name}; everything is saved.")
                rate = learning_rate(self.step, steps, o.rate, o.schedule, o.warmup)
                self._step(name, next(batches), self.solver.rate_at(self.step, rate))
                self.step += 1
                bar.update()
                last = self.step == steps
                validating = name != "pretrain" and (self.step % o.validate_every == 0 or last)
                if validating or last or self.step % o.log_every == 0:
                    bar.set_postfix(self._log(name, rate, validating))
                if time.monotonic() - self.saved > o.save_every:
                    self.save()

    def _step(self, phase: str, batch: data.Batch, rate: float) -> None:
        self.network.set_rng(np.random.default_rng([self.options.seed, self.phase, self.step]))
        if self.device.is_device:
            if self.device_step is None:
                self.device_step = DeviceStep(lambda *inputs: self._compute(phase, *inputs), self.solver, self.totals)
            self.device_step(batch, rate)
            return
        losses = self._compute(phase, batch.images, batch.mask, batch.malignant)
        if not np.isfinite(float(losses.total)):
            what = f"the loss is {float(losses.total)} at step {self.step} of {phase}"
            raise Diverged(self._divergence(what, batch.images))
        self.solver.step(rate)
        ops.tally(self.totals, losses, batch.mask, batch.malignant)

    def _compute(self, phase: str, x: Array, mask: Array, malignant: Array) -> Losses:
        """The losses of a batch; the gradients are the network's afterwards."""
        self.network.zero_grad()
        if phase == "pretrain":
            return self.network.class_loss_and_grad(x, malignant)
        return self.network.loss_and_grad(x, mask, malignant, self.options.objective)

    def _read_totals(self) -> tuple[dict[str, float], int]:
        """The sums and the number of steps in them, the only numbers that a step's losses bring to the host.

        Raises Diverged: on a device it is here that a loss which is not finite is noticed; the update has refused it.
        """
        *sums, counted, bad = backend.to_host(self.totals).tolist()
        if bad:
            step = self.step - int(counted) + int(bad) - 1
            x = None if self.device_step is None else self.device_step.inputs[0]
            what = f"the loss is {sums[0]} at step {step} of {self.phases[self.phase][0]}"
            raise Diverged(self._divergence(what, x))
        return dict(zip(SUMS, sums, strict=True)), int(counted)

    def _log(self, phase: str, rate: float, validating: bool) -> dict[str, str]:
        row: dict[str, Any] = dict.fromkeys(COLUMNS, "")
        done = sum(steps for _, steps in self.phases[: self.phase]) + self.step
        row |= {"phase": phase, "step": done, "learning_rate": rate}
        sums, counted = self._read_totals()
        row |= {name: value / counted for name, value in sums.items() if np.isfinite(value)}
        self.totals[...] = 0
        if validating and self.val:
            scores = validate(self.network, self.val)
            row |= {f"val_{name}": value for name, value in scores._asdict().items() if value is not None}
            if scores.merit > self.best:
                self.best = scores.merit
                checkpoint.save(self.folder / "best.npz", self.network.parameters(), {"step": done, "merit": self.best})
        row["seconds"] = round(self._elapsed(), 1)
        self.rows.append(row)
        write_csv(self.folder / "log.csv", self.rows)
        shown = {"loss": "loss", "class_accuracy": "class", "pixel_accuracy": "pixel"}
        return {short: f"{row[name]:.3f}" for name, short in shown.items() if row[name] != ""}

    def _elapsed(self) -> float:
        return self.seconds + time.monotonic() - self.started

    def save(self) -> None:
        """Write RUN/last.npz: from it the run goes on as if it had never stopped. Raises Diverged, and then writes nothing."""
        if not np.isfinite(float(abs(self.network.flat).max())):
            name = self.phases[min(self.phase, len(self.phases) - 1)][0]
            raise Diverged(self._divergence(f"the parameters are no longer finite after step {self.step} of {name}"))
        sums, counted = self._read_totals() if self.phase < len(self.phases) else (dict.fromkeys(SUMS, 0.0), 0)
        state = {
            "phase": self.phase, "step": self.step, "best": self.best, "seconds": self._elapsed(),
            "sums": sums, "counted": counted, "rows": self.rows,
            "finished": self.phase == len(self.phases), "order": ORDER, "threads": count_threads(),
        }  # fmt: skip
        path = self.folder / "last.npz"
        checkpoint.save(path, self.network.parameters(), state, **self.solver.state)
        self.saved = time.monotonic()

    def restore(self) -> None:
        """Take up the state of RUN/last.npz. Raises InputError."""
        path = self.folder / "last.npz"
        parameters, state, arrays = checkpoint.load(path)
        self.network.load(parameters, str(path))
        if arrays.keys() != self.solver.state.keys():
            raise InputError(f"{path} holds weights but not where the training stood; it cannot be resumed from")
        if state.get("order") != ORDER:
            raise InputError(
                f"{path} was written by an earlier version, which cannot be gone on with; train the run anew"
            )
        for name, values in self.solver.state.items():
            values[...] = self.device.to_device(arrays[name])
        self.phase, self.step, self.best, self.seconds = (state[k] for k in ("phase", "step", "best", "seconds"))
        self.totals[...] = self.device.to_device(np.array([*(state["sums"][k] for k in SUMS), state["counted"], 0.0]))
        self.rows = state["rows"]
        if state.get("threads", count_threads()) != count_threads():  # another number adds up in another order
            set_threads(state["threads"])

    def _solver(self) -> Solver:
        o = self.options
        return SOLVERS[o.solver](self.network, o.momentum, o.decay, o.clip or None)

    def _divergence(self, what: str, x: Array | None = None) -> str:
        where = first_nonfinite(self.network, x)
        kept = self.folder / "last.npz"
        good = f"the last good checkpoint is {kept}" if kept.exists() else "no checkpoint had been saved yet"
        return f"{what}: {where}; {good}. Try a smaller --rate, or --clip 1."


def first_nonfinite(network: Network, x: Array | None) -> str:
    """Which layer first holds, or makes in a forward pass over x, a value that is not finite."""
    for path, parameter in network.parameters().items():
        if not np.isfinite(backend.to_host(parameter)).all():
            return f"the parameter {path} is no longer finite"
    found: list[str] = []

    def watched(path: str, forward: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            y, cache = forward(*args)
            if not found and not np.isfinite(backend.to_host(y)).all():
                found.append(path)
            return y, cache

        return call

    for path, layer in network.layers.items():
        layer.forward = watched(path, layer.forward)  # type: ignore[method-assign]
    try:
        network.forward(x)
    finally:
        for layer in network.layers.values():
            del layer.forward  # the method of its class is found again
    return f"the output of {found[0]} is the first that is not finite" if found else "it arises in the loss itself"


def _phases(options: Options) -> list[tuple[str, int]]:
    phases = [("pretrain", options.pretrain), (options.network, options.iterations)]
    return [(name, steps) for name, steps in phases if steps]


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collects the first SIGINT or SIGTERM, so that a step in hand is finished; a second one interrupts at once."""
    received: list[int] = []

    def note(number: int, frame: Any) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def begin(
    options: Options, folder: Path, source: str | Path, samples: list[data.Sample], split: data.Split
) -> Training:
    """A run at its start; RUN/config.json then says where its data are and how they are split."""
    sets = Sets(by=options.split_by, fold=options.fold, seed=options.seed, **split._asdict())
    options = replace(options, data=str(Path(source).resolve()), split=sets)
    training = Training(options, folder, data.choose(samples, split.train), data.choose(samples, split.val))
    checkpoint.save_options(folder, options)
    return training
