"""The prior f, made from the derivatives of Eq. (3), and its own derivative."""

from typing import Any

import numpy as np

from gland import prior
from gland.audit import plain
from gland.audit.evidence import Section
from gland.gradcheck import complex_step

Array = Any


def combination(kind: str) -> Section:
    reduce, reduce_grad = prior.PRIORS[kind]
    inner = r"g_k" if kind == "gradient" else r"g_k z_k"
    formula = (
        r"f = \frac{1}{K} \sum_k \text{up} \left( \frac{c_k}{\max c_k} \right), \quad c_k = \frac{1}{C} \sum_c \max("
        + inner
        + ", 0)"
    )
    section = Section(f"f {kind}", f"The prior f, {kind}", formula)
    section.computes, section.differentiates = [prior.combine, reduce], [prior.combine_grad, reduce_grad]
    section.notes = "The derivative at the maximum itself carries the whole map's share: every value is divided by it."
    rng = np.random.default_rng(14)
    shapes = [(2, 3, 4, 6), (2, 4, 2, 3), (2, 2, 1, 2)]
    g, z = [rng.standard_normal(s) for s in shapes], [rng.random(s) for s in shapes]
    size = (8, 12)
    f, maps, cache = prior.combine(g, z, size, kind)
    exactly = plain.combine([plain.exact(v) for v in g], [plain.exact(v) for v in z], size, kind)
    section.compare("formula", "three pooling layers, two images, in fractions", f, exactly)
    section.add("state", "0 <= f <= 1", max(0.0, float(f.max()) - 1, -float(f.min())))
    short = max(abs(float(m.max()) - 1) for image in zip(*maps) for m in image)
    section.add("state", "every map's largest value is 1", short)
    df = rng.standard_normal(f.shape)
    dg, dz = prior.combine_grad(df, cache, kind)
    arrays = {"g": g, "z": z}
    for k in range(3):
        for name, d in (("g", dg[k]), ("z", dz[k])):

            def s(v: Array, k: int = k, name: str = name) -> Array:
                moved = {n: [a.astype(complex) for a in values] for n, values in arrays.items()}
                moved[name][k] = v
                return (df * prior.combine(moved["g"], moved["z"], size, kind)[0]).sum()

            numeric = complex_step(s, arrays[name][k])
            if d is None:
                section.add("gradient", f"z_{k + 1} does not enter", float(np.abs(numeric).max()))
            else:
                section.gradient(f"df/d{name}_{k + 1}, every element", d, numeric)
    return section
