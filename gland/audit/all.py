"""Runs the sections, in order, and turns an exception into a failed check: what crashes has not been shown to be right."""

import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from gland.audit import device, equations, joint, layers
from gland.audit.evidence import Check, Section
from gland.audit.paper import facts, readings


class Audit(NamedTuple):
    sections: list[Section]
    readings: list[readings.Measured]
    picture: str = ""  # of the prior, as a data URL; only where a page is asked for
    seconds: float | None = None

    @property
    def passed(self) -> bool:
        return all(section.passed for section in self.sections)


def checks(quick: bool = False) -> list[tuple[str, Callable[[], Section]]]:
    """All that says whether the code computes its formulas: equations in the paper's order, the prior, the joint
    gradient, layers.
    """
    found = dict([*equations.sections(), *joint.sections(quick)])
    order = ["Eq. 1", "Eq. 2", "Eq. 3", *(key for key in found if key not in ("Eq. 1", "Eq. 2", "Eq. 3"))]
    return [*((key, found[key]) for key in order), *layers.sections()]


def one(key: str, build: Callable[[], Section]) -> Section:
    section = Section(key, key)
    with np.errstate(all="ignore"):  # a broken function may divide by zero; the check says so more clearly
        built = []
        section.attempt(key, lambda: built.append(build()))
    return built[0] if built else section


def run(picture: Callable[[], str] | None = None) -> Audit:
    """Checks here, and what trains a little network, facts and readings, in a second process meanwhile; there too what draws."""
    start = perf_counter()
    local = [*checks(), *device.sections()]
    remote = [key for key, _ in facts.sections()]
    context = multiprocessing.get_context("spawn")
    with tqdm(total=len(local) + len(remote) + 1, unit="subject", leave=False, delay=2, disable=None) as bar:
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            jobs = [pool.submit(_fact, key) for key in remote]
            measured = pool.submit(readings.measure)
            drawn = pool.submit(picture) if picture else None
            jobs_seen: list[Future[Any]] = [*jobs, measured]
            for job in jobs_seen:
                job.add_done_callback(lambda _: bar.update())
            done = []
            for key, build in local:
                bar.set_description(key)
                done.append(one(key, build))
                bar.update()
            bar.set_description("facts and readings")
            done += [job.result() for job in jobs]
            image = drawn.result() if drawn else ""
            return Audit(done, measured.result(), image, perf_counter() - start)


def _fact(key: str) -> Section:
    return one(key, dict(facts.sections())[key])


def first_failure(sections: Iterable[tuple[str, Callable[[], Section]]]) -> tuple[str, Check] | None:
    """(subject, check) of the first check that fails, or None."""
    failed = ((key, check) for key, build in sections for check in one(key, build).checks if not check.passed)
    return next(failed, None)
