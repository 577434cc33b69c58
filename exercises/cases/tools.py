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
    if hasattr(layer, "second_order"):
        yield from _second_order(layer, x, tx, dy, truths["w"], where)
    report = check_layer(layer, x)
    if not report.ok:
        row = next(row for row in report.rows if not row.ok)
        yield f"{row.check} of {row.name} is {row.by_hand:.5g} at {row.index} and must be {row.numeric:.5g}."


def _parameter_gradient(layer, name, x, dy):
    return _in_parameter(layer, name, lambda: (layer.forward(x.astype(complex))[0] * dy).sum())


def _second_order(layer, x, tx, dy, dw, where):
    """s = <tx, input_grad(dy)> as a function of w; its gradient is dw with tx in x's place, and b gets nothing."""
    cache = layer.forward(x)[1]
    truth = _in_parameter(
        layer, "w", lambda: (tx * layer.input_grad(dy.astype(complex), layer.forward(x + 0j)[1])).sum()
    )
    layer.dw, layer.db = np.zeros_like(layer.w), np.zeros_like(layer.b)
    returned = layer.second_order(tx, dy, cache)
    wrong = [(f"dw of second_order{where} is backward's: it has x where the tangent tx belongs.", dw)]
    yield Claim(f"dw of second_order{where}", layer.dw, truth, wrong)
    if layer.db.any():
        yield "second_order adds to db; the bias is no part of input_grad, so it gets nothing."
    if returned is not None:
        yield "second_order returns something; input_grad does not depend on x here, so there is no dx to return."


def _in_parameter(layer, name, s):
    """ds/dw for the layer's parameter of this name; s() is computed with what the layer holds."""
    value = getattr(layer, name)

    def at(v):
        setattr(layer, name, v)
        return s()

    try:
        return complex_step(at, value)
    finally:
        setattr(layer, name, value)
