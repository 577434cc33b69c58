"""Inputs that cannot be written into, and every layer's checks in the order in which a student writes the layer."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from exercises.diagnosis import Claim, same, sentence
from gland.audit.numeric import STEP, complex_step
from gland.gradcheck import check_layer

Wrong = dict[str, list[tuple[str, np.ndarray]]]  # by "dx", "dw", "db", "ty"


def random(seed: int, *shape: int) -> np.ndarray:
    return locked(np.random.default_rng(seed).standard_normal(shape))


def locked(a: np.ndarray) -> np.ndarray:
    """a, read-only: who writes into an argument is told so."""
    a = np.array(a)
    a.flags.writeable = False
    return a


def layer_claims(
    layer: Any,
    x: np.ndarray,
    given: np.ndarray,
    wrong: Callable[[np.ndarray, np.ndarray], Wrong],
    sizes: dict[str, int] | None = None,
    where: str = "",
) -> Iterator[Claim | str]:
    """forward, dx, the parameters' gradients, their adding up, the tangent; at last all of gland.gradcheck.

    given: what forward must give. wrong(dy, tx): results of typical mistakes. where: said behind every name.
    """
    y, cache = layer.forward(x)
    yield Claim(f"y of forward, which is given{where},", y, given)
    dy, tx = random(101, *y.shape), random(102, *x.shape)
    wrongs, sizes = wrong(dy, tx), sizes or {}
    names = [name for name in ("w", "b") if hasattr(layer, name)]
    truth = complex_step(lambda v: (layer.forward(v)[0] * dy).sum(), x)
    layer.forward(random(103, *x.shape))  # whatever is kept on the layer is stale from here on
    dx = Claim(f"dx{where}", layer.input_grad(dy, cache), truth, wrongs.get("dx", ()), sizes)
    if sentence(dx):
        layer.forward(x)
        if same(np.asarray(layer.input_grad(dy, cache)), truth):
            yield "dx is that of the last forward pass: keep what the backward pass needs in the cache, not on the layer."
    yield dx
    if any(getattr(layer, "d" + name).any() for name in names):
        yield "input_grad adds to dw or db; leave that to backward, since Eq. (3) needs dx alone."
    returned = layer.backward(dy, cache)
    truths = {name: _parameter_gradient(layer, name, x, dy) for name in names}
    for name in names:
        yield Claim(
            f"d{name}{where}", getattr(layer, "d" + name).copy(), truths[name], wrongs.get("d" + name, ()), sizes
        )
    yield Claim(f"what backward returns{where}, which is dx,", returned, truth)
    layer.backward(dy, cache)
    for name in names:
        twice = getattr(layer, "d" + name)
        if same(twice, truths[name]):
            yield f"d{name} is overwritten: a second backward pass has to add to it (+=)."
        yield Claim(f"d{name} after two backward passes", twice, 2 * truths[name])
    expected = layer.forward(x + 1j * STEP * tx)[0].imag / STEP
    yield Claim(f"ty{where}", layer.tangent(tx, cache), expected, wrongs.get("ty", ()), sizes)
    report = check_layer(layer, x)
    if not report.ok:
        row = next(row for row in report.rows if not row.ok)
        yield f"{row.check} of {row.name} is {row.by_hand:.5g} at {row.index} and must be {row.numeric:.5g}."


def _parameter_gradient(layer, name, x, dy):
    value = getattr(layer, name)

    def loss(v):
        setattr(layer, name, v)
        return (layer.forward(x.astype(complex))[0] * dy).sum()

    try:
        return complex_step(loss, value)
    finally:
        setattr(layer, name, value)
