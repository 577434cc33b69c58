"""Pictures of a run: training curves, and the paper's Figure 2."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gland.data import Sample
from gland.files import write_atomic
from gland.networks import Prediction

BLUE, ORANGE = "#2b6cb0", "#dd6b20"


def save(figure: Figure, path: Path, dpi: int = 110) -> None:
    """Write a figure as PNG; atomic."""
    FigureCanvasAgg(figure)
    write_atomic(path, lambda file: figure.savefig(file, format="png", dpi=dpi))


def training_curves(rows: Sequence[dict[str, Any]]) -> Figure:
    """Loss, class accuracy, and pixel accuracy with DSC, over the steps of a run; rows as in log.csv."""
    panels = [
        ("loss", [("loss_class", "class, Eq. 1", BLUE, "-"), ("loss_seg", "segmentation, Eq. 4", ORANGE, "-")]),
        ("class accuracy", [("class_accuracy", "training", BLUE, "-"), ("val_class_accuracy", "validation", ORANGE, "o-")]),
        ("pixels", [
            ("pixel_accuracy", "accuracy, training", BLUE, "-"),
            ("val_pixel_accuracy", "accuracy, validation", ORANGE, "o-"),
            ("val_dsc", "DSC, validation", "#2f855a", "s-"),
        ]),
    ]  # fmt: skip
    figure = Figure(figsize=(13, 3.8), layout="constrained")
    for axes, (title, lines) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        for name, label, colour, style in lines:
            points = [(row["step"], row[name]) for row in rows if row.get(name) not in (None, "")]
            if points:
                axes.plot(*np.array(points, float).T, style, color=colour, label=label, markersize=4, linewidth=1.4)
        change = [row["step"] for row in rows if row["phase"] == "pretrain"]
        if change:
            axes.axvline(change[-1], color="0.6", linestyle=":", linewidth=1, label="end of pre-training")
        axes.set(title=title, xlabel="step", xlim=(0, None))
        if title != "loss":
            axes.set_ylim(0, 1.02)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.lines:
            axes.legend(frameon=False, fontsize=8)
    return figure


def figure2(examples: Sequence[tuple[Sample, Prediction]]) -> Figure:
    """The paper's Figure 2: one row an image; its columns are input, ground truth (GT), prior (CP) and output."""
    heights = [s.image.shape[0] / s.image.shape[1] for s, _ in examples]  # of a picture of width 1
    figure = Figure(figsize=(11, 2.6 * sum(heights) + 0.4), layout="constrained")
    grid = figure.subplots(len(examples), 4, squeeze=False, gridspec_kw={"height_ratios": heights})
    for (sample, prediction), axes in zip(examples, grid, strict=True):
        pictures = [sample.image, sample.instances > 0, None, prediction.gland_mask()[0]]
        if prediction.f is not None:
            pictures[2] = prediction.f[0]
        for axis, picture, kind in zip(axes, pictures, ("rgb", "mask", "prior", "mask"), strict=True):
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
            if picture is None:
                axis.text(0.5, 0.5, "no prior", ha="center", va="center", color="0.5", transform=axis.transAxes)
            elif kind == "prior":
                axis.imshow(picture, cmap="magma", vmin=0)
            else:
                axis.imshow(picture, cmap="gray", vmin=0, vmax=None if kind == "rgb" else 1)
        axes[0].set_ylabel(_caption(sample, prediction), fontsize=9)
    for axis, title in zip(grid[0], ("Input", "GT", "CP", "Output"), strict=True):
        axis.set_title(title)
    return figure


def _caption(sample: Sample, prediction: Prediction) -> str:
    truth = "malignant" if sample.malignant else "benign"
    if prediction.q is None:
        return f"{sample.name}\n{truth}"
    kind = "malignant" if prediction.q[0, 1] > 0.5 else "benign"
    return f"{sample.name}, {truth}\nQ: {kind} {prediction.q[0].max():.2f}"
