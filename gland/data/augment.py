"""Augmentation of one training window: one resampling for all of its geometry, then stain and light.

Geometry: rotation, flip, scale and shear about the window's centre plus a smooth elastic field, composed into one map
from window to image, so that pixels are interpolated once. Image (bilinear) and instances (nearest) are read at the
same places.
Stain: the amounts of hematoxylin and eosin, and the residual, are changed in optical density, OD = -log(I / 255).
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from gland.data.crops import WINDOW, random_corner
from gland.data.sample import Sample

# Rows: OD of hematoxylin and eosin in R, G, B, Ruifrok & Johnston, "Quantification of histochemical staining by color
# deconvolution" (2001), and what is orthogonal to both.
HEMATOXYLIN, EOSIN = (0.65, 0.70, 0.29), (0.07, 0.99, 0.11)
STAINS = np.array([HEMATOXYLIN, EOSIN, np.cross(HEMATOXYLIN, EOSIN)])
STAINS /= np.linalg.norm(STAINS, axis=1, keepdims=True)


class Recipe(NamedTuple):
    """How strongly a window is changed; every amount is the largest, drawn uniformly. NONE changes nothing."""

    rotation: float = 180.0  # degrees either way
    flip: bool = True  # mirrored half of the time
    scale: float = 0.3  # side length times exp(+-scale)
    shear: float = 0.1  # tangent of the angle
    elastic: float = 4.0  # standard deviation of the displacement at the knots, pixels
    stain: float = 0.3  # each stain's OD times 1 +- stain, plus +- stain / 5 (Tellez et al. 2018, arXiv:1808.05896)
    brightness: float = 0.15  # of 255, added
    contrast: float = 0.25  # times 1 +- contrast about the window's mean
    quadrant: bool = False  # windows from within the paper's four 250 x 250 crops instead of from anywhere


DEFAULT = Recipe()
NONE = Recipe(0, False, 0, 0, 0, 0, 0, 0)
KNOTS = 7  # of the elastic field along each side: one every 37 pixels, about half a benign gland


def augment(
    sample: Sample, rng: np.random.Generator, recipe: Recipe, size: int = WINDOW
) -> tuple[np.ndarray, np.ndarray]:
    """One random window of a resized sample: image (size, size, 3) float32 in 0..255, instances (size, size) int32."""
    h, w = sample.image.shape[:2]
    i, j = random_corner(rng, h, w, size, recipe.quadrant)
    places = sampling_places(rng, recipe, size)
    places += np.array([i, j], np.float32)[:, None, None]
    image, instances = resample(sample.image, sample.instances, places)
    return jitter_light(jitter_stain(image, rng, recipe), rng, recipe), instances


def sampling_places(rng: np.random.Generator, recipe: Recipe, size: int) -> np.ndarray:
    """Where each window pixel is read, (2, size, size) float32 rows and columns relative to the window's corner.

    place(u) = centre + A (u - centre) + elastic(u),  A = rotation . shear . scale . flip.
    The elastic field is a cubic spline through KNOTS x KNOTS displacements (free-form deformation, Rueckert 1999).
    """
    angle = np.radians(rng.uniform(-recipe.rotation, recipe.rotation))
    shear = rng.uniform(-recipe.shear, recipe.shear)
    scale = np.exp(rng.uniform(-recipe.scale, recipe.scale))
    mirror = -1.0 if recipe.flip and rng.random() < 0.5 else 1.0
    knots = rng.normal(0.0, recipe.elastic, (2, KNOTS, KNOTS)).astype(np.float32)
    rotate = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    a = rotate @ np.array([[1.0, shear], [0.0, 1.0]]) @ np.diag([scale, scale * mirror])
    u = np.arange(size, dtype=np.float32) - (size - 1) / 2
    a = a.astype(np.float32)
    affine = a[:, 0, None, None] * u[:, None] + a[:, 1, None, None] * u + np.float32((size - 1) / 2)
    spline = _spline(size)
    return affine + spline @ knots @ spline.T


def resample(image: np.ndarray, instances: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Image (bilinear, float32) and instances (nearest) read at the same places (2, h, w); the borders reflect."""
    channels = [
        ndimage.map_coordinates(image[..., c], places, np.float32, order=1, mode="mirror")
        for c in range(image.shape[2])
    ]
    return np.stack(channels, axis=-1), ndimage.map_coordinates(instances, places, order=0, mode="mirror")


def jitter_stain(image: np.ndarray, rng: np.random.Generator, recipe: Recipe) -> np.ndarray:
    """OD' = OD M^-1 (1 + alpha) M + beta M with the rows of M the stains; image (..., 3) in 0..255."""
    alpha = rng.uniform(-recipe.stain, recipe.stain, 3)
    beta = rng.uniform(-recipe.stain, recipe.stain, 3) / 5
    if not recipe.stain:
        return image
    change = np.linalg.inv(STAINS) @ np.diag(1 + alpha) @ STAINS
    density = -np.log(np.maximum(image, 1.0) / np.float32(255))
    return np.float32(255) * np.exp(-(density @ change.astype(np.float32) + (beta @ STAINS).astype(np.float32)))


def jitter_light(image: np.ndarray, rng: np.random.Generator, recipe: Recipe) -> np.ndarray:
    """Contrast about the window's mean, then brightness; clipped to 0..255."""
    gain = np.float32(1 + rng.uniform(-recipe.contrast, recipe.contrast))
    mean = image.mean(dtype=np.float64)
    offset = np.float32((1 - gain) * mean + 255 * rng.uniform(-recipe.brightness, recipe.brightness))
    return np.clip(image * gain + offset, 0, 255)


@lru_cache
def _spline(size: int) -> np.ndarray:
    """(size, KNOTS) float32: the matrix that takes values at the knots to a cubic spline at every pixel."""
    return ndimage.zoom(np.eye(KNOTS), (size / KNOTS, 1), order=3, mode="mirror").astype(np.float32)
