"""Where the painted glands lie and what shape they have: what the classes differ in, in pixels of 0.62 um.

Benign: round glands of one size, one row of basal nuclei, goblet cells, a round lumen. Malignant: irregular, crowded
and fused glands of many sizes, several rows of large disordered nuclei, lumens torn, many or absent.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from gland.data.brushes import smooth_noise


class Style(NamedTuple):
    """What makes a class: (benign, malignant) below."""

    radius: tuple[float, float]  # median, and sigma of its logarithm
    spacing: float  # of gland centres, in sums of radii
    lobes: float  # share of lobes that fuse with an earlier neighbour
    outline: float  # irregularity of the outline, part of the radius
    warp: float  # of the plane, pixels
    gap: float  # stroma between glands, pixels
    cover: float  # share of the field that has glands at all
    height: float  # of the epithelium: what lies deeper is lumen
    lumen: float  # radius, part of the gland's
    solid: float  # share of lobes without lumen
    nuclei_band: tuple[float, float]  # how deep below the gland's border, and how softly that ends
    nuclei_spacing: int
    nucleus: tuple[float, float]  # half axes
    disorder: float  # of the nuclei's direction, radians
    goblets: float  # share of goblet cell places taken


BENIGN = Style(
    radius=(65, 0.2),
    spacing=1.1,
    lobes=0.0,
    outline=0.03,
    warp=7,
    gap=7,
    cover=0.72,
    height=75,
    lumen=0.26,
    solid=0.05,
    nuclei_band=(11, 1.5),
    nuclei_spacing=7,
    nucleus=(3.3, 6.6),
    disorder=0.2,
    goblets=0.85,
)
MALIGNANT = Style(
    radius=(90, 0.32),
    spacing=1.0,
    lobes=0.25,
    outline=0.12,
    warp=16,
    gap=8,
    cover=0.66,
    height=62,
    lumen=0.2,
    solid=0.4,
    nuclei_band=(30, 9.0),
    nuclei_spacing=15,
    nucleus=(4.5, 7.4),
    disorder=0.5,
    goblets=0.04,
)


class Lobe(NamedTuple):
    centre: np.ndarray
    radius: float
    axes: np.ndarray  # (2, 2), maps a place to the lobe's own round coordinates
    waves: np.ndarray  # (4, 2) amplitude and phase of the outline's waves 2 to 5
    gland: int
    lumen: float


class Anatomy(NamedTuple):
    instances: np.ndarray  # (H, W) int32
    depth: np.ndarray  # distance to the gland's border, 0 outside
    lumen: np.ndarray  # bool
    direction: np.ndarray  # angle from the border inwards


def lay_out_glands(rng: np.random.Generator, shape: tuple[int, int], style: Style) -> Anatomy:
    """Lobes nearest by their own measure of distance, d = |place - centre| / radius(angle): gland where d < 1 and where
    no other gland is nearly as near."""
    nearest, second = np.full(shape, 9, np.float32), np.full(shape, 9, np.float32)
    gland = np.zeros(shape, np.int32)
    lumen = np.zeros(shape, bool)
    warp = style.warp * np.stack([smooth_noise(rng, shape, 75) for _ in range(2)])
    torn = smooth_noise(rng, shape, 14) * style.warp / 90
    for lobe in place_lobes(rng, shape, style):
        reach = int(1.6 * lobe.radius * np.linalg.norm(np.linalg.inv(lobe.axes), 2) + style.warp)
        (top, left), (bottom, right) = np.maximum(lobe.centre.astype(int) - reach, 0), lobe.centre.astype(int) + reach
        box = slice(top, bottom), slice(left, right)
        rows, columns = np.ogrid[box[0], box[1]]
        view = nearest[box], second[box], gland[box]
        size = view[0].shape
        if not all(size):
            continue
        y = rows[: size[0]] + warp[0][box] - lobe.centre[0]
        x = columns[:, : size[1]] + warp[1][box] - lobe.centre[1]
        u, v = (np.float32(a) * y + np.float32(b) * x for a, b in lobe.axes)
        angle = np.arctan2(v, u)
        radius = 1 + sum(np.float32(a) * np.cos(k * angle + np.float32(p)) for k, (a, p) in enumerate(lobe.waves, 2))
        d = np.hypot(u, v) / (np.float32(lobe.radius) * radius)
        lumen[box] |= d + torn[box] < lobe.lumen
        closer, same = d < view[0], view[2] == lobe.gland
        view[1][...] = np.where(closer & ~same, view[0], np.where(same, view[1], np.minimum(view[1], d)))
        view[2][closer] = lobe.gland
        np.minimum(view[0], d, out=view[0])
    inside = (nearest < 1) & ((second - nearest) * style.radius[0] > style.gap)
    inside = ndimage.binary_opening(inside, iterations=3)
    instances, _ = ndimage.label(inside)
    areas = np.bincount(instances.ravel())
    instances[areas[instances] < 2000] = 0
    depth = ndimage.distance_transform_edt(instances).astype(np.float32)
    down, across = np.gradient(ndimage.gaussian_filter(depth, 3))
    folds = 0.9 * torn + style.warp / 90 * smooth_noise(rng, shape, 40)
    lumen = (lumen | (depth > style.height * (np.exp(rng.normal(0, 0.15)) + folds))) & (depth > 14)
    return Anatomy(instances, depth, lumen, np.arctan2(down, across))


def place_lobes(rng: np.random.Generator, shape: tuple[int, int], style: Style) -> list[Lobe]:
    """Dart throwing: centres no nearer than style.spacing sums of radii, where the field has glands."""
    along = rng.uniform(0, np.pi)
    aspect = np.exp(abs(rng.normal(0.2, 0.35)))
    absent = smooth_noise(rng, shape, 400)
    limit = np.quantile(absent, np.clip(rng.normal(style.cover, 0.22), 0.35, 1.0))
    size, spacing = np.exp(rng.normal(0, 0.12, 2)) * [1, style.spacing]
    lobes: list[Lobe] = []
    centres = np.empty((0, 2))
    radii = np.empty(0)
    turn = np.array([[np.sin(along), np.cos(along)], [np.cos(along), -np.sin(along)]])  # rows: along, across
    measure = np.diag([aspect**-0.5, aspect**0.5]) @ turn
    darts = int(6 * np.prod(shape) / style.radius[0] ** 2)
    sizes = np.sort(style.radius[0] * size * np.exp(rng.normal(0, style.radius[1], darts)))[::-1]
    for radius, place in zip(sizes, rng.uniform((0, 0), shape, (darts, 2))):
        if absent[tuple(place.astype(int))] > limit:
            continue
        distance = np.linalg.norm((centres - place) @ measure.T, axis=1) / (radii + radius)
        if distance.size and distance.min() < spacing:
            continue
        fused = distance.size and distance.min() < 1.25 * spacing and rng.random() < style.lobes
        tilt = rng.normal(0, 0.25)
        own = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
        waves = np.stack([rng.normal(0, style.outline, 4) / [1, 1, 1.5, 2], rng.uniform(0, 2 * np.pi, 4)], axis=1)
        gland = lobes[int(distance.argmin())].gland if fused else len(lobes) + 1
        lumen = 0.0 if rng.random() < style.solid else style.lumen * np.exp(rng.normal(0, 0.3))
        lobes.append(Lobe(place, radius, own @ measure, waves, gland, lumen))
        centres, radii = np.vstack([centres, place]), np.append(radii, radius)
    return lobes
