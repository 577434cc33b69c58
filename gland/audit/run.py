"""Runs the sections, in order, and turns an exception into a failed check: what crashes has not been shown to be right."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from gland.audit import device, equations, facts, joint, layers, readings
from gland.audit.evidence import Section

class Audit(NamedTuple):
    sections: list[Section]
    readings: list[readings.Measured]

    @property
    def passed(self) -> bool:
        return all(section.passed for section in self.sections)


def checks(quick: bool = False) -> list[tuple[str, Callable[[], Section]]]:
    """All that says whether the code computes its formulas: equations in the paper's order, the prior, the joint gradient, layers."""
    found = dict([*equations.sections(), *joint.sections(quick)])
    order = ["Eq. 1", "Eq. 2", "Eq. 3", *(key for key in found if key not in ("Eq. 1", "Eq. 2", "Eq. 3"))]
    return [*((key, found[key]) for key in order), *layers.sections()]


def one(key: str, build: Callable[[], Section]) -> Section:
    section = Section(key, key)
    with np.errstate(all="ignore"):  # a broken function may divide by zero; the check says so more clearly
        built = []
        section.attempt(key, lambda: built.append(build()))
    return built[0] if built else section


def run() -> Audit:
    builders = [*checks(), *device.sections(), *facts.sections()]
    done = []
    with tqdm(total=len(builders) + 1, unit="subject", leave=False, delay=2) as bar:
        for key, build in builders:
            bar.set_description(key)
            done.append(one(key, build))
            bar.update()
        bar.set_description("readings")
        measured = readings.measure()
    return Audit(done, measured)


def first_failure(sections: Iterator[tuple[str, Callable[[], Section]]]) -> tuple[str, object] | None:
    """(subject, check) of the first check that fails, or None."""
    for key, build in sections:
        for check in one(key, build).checks:
            if not check.passed:
                return key, check
    return None
