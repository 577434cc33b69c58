"""What the checks found: a row a comparison, and the table of them."""

from typing import Any, NamedTuple

import numpy as np

from gland.tables import aligned

Array = Any


class CheckError(ValueError):
    """The layer cannot be checked; the message says what it has to do for that."""


class Row(NamedTuple):
    """One comparison: its worst element, both values there, and the error relative to the tensor's largest value."""

    check: str
    name: str
    index: str  # type: ignore[assignment]  # a tuple's own index is not needed
    by_hand: float
    numeric: float
    error: float
    tolerance: float

    @property
    def ok(self) -> bool:
        return self.error <= self.tolerance  # False for nan


class Report:
    """The rows of all checks, and notes on what was left out. str() is a table."""

    def __init__(self, subject: str) -> None:
        self.subject, self.rows, self.notes = subject, list[Row](), list[str]()

    @property
    def ok(self) -> bool:
        return bool(self.rows) and all(row.ok for row in self.rows)

    @property
    def worst(self) -> float:
        return max((row.error for row in self.rows), default=0.0)

    def add(
        self, check: str, name: str, by_hand: Array, numeric: Array, tolerance: float, where: list[str] | None = None,
        scale: float | None = None,
    ) -> None:  # fmt: skip
        """Compare two arrays of one shape. where: what to call each element (default: its index); scale: what an error is
        to be compared with (default: the largest value of both)."""
        by_hand, numeric = np.asarray(by_hand), np.asarray(numeric)
        if by_hand.shape != numeric.shape:
            raise CheckError(f"{self.subject}: {check} of {name} has shape {by_hand.shape}; it must be {numeric.shape}")
        if not by_hand.size:
            return
        scale = max(np.abs(by_hand).max(), np.abs(numeric).max()) if scale is None else scale
        error = np.abs(by_hand - numeric) / (scale if scale > 0 else 1)
        flat = int(np.argmax(np.where(np.isfinite(error), error, np.inf)))
        place = str(tuple(int(i) for i in np.unravel_index(flat, error.shape))) if error.shape else ""
        index = place if where is None else where[flat]
        hand, right, worst = (float(np.real(a.reshape(-1)[flat])) for a in (by_hand, numeric, error))
        self.rows.append(Row(check, name, index, hand, right, worst, tolerance))

    def assert_ok(self) -> None:
        """Raise AssertionError with the table if a check failed."""
        if not self.ok:
            raise AssertionError(f"\n{self}")

    def __str__(self) -> str:
        cells = [
            [row.check, row.name, row.index, f"{row.by_hand:.10g}", f"{row.numeric:.10g}", f"{row.error:.1e}",
             f"{row.tolerance:.0e}", "ok" if row.ok else "WRONG"]
            for row in self.rows
        ]  # fmt: skip
        header = ["check", "of", "worst at", "by hand", "numeric", "error", "allowed", ""]
        return "\n".join([f"{self.subject}: {'ok' if self.ok else 'WRONG'}", aligned(header, cells), *self.notes])
