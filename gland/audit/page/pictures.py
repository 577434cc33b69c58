"""Small pictures for the page: the prior as a PNG inside it, and where the points of its scatter plots lie."""

import base64
import io
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from gland.audit.evidence import Section
from gland.audit.paper.image import LABEL, START, started, window

INK = "#7d8590"  # readable on light and on dark


def _png(figure: Any) -> str:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110, transparent=True)
    plt.close(figure)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def priors() -> str:
    """The two phantom images, their masks, the prior of each pooling layer, the combined f, and P_g."""
    net, (x, mask, label) = started(), window(START)
    passed = net.forward(x, label)
    f, p_gland = np.asarray(passed.f), np.asarray(net.predict(x).p_gland)
    columns = [
        "image",
        "mask S",
        *(f"$f_{k}$, {m.shape[1]}x{m.shape[2]}" for k, m in enumerate(passed.f_k, 1)),
        "f",
        "$P_g$",
    ]
    figure, axes = plt.subplots(2, len(columns), figsize=(1.25 * len(columns), 3.1), layout="constrained")
    for n, row in enumerate(axes):
        rgb = (x[n].transpose(1, 2, 0) / 5 + 0.6).clip(0, 1)  # colours as standardised, so without the stain
        for axis, name, picture in zip(row, columns, [rgb, mask[n], *(m[n] for m in passed.f_k), f[n], p_gland[n]]):
            axis.imshow(picture, vmin=0, vmax=1, cmap="viridis", interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            if n == 0:
                axis.set_title(name, fontsize=9, color=INK)
        row[0].set_ylabel("malignant" if LABEL[n] else "benign", fontsize=9, color=INK)
    return _png(figure)


def points(section: Section, most: int = 400) -> tuple[float, list[tuple[float, float]]]:
    """How far the section's (analytic, numeric) gradients reach, and some of them as places in a square of 200."""
    pairs = np.array(section.scatter)[:: max(1, len(section.scatter) // most)]
    reach = float(np.abs(pairs).max()) * 1.08 or 1.0
    return reach, [(100 + 96 * x / reach, 100 - 96 * y / reach) for x, y in pairs]
