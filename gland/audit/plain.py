"""The equations again, in exact arithmetic: what is left of gland/ops/plain.py's formulas once numbers have no rounding.

What only adds, multiplies and compares runs on fractions.Fraction: every float is a fraction, so the result is the formula's
exact value. Exponentials, logarithms and powers run on decimal.Decimal with 50 digits. What differs from the package is then
the package's own rounding, or its mistake. Nothing of what is audited is imported. Arrays are NumPy's, of such numbers.
"""

from collections.abc import Iterator
from decimal import Decimal, getcontext
from fractions import Fraction
from typing import Any

import numpy as np

from gland.ops import plain

Array = Any
getcontext().prec = 50

exact: Any = np.frompyfunc(Fraction, 1, 1)  # floats to fractions, without rounding
decimals: Any = np.frompyfunc(Decimal, 1, 1)  # floats to 50-digit decimals, as exactly
exp: Any = np.frompyfunc(Decimal.exp, 1, 1)
ln: Any = np.frompyfunc(Decimal.ln, 1, 1)


def softmax(x: Array) -> Array:
    """Eq. (2) over axis 1."""
    return exp(x) / exp(x).sum(axis=1, keepdims=True)


def log_softmax(x: Array) -> Array:
    return x - ln(exp(x).sum(axis=1, keepdims=True))


def local_response_norm(x: Array, n: int, alpha: float, beta: float, k: float) -> Array:
    """y_c = x_c / (k + alpha sum of x_j^2 over |j - c| <= n // 2)^beta"""
    near = [x[:, max(0, c - n // 2) : c + n // 2 + 1] for c in range(x.shape[1])]
    s = [Decimal(k) + Decimal(alpha) * (v * v).sum(axis=1) for v in near]
    return x / np.stack(s, axis=1) ** Decimal(beta)


def class_loss(logits: Array, label: Array) -> Decimal:
    """Eqs. (1), (2), mean over the images."""
    return -sum(ln(q[l]) for q, l in zip(softmax(logits), label, strict=True)) / len(logits)


def class_loss_grad(logits: Array, label: Array) -> Array:
    """Q - y, over N"""
    return (softmax(logits) - np.eye(logits.shape[1], dtype=int)[label]) / len(logits)


def _pixels(logits: Array, mask: Array, f: Array) -> Iterator[tuple[tuple[int, ...], Any, Any, Any, Any]]:
    """Every pixel's place n, i, j, and there P_g, P_b, S and f."""
    p = softmax(logits)
    for n, i, j in np.ndindex(*mask.shape):
        yield (n, i, j), p[n, 0, i, j], p[n, 1, i, j], mask[n, i, j], f[n, i, j]


def soft_target_loss(logits: Array, mask: Array, f: Array) -> Decimal:
    """Eq. (4), the minus before the whole sum, mean over pixels."""
    return -sum(s * v * g.ln() + (1 - s * v) * b.ln() for _, g, b, s, v in _pixels(logits, mask, f)) / mask.size


def weight_loss(logits: Array, mask: Array, f: Array) -> Decimal:
    return -sum(s * v * g.ln() + (1 - s) * b.ln() for _, g, b, s, v in _pixels(logits, mask, f)) / mask.size


def balanced(mask: Array, f: Array) -> Array:
    """f over its mean on the gland pixels of its own image; 1 where that mean is 0 or does not exist."""
    weights = []
    for s, v in zip(mask, f, strict=True):
        glands, total = s.sum(), (s * v).sum()
        weights.append(v * glands / total if glands > 0 and total > 0 else 1 + 0 * v)
    return np.stack(weights)


def balanced_weight_loss(logits: Array, mask: Array, f: Array) -> Decimal:
    return weight_loss(logits, mask, balanced(mask, f))


def soft_target_loss_grad(logits: Array, mask: Array, f: Array) -> tuple[Array, Array]:
    """(P_g - S f) / J for the gland logit, its negative for the other;  S log(P_b / P_g) / J for f."""
    ds, df = np.empty_like(mask), np.empty_like(mask)
    for place, g, b, s, v in _pixels(logits, mask, f):
        ds[place], df[place] = (g - s * v) / mask.size, s * (b / g).ln() / mask.size
    return np.stack([ds, -ds], axis=1), df


def weight_loss_grad(logits: Array, mask: Array, f: Array) -> tuple[Array, Array]:
    """Term by term: -S f log P_g has the gradient S f (P_g - 1), -(1 - S) log P_b has (1 - S) P_g; both over J."""
    ds, df = np.empty_like(mask), np.empty_like(mask)
    for place, g, _, s, v in _pixels(logits, mask, f):
        ds[place], df[place] = (s * v * (g - 1) + (1 - s) * g) / mask.size, -s * g.ln() / mask.size
    return np.stack([ds, -ds], axis=1), df


def combine(g: list[Array], z: list[Array], size: tuple[int, int], kind: str) -> Array:
    """f: the mean over channels of the positive part of g (or g z), over its largest value, stretched to size, mean over k."""
    f: Array = 0
    for g_k, z_k in zip(g, z, strict=True):
        v = g_k * z_k if kind == "gradient-activation" else g_k
        c = np.maximum(v, 0).sum(axis=1, keepdims=True) / Fraction(v.shape[1])
        f = f + plain.upsample_bilinear(c / c.max(axis=(1, 2, 3), keepdims=True), size)[:, 0] / len(g)
    return f
