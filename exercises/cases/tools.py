"""Inputs that cannot be written into, and every layer's checks in the order in which a student writes the layer."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from exercises.diagnosis import Claim, same, sentence
from gland.gradcheck import LayerProof, check_layer

Wrong = dict[str, dict[str, np.ndarray]]  # by "dx", "dw", "db", "ty": by sentence, what the mistake gives


def random(seed: int, *shape: int) -> np.ndarray:
    return locked(np.random.default_rng(seed).standard_normal(shape))


def locked(a: np.ndarray) -> np.ndarray:
    """a, read-only: who writes into an argument is told so."""
    a = np.array(a)
    a.flags.writeable = False
    return a


def layer_claims(
    layer: Any, x: np.ndarray, given: np.ndarray, wrong: Callable[[np.ndarray, np.ndarray], Wrong],
    sizes: dict[str, int] | None = None, where: str = "",
) -> Iterator[Claim | str]:  # fmt: skip
    """All comparisons of gland.gradcheck, in its order, each as a claim that is diagnosed or as a sentence.

    given: what forward must give. wrong(dy, tx): results of typical mistakes. where: said behind every name.
    """
    dy, tx = random(101, *given.shape), random(102, *x.shape)
    proof = LayerProof(layer, x, np.random.default_rng(0), dy, tx, elements=None)
    yield Claim(f"y of forward, which is given{where},", proof.y, given)
    wrongs, truths = wrong(dy, tx), {}

    def claim(name: str, c: Any) -> Claim:
        return Claim(name + where, c.by_hand, c.numeric, wrongs.get(name, {}), sizes or {})

    for c in proof.comparisons():
        match c.check, c.name:
            case "input_grad", _:
                if sentence(claim("dx", c)):
                    proof.layer.forward(proof.x)
                    if same(np.asarray(proof.layer.input_grad(dy, proof.cache)), c.numeric):
                        yield STALE
                yield claim("dx", c)
            case "input_grad alone", _ if c.by_hand.any():
                yield "input_grad adds to dw or db; leave that to backward, since Eq. (3) needs dx alone."
            case "backward = input_grad", _:
                yield Claim(f"what backward returns{where}, which is dx,", c.by_hand, c.numeric)
            case "backward", name:
                truths[name] = c.numeric
                yield claim("d" + name, c)
            case "gradients add", name:
                if same(c.by_hand, truths[name]):
                    yield f"d{name} is overwritten: a second backward pass has to add to it (+=)."
                yield Claim(f"d{name} after two backward passes", c.by_hand, c.numeric)
            case "tangent", _:
                yield claim("ty", c)
            case "second_order", "w":
                text = f"dw of second_order{where} is backward's: it has x where the tangent tx belongs."
                yield Claim(f"dw of second_order{where}", c.by_hand, c.numeric, {text: truths["w"]})
            case "second_order", "b" if c.by_hand.any():
                yield "second_order adds to db; the bias is no part of input_grad, so it gets nothing."
            case "second_order", "x" if c.by_hand is not None:
                yield "second_order returns something; input_grad does not depend on x here, so there is no dx to return."
            case "results kept", _ if not np.array_equal(c.by_hand, c.numeric):
                yield "What was returned changes when the layer is called again; make a new array at every call."
    report = check_layer(layer, x)
    if not report.ok:
        row = next(row for row in report.rows if not row.ok)
        yield f"{row.check} of {row.name} is {row.by_hand:.5g} at {row.index} and must be {row.numeric:.5g}."


STALE = "dx is that of the last forward pass: keep what the backward pass needs in the cache, not on the layer."
