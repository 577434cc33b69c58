"""The losses' exercises, and the solver's."""

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from exercises.cases.tools import locked, random
from exercises.diagnosis import Claim
from gland import loss, ops
from gland.gradcheck import complex_step


def softmax_cross_entropy(module: ModuleType) -> Iterator[Claim | str]:
    a, label, dq = random(1, 5, 3), locked(np.array([0, 2, 1, 1, 0])), random(2, 5, 3)
    q, y = ops.softmax(a), np.eye(3)[label]
    yield Claim("Q of softmax, which is given,", module.softmax(a), q)
    yield Claim("L_c of loss, which is given,", module.loss(a, label), np.asarray(loss.class_loss(a, label)))
    yield Claim(
        "da of softmax_input_grad",
        module.softmax_input_grad(dq, locked(q)),
        complex_step(lambda v: (ops.softmax(v) * dq).sum(), a),
        {
            "da: only the diagonal Q_l (1 - Q_l) is there; every Q_l also moves with the other logits.": q
            * (1 - q)
            * dq,
            "da: the diagonal is there, but what the normaliser takes away is missing.": q * dq,
            "da: the sum runs over the images (axis 0); it runs over the classes (axis 1).": q
            * (dq - (q * dq).sum(axis=0)),
            "da: the sum over m is taken without the probabilities Q_m.": q * (dq - dq.sum(axis=1, keepdims=True)),
        },
    )
    wrong = {
        "dL_c/da: Q is there, but y is not taken away from it.": q / 5,
        "dL_c/da is that of the true class's logit only; the others enter through the normaliser.": (q - y) * y / 5,
        "That is dL_c/dQ; it still has to go through the softmax.": -y / q / 5,
        "dL_c/da: the softmax runs over the images (axis 0); it runs over the classes (axis 1).": (
            ops.softmax(a.T).T - y
        )
        / 5,
    }
    truth = complex_step(lambda v: loss.class_loss(v, label), a)
    yield Claim("dL_c/da", module.loss_grad(a, label), truth, wrong, {"N": 5})
    sure = locked(np.array([[800.0, -800.0], [800.0, -800.0]]))
    expected = np.array([[0.0, 0.0], [0.5, -0.5]])
    yield Claim("dL_c/da at logits of 800 and -800", module.loss_grad(sure, locked(np.array([0, 1]))), expected)


def momentum(module: ModuleType) -> Iterator[Claim | str]:
    w, dw, v, rate, m = random(1, 6), random(2, 6), random(3, 6), 0.1, 0.9
    new_v = m * v + rate * dw
    result = module.step(w, dw, v, rate, m)
    if not _pair(result):
        yield "step returns something else than two arrays; it returns the new w and the new v."
    yield Claim(
        "the new v",
        result[1],
        new_v,
        {
            "The new v is PyTorch's: here the rate multiplies the gradient before it enters the velocity.": m * v + dw,
            "The new v is dampened: the gradient is not multiplied by 1 - momentum.": m * v + (1 - m) * rate * dw,
            "The new v is a velocity downhill; here w moves by -v, so v gathers + rate dw.": m * v - rate * dw,
            "The new v forgets the old one.": rate * dw,
            "The new v keeps all of the old one: momentum is missing.": v + rate * dw,
        },
    )
    yield Claim(
        "the new w",
        result[0],
        w - new_v,
        {
            "The new w goes uphill: it is w - v.": w + new_v,
            "The new w moves by the gradient alone; it moves by the velocity.": w - rate * dw,
            "The new w moves by the old velocity; it moves by the new one.": w - v,
            "The new w: the rate is applied twice, since it is in the velocity already.": w - rate * new_v,
        },
    )


def eq4(module: ModuleType) -> Iterator[Claim | str]:
    s, f = random(1, 2, 2, 3, 4), locked(np.random.default_rng(2).random((2, 3, 4)))
    mask = locked((np.random.default_rng(3).random((2, 3, 4)) < 0.6).astype(float))
    p = ops.softmax(s)
    log_g, log_b = np.log(p[:, 0]), np.log(p[:, 1])
    j = mask.size

    def both(ds_gland):
        return np.stack([ds_gland, -ds_gland], axis=1) / j

    m = (mask * f).sum(axis=(1, 2), keepdims=True) / mask.sum(axis=(1, 2), keepdims=True)
    inner = ("the weights", -mask * log_g / j)
    wrong = {
        "soft_target": (
            {
                "ds: the target is S f, not S.": both(p[:, 0] - mask),
                "ds: the target is S f, not f: outside the glands it is zero.": both(p[:, 0] - f),
                "ds has nothing for the background channel, whose logit moves P as well.": both(p[:, 0] - mask * f)
                * [[[[1]], [[0]]]],
            },
            {
                "df: S is missing; outside the glands f does not enter the loss.": (log_b - log_g) / j,
                "df: the background term's share is missing; f is in 1 - S f too.": inner[1],
            },
        ),
        "weight": (
            {"ds: P is to be multiplied by S f + 1 - S, the sum of the two terms' weights.": both(p[:, 0] - mask * f)},
            {
                "df is the soft target's; in this reading the background term has no f in it.": mask
                * (log_b - log_g)
                / j,
                "df: S is missing; outside the glands f does not enter the loss.": -log_g / j,
            },
        ),
        "balanced_weight": (
            {"ds is that of weight: f is not divided by m.": loss.weight_loss_grad(s, mask, f)[0]},
            {
                "df: f's way through m is missing; every f of the image is divided by the mean of all.": inner[1] / m,
                "df is that of weight: f is not divided by m, whose derivative is missing too.": inner[1],
            },
        ),
    }
    sizes = {"N": 2, "H W": 12, "J": j}
    for reading, (wrong_ds, wrong_df) in wrong.items():
        value, reference = getattr(module, reading), loss.SEGMENTATION_LOSSES[reading.replace("_", "-")][0]
        yield Claim(f"L of {reading}, which is given,", value(s, mask, f), np.asarray(reference(s, mask, f)))
        result = getattr(module, f"{reading}_grad")(s, mask, f)
        if not _pair(result):
            yield f"{reading}_grad returns something else than two arrays; it returns ds and df."
        for name, yours, x, texts, of in (
            ("ds", result[0], s, wrong_ds, lambda v, value=value: value(v, mask, f)),
            ("df", result[1], f, wrong_df, lambda v, value=value: value(s, mask, v)),
        ):
            named = {f"{reading}_grad: {text}": w for text, w in texts.items()}
            yield Claim(f"{name} of {reading}_grad", yours, complex_step(of, x), named, sizes)


def _pair(result: Any) -> bool:
    return isinstance(result, (tuple, list)) and len(result) == 2
