"""From a wrong array to one sentence that says what is wrong with it."""

from collections.abc import Callable, Iterator, Mapping
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np

TOLERANCE = 1e-9  # relative to the largest value; both sides are float64


class Claim(NamedTuple):
    """An array that a student's code computed, what it must be, and what people often compute instead.

    name: what the sentence calls it. wrong: by sentence, the array that this mistake gives. sizes: numbers that are
    easily forgotten as a factor, by the name that the exercise gives them.
    """

    name: str
    yours: Any
    truth: np.ndarray
    wrong: Mapping[str, Any] = {}
    sizes: dict[str, float] = {}  # noqa: RUF012


def same(a: np.ndarray, b: np.ndarray) -> bool:
    scale = max(np.abs(b).max(initial=0), 1e-300)
    return a.shape == b.shape and bool((np.abs(a - b) <= TOLERANCE * scale).all())


def sentence(claim: Claim) -> str | None:
    """What is wrong with claim.yours, or None if it is right."""
    name, truth = claim.name, claim.truth
    if claim.yours is None:
        return f"{name} is None: nothing was returned."
    yours = np.asarray(claim.yours)
    if yours.dtype.kind not in "fc":
        return f"{name} has the dtype {yours.dtype}; it must be that of the input, {truth.dtype}."
    if yours.shape != truth.shape:
        return f"{name} {_shape(yours, truth)}"
    if not np.isfinite(yours).all():
        return f"{name} contains nan or inf: something overflows, or is divided by zero."
    if same(yours, truth):
        return None
    for text, wrong in claim.wrong.items():
        if same(yours, np.asarray(wrong)):
            return text
    for guess in (_zero, _factor, _moved, _part):
        if text := guess(yours, truth, claim.sizes):
            return f"{name} {text}"
    return f"{name} is wrong{_worst(yours, truth)}."


def _shape(yours, truth):
    if sorted(yours.shape) == sorted(truth.shape):
        axes = next(p for p in permutations(range(yours.ndim)) if yours.transpose(p).shape == truth.shape)
        right = same(yours.transpose(axes), truth)
        also = "otherwise right" if right else "and its values would be wrong also the other way round"
        return f"is transposed: its shape is {yours.shape}, but it must be {truth.shape}; {also}."
    return f"has the shape {yours.shape}, but it must be {truth.shape}."


def _zero(yours, truth, sizes):
    return "is zero everywhere: nothing was added to it." if not yours.any() else None


def _factor(yours, truth, sizes):
    factor = (yours * truth).sum() / (truth * truth).sum()
    if not same(yours, factor * truth):
        return None
    if np.isclose(factor, -1):
        return "has the wrong sign."
    for size, n in sizes.items():
        if np.isclose(factor, n):
            return f"is {n} times too large: it is not divided by {size} = {n}, as the forward pass is."
        if np.isclose(factor, 1 / n):
            return f"is {n} times too small: it is divided by {size} = {n}, but the forward pass is not."
    return f"is {factor:.6g} times what it must be, everywhere."


def _moved(yours, truth, sizes):
    for text, moved in _motions(yours):
        if same(moved, truth):
            return text
    return None


def _motions(a) -> Iterator[tuple[str, np.ndarray]]:
    if a.ndim < 2:
        return
    yield "has the right size but is flipped along both of its last axes.", a[..., ::-1, ::-1]
    yield "has the right size but is flipped along its last axis.", a[..., ::-1]
    yield "has the right size but is flipped along its last axis but one.", a[..., ::-1, :]
    yield "has its last two axes exchanged.", a.swapaxes(-1, -2)
    yield "has its first two axes exchanged.", a.swapaxes(0, 1)
    for axis, along in ((-1, "last axis"), (-2, "last axis but one")):
        for step in (1, -1):
            yield f"is shifted by one along its {along}.", np.roll(a, step, axis)


def _part(yours, truth, sizes):
    scale = np.abs(truth).max()
    wrong = np.abs(yours - truth) > TOLERANCE * scale
    for axis, one in enumerate(("image", "channel") if wrong.ndim == 4 else ()):
        parts = np.moveaxis(wrong, axis, 0).reshape(wrong.shape[axis], -1).any(axis=1)
        if len(parts) > 1 and not parts.all():
            right = [str(i) for i in np.flatnonzero(~parts)]
            return f"is right for {one} {' and '.join(right)} only{_worst(yours, truth)}."
    if wrong.ndim == 4 and min(wrong.shape[2:]) > 2 and not wrong[:, :, 1:-1, 1:-1].any():
        return f"is right inside and wrong on the border, where the padding is{_worst(yours, truth)}."
    if not wrong.all():
        return f"is wrong at {wrong.sum()} of its {wrong.size} elements{_worst(yours, truth)}."
    return None


def _worst(yours, truth):
    place = np.unravel_index(int(np.abs(yours - truth).argmax()), truth.shape)
    index = ", ".join(str(int(i)) for i in place)
    return f"; at [{index}] it is {yours[place]:.5g} and must be {truth[place]:.5g}"


Check = Callable[[Any], Iterator[Claim | str]]  # module -> what its code computes; a str is a sentence already
