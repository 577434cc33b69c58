"""Small pictures for the page, as PNG or SVG inside it."""

import base64
import io

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from gland.audit.evidence import Section
from gland.audit.paper.image import LABEL, START, started, window

INK = "#7d8590"  # readable on light and on dark


def _png(figure) -> str:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110, transparent=True)
    plt.close(figure)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def priors() -> str:
    """The two synthetic images, their masks, the prior of each pooling layer, the combined f, and P_g."""
    net, (x, mask, label) = started(), window(START)
    run = net.forward(x, label)
    p_gland = net.predict(x).p_gland
    columns = [
        "image",
        "mask S",
        *(f"$f_{k}$, {m.shape[1]}x{m.shape[2]}" for k, m in enumerate(run.f_k, 1)),
        "f",
        "$P_g$",
    ]
    figure, axes = plt.subplots(2, len(columns), figsize=(1.25 * len(columns), 3.1), layout="constrained")
    for n, row in enumerate(axes):
        rgb = (x[n].transpose(1, 2, 0) / 5 + 0.6).clip(0, 1)  # colours as standardised, so without the stain
        for axis, name, picture in zip(row, columns, [rgb, mask[n], *(m[n] for m in run.f_k), run.f[n], p_gland[n]]):
            axis.imshow(picture, vmin=0, vmax=1, cmap="viridis", interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            if n == 0:
                axis.set_title(name, fontsize=9, color=INK)
        row[0].set_ylabel("malignant" if LABEL[n] else "benign", fontsize=9, color=INK)
    return _png(figure)


def scatter(section: Section, most: int = 400) -> str:
    """Analytic against numeric gradient as inline SVG, element by element, or "" where there are none."""
    if not section.scatter:
        return ""
    points = np.array(section.scatter)[:: max(1, len(section.scatter) // most)]
    reach = float(np.abs(points).max()) * 1.08 or 1.0
    dots = "".join(
        f'<circle cx="{100 + 96 * x / reach:.1f}" cy="{100 - 96 * y / reach:.1f}" r="2.2"/>' for x, y in points
    )
    return (
        '<svg viewBox="-22 -6 228 228" role="img" aria-label="gradient by hand against complex step"><rect width="200" '
        'height="200"/>'
        f'<line x1="0" y1="200" x2="200" y2="0"/><g class="dots">{dots}</g><text x="100" y="217" '
        f'text-anchor="middle">by hand</text>'
        '<text x="-8" y="100" text-anchor="middle" transform="rotate(-90 -8 100)">complex step</text>'
        f'<text x="200" y="217" text-anchor="end">{reach:.2g}</text><text x="0" y="217">{-reach:.2g}</text></svg>'
    )
