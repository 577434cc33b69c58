"""A painter of H&E-like colon tissue: the amounts of hematoxylin and eosin at every pixel, then light through them.

anatomy.py says how the classes differ. What they must not differ in is their mean colour: each field is stained to a
colour drawn without regard to its class, from the statistics of the 85 training images of Warwick-QU.
"""

import numpy as np
from scipy import ndimage

from gland.data.anatomy import BENIGN, MALIGNANT, Anatomy, Style, lay_out_glands
from gland.data.brushes import cell_stamps, fibres, nuclei_stamps, scatter, smooth_noise, stamp

MARGIN = 64  # painted around the field and cut off, so that borders look like any other place
MEAN_RGB = np.array([200.8, 130.4, 200.2])
COLOUR_COVARIANCE = np.outer(d := np.array([13.5, 31.2, 14.8]), d) * [[1, 0.91, 0.92], [0.91, 1, 0.96], [0.92, 0.96, 1]]
HEMATOXYLIN, EOSIN = np.array([0.54, 0.90, 0.37]), np.array([0.09, 0.95, 0.22])  # OD in R, G, B, matched by eye


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


def paint_glands(
    rng: np.random.Generator, hematoxylin: np.ndarray, eosin: np.ndarray, anatomy: Anatomy, style: Style
) -> None:
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
        short, long = (pleomorphism * a for a in style.nucleus)
        stamps = nuclei_stamps(rng, short, long, vesicular=style is MALIGNANT)
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
