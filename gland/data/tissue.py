"""A painter of H&E-like colon tissue: the amounts of hematoxylin and eosin at every pixel, then light through them.

Lengths are pixels of 0.62 um. Benign: round glands of one size, one row of basal nuclei, goblet cells, a round lumen.
Malignant: irregular, crowded and fused glands of many sizes, several rows of large disordered nuclei, lumens torn, many
or absent. What the classes must not differ in is their mean colour: each field is stained to a colour drawn without
regard to its class, from the statistics of the 85 training images of Warwick-QU.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import ndimage

MARGIN = 64  # painted around the field and cut off, so that borders look like any other place
MEAN_RGB = np.array([200.8, 130.4, 200.2])
COLOUR_COVARIANCE = np.outer(d := np.array([13.5, 31.2, 14.8]), d) * [[1, 0.91, 0.92], [0.91, 1, 0.96], [0.92, 0.96, 1]]
HEMATOXYLIN, EOSIN = np.array([0.54, 0.90, 0.37]), np.array([0.09, 0.95, 0.22])  # OD in R, G, B, matched by eye


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


BENIGN = Style((65, 0.2), 1.1, 0.0, 0.03, 7, 7, 0.72, 75, 0.26, 0.05, (11, 1.5), 7, (3.3, 6.6), 0.2, 0.85)
MALIGNANT = Style((90, 0.32), 1.0, 0.25, 0.12, 16, 8, 0.66, 62, 0.2, 0.4, (30, 9.0), 15, (4.5, 7.4), 0.5, 0.04)


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


def paint(rng: np.random.Generator, h: int, w: int, malignant: bool) -> tuple[np.ndarray, np.ndarray]:
    """One visual field: image (h, w, 3) uint8 RGB and instances (h, w) int32."""
    style = MALIGNANT if malignant else BENIGN
    shape = h + 2 * MARGIN, w + 2 * MARGIN
    anatomy = lay_out_glands(rng, shape, style)
    hematoxylin, eosin = paint_stroma(rng, shape)
    paint_glands(rng, hematoxylin, eosin, anatomy, style)
    inner = slice(MARGIN, MARGIN + h), slice(MARGIN, MARGIN + w)
    image = expose(rng, hematoxylin[inner], eosin[inner])
    return image, anatomy.instances[inner]


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


def paint_stroma(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Wavy fibres with pale clefts between, spindle nuclei along them, lymphocytes in clusters, some red cells."""
    fibre, direction = fibres(rng, shape)
    looseness = rng.uniform(-2.2, -0.9)
    eosin = 0.40 + 0.09 * fibre + 0.05 * smooth_noise(rng, shape, 40)
    cleft = 1 / (1 + np.exp((fibre + 0.5 * smooth_noise(rng, shape, 60) - np.float32(looseness)) * 6))
    eosin = np.maximum(eosin * (1 - 0.85 * cleft), 0.02)
    hematoxylin = 0.14 + 0.04 * fibre * (1 - cleft)
    crowd = smooth_noise(rng, shape, 70) + rng.normal(0, 0.4)
    spindles = scatter(rng, (cleft < 0.6) & (crowd < 1.0), 20)
    stamp(hematoxylin, spindles, direction, nuclei_stamps(rng, 2.0, 8.0), rng, (0.8, 1.3), disorder=0.2)
    lymphocytes = scatter(rng, 1 / (1 + np.exp(-4 * (crowd - 1.1))) > rng.random(shape, np.float32), 11)
    stamp(hematoxylin, lymphocytes, direction, nuclei_stamps(rng, 3.5, 4.2), rng, (1.1, 1.7))
    blood = scatter(rng, smooth_noise(rng, shape, 40) > 2.4, 7)
    stamp(eosin, blood, direction, nuclei_stamps(rng, 4.2, 4.8), rng, (0.6, 0.9))
    return hematoxylin, eosin


def paint_glands(rng, hematoxylin: np.ndarray, eosin: np.ndarray, anatomy: Anatomy, style: Style) -> None:
    """Cytoplasm, goblet cells, lumens with some debris, nuclei; in place."""
    instances, depth, lumen, direction = anatomy
    shape = depth.shape
    inside = np.clip(depth / 2, 0, 1)
    grain = ndimage.gaussian_filter(rng.standard_normal(shape, np.float32), 1.1) * 3
    streaks = smooth_noise(rng, shape, 9)
    border = ndimage.gaussian_filter((instances > 0).astype(np.float32), 2)
    cleft = 4 * border * (1 - border) * (instances == 0)  # where the stroma has shrunk from the gland
    cleft *= rng.uniform(0, 0.9) * np.clip(smooth_noise(rng, shape, 40), 0, 1)
    eosin *= 1 - cleft
    hematoxylin *= 1 - cleft
    eosin += inside * (0.42 + 0.05 * streaks + 0.035 * grain - eosin)
    hematoxylin += inside * (0.27 + 0.04 * streaks + 0.03 * grain - hematoxylin)

    pale = np.zeros(shape, np.float32)
    share = style.goblets * rng.uniform(0.5, 1.1)
    goblets = scatter(rng, (depth > 19) & ~lumen & (smooth_noise(rng, shape, 60) < 3 * (share - 0.5)), 12)
    stamp(pale, goblets, direction, cell_stamps(rng, 6.5, 10.0), rng, (0.75, 1.0))
    open_lumen = lumen.astype(np.float32)
    if style is MALIGNANT:
        holes = scatter(rng, (depth > 18) & ~lumen & (smooth_noise(rng, shape, 50) > 0.7), 34)
        stamp(open_lumen, holes, direction, cell_stamps(rng, 5.0, 11.0), rng, (0.8, 1.0), disorder=0.8)
    open_lumen = ndimage.gaussian_filter(open_lumen, 1.0)
    edge = np.clip(ndimage.gaussian_filter(open_lumen, 3) * (1 - open_lumen) * 3, 0, 1)
    eosin += 0.18 * edge
    eosin *= (1 - 0.8 * pale) * (1 - 0.95 * open_lumen)
    hematoxylin *= (1 - 0.55 * pale) * (1 - 0.97 * open_lumen)
    debris = open_lumen * np.clip(smooth_noise(rng, shape, 30) + rng.normal(-0.6, 0.5), 0, 1)
    eosin += debris * np.clip(0.28 + 0.1 * grain + 0.2 * streaks, 0, 1)

    band, fade = style.nuclei_band
    band *= rng.uniform(0.85, 1.2)
    row = 0.5 * (1 - np.tanh((depth - band) / fade)) + (0.1 if style is MALIGNANT else 0)
    row *= (depth > 4) * (ndimage.gaussian_filter(open_lumen, 3) < 0.1) * (pale < 0.6)
    for pleomorphism, share in ((1.0, 1.0), (0.85, 0.6)):
        places = scatter(rng, share * row > rng.random(shape, np.float32), style.nuclei_spacing)
        stamps = nuclei_stamps(rng, *(pleomorphism * a for a in style.nucleus), vesicular=style is MALIGNANT)
        stamp(hematoxylin, places, direction, stamps, rng, (1.0, 1.6), style.disorder)
    dead = scatter(rng, (debris > 0.35) & (style is MALIGNANT), 16)
    stamp(hematoxylin, dead, direction, nuclei_stamps(rng, 2.0, 2.8), rng, (0.8, 1.3))


def expose(rng: np.random.Generator, hematoxylin: np.ndarray, eosin: np.ndarray) -> np.ndarray:
    """I = 250 exp(-OD), stained to a drawn mean colour; the lens's blur, the sensor's noise. (h, w, 3) uint8."""
    stains = np.stack([HEMATOXYLIN, EOSIN]) * np.exp(rng.normal(0, 0.06, (2, 3)))
    amounts = np.stack([hematoxylin, eosin], axis=-1)
    gain = stain_gains(rng, amounts[::7, ::7].reshape(-1, 2).astype(float), stains)
    shade = np.stack([smooth_noise(rng, hematoxylin.shape, 300) for _ in range(2)], axis=-1)
    density = (amounts * (gain * (1 + 0.06 * shade))).astype(np.float32) @ stains.astype(np.float32)
    light = 250 * np.exp(-density)
    light = ndimage.gaussian_filter(light, (0.8, 0.8, 0))
    light += rng.standard_normal(light.shape, np.float32) * 1.5
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)


def stain_gains(rng: np.random.Generator, amounts: np.ndarray, stains: np.ndarray) -> np.ndarray:
    """Gains that give amounts (n, 2) of the stains a mean red and green drawn from the measured colours (Newton).

    Their ratio is kept within what stainers do; where that binds, the mean green still hits its target.
    """
    target = np.clip(rng.multivariate_normal(MEAN_RGB, COLOUR_COVARIANCE), 60, 225)[:2]
    gain = np.ones(2)
    for _ in range(12):
        light = 255 * np.exp(-(amounts * gain) @ stains)[:, :2]
        slope = -np.einsum("pc,ps,sc->cs", light, amounts, stains[:, :2]) / len(amounts)
        gain = np.clip(gain - np.linalg.solve(slope, light.mean(axis=0) - target), gain / 1.5, gain * 1.5)
    gain[0] = np.clip(gain[0], 0.45 * gain[1], 1.4 * gain[1])
    for _ in range(8):
        green = 255 * np.exp(-(amounts * gain) @ stains[:, 1])
        slope = -(green * ((amounts * gain) @ stains[:, 1])).mean()
        gain *= np.clip(1 - (green.mean() - target[1]) / slope, 1 / 1.5, 1.5)
    return gain


def fibres(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Directional noise, unit variance, and its direction: streaks of noise read through a rotated, wavy map."""
    along = rng.uniform(0, np.pi)
    side = int(np.hypot(*shape)) + 200
    streaks = ndimage.gaussian_filter(rng.standard_normal((side, side // 6), np.float32), (1.3, 1.5), mode="wrap")
    streaks /= streaks.std()
    wave = 30 * smooth_noise(rng, shape, 120)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    across = np.float32(np.cos(along)) * rows - np.float32(np.sin(along)) * columns + wave
    length = np.float32(np.sin(along)) * rows + np.float32(np.cos(along)) * columns
    fibre = ndimage.map_coordinates(streaks, [across, length / 6], order=1, mode="grid-wrap")
    down, right = np.gradient(across)
    return fibre, np.arctan2(right, -down) + np.pi


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], length: float) -> np.ndarray:
    """Random field (H, W) float32, about unit variance, a cubic spline through normal knots `length` pixels apart."""
    knots = [int(n / length) + 3 for n in shape]
    coarse = rng.standard_normal(knots, np.float32) * np.float32(1.4)
    return _spline(knots[0], shape[0], length) @ coarse @ _spline(knots[1], shape[1], length).T


def scatter(rng: np.random.Generator, weight: np.ndarray, room: int) -> np.ndarray:
    """Places (n, 2), about one for every room x room pixels of weight > 0: the local maxima of weighted white noise."""
    score = rng.random(weight.shape, np.float32) * weight
    return np.argwhere((score > 0) & (score == ndimage.maximum_filter(score, room)))


def stamp(
    target, places: np.ndarray, direction: np.ndarray, stamps: list, rng, strength, disorder: float = 0.0
) -> None:
    """Each place receives the maximum of what is there and a random stamp, turned to the direction there; in place.

    strength: the range of the factor of a stamp. disorder: standard deviation of its angle, radians.
    """
    angles = direction[places[:, 0], places[:, 1]] + rng.normal(0, disorder, len(places))
    turns = np.rint(angles * TURNS / np.pi).astype(int) % TURNS
    which = rng.integers(len(stamps), size=len(places))
    force = rng.uniform(*strength, len(places)).astype(np.float32)
    half = stamps[0][0].shape[0] // 2
    for (i, j), turn, kind, amount in zip(places.tolist(), turns.tolist(), which.tolist(), force):
        if half <= i < target.shape[0] - half and half <= j < target.shape[1] - half:
            patch = target[i - half : i + half + 1, j - half : j + half + 1]
            np.maximum(patch, amount * stamps[kind][turn], out=patch)


TURNS = 16  # directions over half a turn


def nuclei_stamps(rng, short: float, long: float, vesicular: bool = False) -> list[list[np.ndarray]]:
    """Eight nuclei in every direction, long axis along it, chromatin texture; vesicular: pale with a dark rim."""

    def look(r: np.ndarray, texture: np.ndarray) -> np.ndarray:
        body = 0.55 + 0.5 * r**3 if vesicular else 0.95
        return np.clip((1.08 - r) * 4, 0, 1) * (body + 0.16 * texture)

    return _stamps(rng, short, long, look)


def cell_stamps(rng, short: float, long: float) -> list[list[np.ndarray]]:
    """Eight smooth blobs: mucin of goblet cells, small lumens."""
    return _stamps(rng, short, long, lambda r, texture: np.clip((1.05 - r) * 3.5 + 0.15 * texture * (r < 1), 0, 1))


def _stamps(rng, short: float, long: float, look: Callable) -> list[list[np.ndarray]]:
    half = int(long * 1.7) + 2
    rows, columns = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32)
    kinds = []
    for _ in range(8):
        a, b = long * np.exp(rng.normal(0, 0.14)), short * np.exp(rng.normal(0, 0.14))
        dent, phase = rng.normal(0, 0.08), rng.uniform(0, 2 * np.pi)
        texture = ndimage.gaussian_filter(rng.standard_normal(rows.shape, np.float32), 1.0) * 3.5
        turned = []
        for angle in np.arange(TURNS) * np.pi / TURNS:
            u = np.cos(angle) * columns + np.sin(angle) * rows
            v = np.cos(angle) * rows - np.sin(angle) * columns
            r = np.hypot(u / a, v / b) * (1 + dent * np.cos(3 * np.arctan2(v / b, u / a) + phase))
            turned.append(look(r, texture).astype(np.float32))
        kinds.append(turned)
    return kinds


@lru_cache(maxsize=256)
def _spline(knots: int, size: int, length: float) -> np.ndarray:
    """(size, knots) float32: the matrix from knots, one pixel pitch `length`, to cubic spline values at every pixel."""
    places = np.arange(size) / length + 1
    basis = ndimage.spline_filter1d(np.eye(knots), order=3, axis=0, mode="mirror")
    columns = [ndimage.map_coordinates(column, [places], order=3, prefilter=False, mode="mirror") for column in basis.T]
    return np.stack(columns, axis=1).astype(np.float32)
