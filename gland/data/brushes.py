"""What the painter paints with: smooth noise, wavy fibres, scattered places, and stamps of nuclei and cells."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy import ndimage

TURNS = 16  # directions of a stamp over half a turn


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
    target: np.ndarray, places: np.ndarray, direction: np.ndarray, stamps: list, rng: np.random.Generator,
    strength: tuple[float, float], disorder: float = 0.0,
) -> None:  # fmt: skip
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


def nuclei_stamps(
    rng: np.random.Generator, short: float, long: float, vesicular: bool = False
) -> list[list[np.ndarray]]:
    """Eight nuclei in every direction, long axis along it, chromatin texture; vesicular: pale with a dark rim."""

    def look(r: np.ndarray, texture: np.ndarray) -> np.ndarray:
        body = 0.55 + 0.5 * r**3 if vesicular else 0.95
        return np.clip((1.08 - r) * 4, 0, 1) * (body + 0.16 * texture)

    return _stamps(rng, short, long, look)


def cell_stamps(rng: np.random.Generator, short: float, long: float) -> list[list[np.ndarray]]:
    """Eight smooth blobs: mucin of goblet cells, small lumens."""
    return _stamps(rng, short, long, lambda r, texture: np.clip((1.05 - r) * 3.5 + 0.15 * texture * (r < 1), 0, 1))


def _stamps(rng: np.random.Generator, short: float, long: float, look: Callable) -> list[list[np.ndarray]]:
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
