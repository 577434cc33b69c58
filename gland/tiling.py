"""Whole images of any size in overlapping tiles, in bounded memory and with no seams.

An output pixel depends on the input only within its receptive field. So a tile is computed with a margin around it that
covers this field, the margin's outputs are thrown away, and what is left is what the whole image would have given, up to
rounding. Tiles begin at multiples of what the pools divide, so that their windows lie as in the whole image; at the
image's own edges the layers pad with zeros as ever.

Two things in the joint network are not local, and both are sums or maxima over positions, so tiles can be gathered:

    logits   a = mean over positions of the last 1x1 convolution: each tile adds its own positions
    prior    n_k = c_k / max c_k, the maximum over the image: each tile reports the largest c_k of its own positions

A first pass over the tiles gathers these, a second one segments with them. Eq. (3)'s derivative starts from the mean over
the whole image's positions, not a tile's. Its class l is known only after the first pass, but with two classes the
derivatives of the two margins are each other's negative, so the first pass keeps the maxima for both.

How far a tile reaches beyond an edge at a multiple of 32, in pixels. Stage k works at 2^(k-1) pixels, where a 3x3
convolution reaches one position; pools and deconvolutions with window = stride reach the windows that are touched:

    class   z_5 begins at the edge; 2 convolutions in each of 5 stages, 2 (16 + 8 + 4 + 2 + 1) = 62 down to the image
    joint   2 for the last two convolutions, then 1, 2, 4, 8, 16 for one in each decoder stage, each time up to the end of
            the window above: 64 at z_5, and 62 more down to the image: 126. Eq. (3)'s pass goes from z_1 through
            stages 2 to 5, 4 + 2 (2 + 4 + 8 + 16) = 64, and its masks reach 62 further: 126 too
    U-Net   2 convolutions in each of its levels: 32 at level 5, 62 more with its own two: 94
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from gland import backend, ops, prior
from gland.data import to_input
from gland.data.strips import Strips
from gland.networks import AlexNet, UNet

Array = Any
MARGINS = {"joint": 128, "seg": 128, "class": 64, "unet": 96}  # pixels around a tile
TILE = 640  # pixels a side: with its margins a joint network of width 16 takes about 0.9 GB


class Tile(NamedTuple):
    """Rows and columns of the image, where the tile's own part lies in it, and network input with margin (1, 3, h, w)."""

    rows: slice
    columns: slice
    inner: tuple[
        slice, slice
    ]  # the tile's own pixels inside x, the reflected ones below and right of the image included
    x: np.ndarray


class Summary(NamedTuple):
    """What the first pass gathers."""

    logits: np.ndarray  # (1, 2)
    positions: int  # of z_K in the whole image
    largest: np.ndarray  # (2, K) max c_k for either class l


Each = Callable[[slice, slice, np.ndarray, "np.ndarray | None"], None]


class ArrayStrips(Strips):
    """An image (H, W, 3) that is in memory already."""

    def __init__(self, image: np.ndarray) -> None:
        self.image, self.shape = image, image.shape

    def rows(self, start, stop):
        return self.image[start:stop]


def segment(
    network: Any, image: np.ndarray | Strips, tile: int = TILE, progress: bool = False
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Class scores q (1, 2) and the gland mask (H, W) bool by Eq. (6), None where the network has no such part."""
    image = image if isinstance(image, Strips) else ArrayStrips(image)
    mask = None if network.kind == "class" else np.zeros(image.shape[:2], bool)

    def each(rows, columns, p_gland, f):
        mask[rows, columns] = p_gland > 0.5

    return predict_tiles(network, image, each, tile, progress), mask


def predict_tiles(
    network: Any, image: np.ndarray | Strips, each: Each, tile: int = TILE, progress: bool = False
) -> np.ndarray | None:
    """Call each(rows, columns, p_gland, f) for every tile of a network that segments, and return q (1, 2) or None.

    image: (H, W, 3) uint8, or Strips. tile: pixels a side, rounded up to a multiple of 32.
    p_gland and f (None without a prior) are (h, w) float32 for these rows and columns; together they are what
    network.predict gives for the whole image.
    """
    image = image if isinstance(image, Strips) else ArrayStrips(image)
    tile = -(-tile // 32) * 32
    if isinstance(network, AlexNet):
        return _alexnet(network, image)
    margin = MARGINS["unet" if isinstance(network, UNet) else network.kind]

    def tiles(what):
        return _tiles(image, tile, margin, network.multiple, progress, what)

    if isinstance(network, UNet):
        for t in tiles("segment"):
            _give(each, t, network.forward(_placed(network, t.x))[0], None)
        return None
    summary = None if network.kind == "seg" else _summarise(network, tiles("classify"))
    if network.kind != "class":
        for t in tiles("segment"):
            _give(each, t, *_segment_tile(network, t, summary))
    return None if summary is None else backend.to_host(ops.softmax(summary.logits))


def _tiles(image: Strips, tile: int, margin: int, multiple: int, progress: bool, what: str) -> Iterator[Tile]:
    """All tiles, row by row, continued by reflection to multiples of `multiple` as network.predict does."""
    h, w, _ = image.shape
    full_h, full_w = h + -h % multiple, w + -w % multiple
    count = -(-h // tile) * -(-w // tile)
    with tqdm(total=count, desc=what, unit="tile", disable=not progress, leave=False) as bar:
        for i in range(0, h, tile):
            top, bottom = max(0, i - margin), min(full_h, i + tile + margin)
            strip = image.rows(top, min(bottom, h))
            strip = np.pad(
                strip, [(0, max(0, bottom - h)), (0, full_w - w), (0, 0)], "reflect" if min(h, w) > 1 else "edge"
            )
            for j in range(0, w, tile):
                left, right = max(0, j - margin), min(full_w, j + tile + margin)
                inner = slice(i - top, min(i + tile, full_h) - top), slice(j - left, min(j + tile, full_w) - left)
                yield Tile(
                    slice(i, min(i + tile, h)), slice(j, min(j + tile, w)), inner, to_input([strip[:, left:right]])
                )
                bar.update()


def _placed(network, x):
    x = x.astype(np.dtype(network.flat.dtype), copy=False)
    return backend.to_device(x) if backend.is_device_array(network.flat) else x


def _inner(t, y, scale=1):
    """The tile's own part of y (N, C, h / scale, w / scale)."""
    rows, columns = (slice(s.start // scale, -(-s.stop // scale)) for s in t.inner)
    return y[:, :, rows, columns]


def _give(each, t, seg_logits, f):
    h, w = (s.stop - s.start for s in (t.rows, t.columns))
    p_gland = backend.to_host(ops.softmax(_inner(t, seg_logits)))[0, 0, :h, :w]
    each(t.rows, t.columns, p_gland, None if f is None else backend.to_host(_inner(t, f[:, None]))[0, 0, :h, :w])


def _summarise(network, tiles):
    total, positions, largest = 0, 0, np.zeros((2, len(network.classifier.stages)))
    for t in tiles:
        _, cache = network.classifier.forward(_placed(network, t.x))
        scores, _ = network.classifier.score.forward(cache.pooled[-1])
        scores = _inner(t, scores, 2 ** len(cache.pooled))
        total = total + ops.spatial_sum(scores)
        positions += scores.shape[2] * scores.shape[3]
        if network.use_prior:
            g = _derivatives(network, cache, 1)
            for label, sign in ((0, -1), (1, 1)):
                means = _means(network, [g_k * sign for g_k in g], cache)
                inner = [_inner(t, c, 2**k).real.max() for k, c in enumerate(means, 1)]
                largest[label] = np.maximum(largest[label], [float(m) for m in inner])
    return Summary(total / positions, positions, largest / positions)


def _derivatives(network, cache, positions):
    """Eq. (3) for class 1: g_1 .. g_K of this tile, as in an image whose last stage has `positions` positions."""
    z = cache.pooled[-1]
    da = prior.margin_score_grad(z[:, :2, 0, 0] * 0, ops.like(np.array([1]), z))
    g, _ = network.classifier.pooling_gradients(da * (z.shape[2] * z.shape[3] / positions), cache)
    return g


def _means(network, g, cache):
    """c_1 .. c_K of this tile."""
    reduce, _ = prior.PRIORS[network.prior]
    return [reduce(g_k, z_k) for g_k, z_k in zip(g, cache.pooled, strict=True)]


def _segment_tile(network, t, summary):
    """Segmentation logits and f of one tile with its margin."""
    x = _placed(network, t.x)
    _, cache = network.classifier.forward(x)
    f = None
    if network.use_prior:
        label = int(summary.logits.real.argmax())
        g = [g_k * (1 if label else -1) for g_k in _derivatives(network, cache, summary.positions)]
        largest = summary.largest[label].tolist()
        maps = [c / (m or 1) for c, m in zip(_means(network, g, cache), largest, strict=True)]
        f = sum(ops.upsample_bilinear(n, x.shape[2:])[:, 0] for n in maps) / len(maps)
    q = ops.softmax(summary.logits) if network.use_scores else None
    features = [stage.features for stage in cache.stages] if network.skip else None
    logits, _ = network.segmenter.forward(cache.pooled[-1], q, features, x, f)
    return logits, f


def _alexnet(network: AlexNet, image: Strips) -> np.ndarray:
    """The mean over its windows, as network.predict takes them, one row of windows at a time."""
    h, size = image.shape[0], network.size
    rows = -(-h // size)
    if rows == 1:
        return network.predict(to_input([image.rows(0, h)])).q
    starts = [round(k * (h - size) / (rows - 1)) for k in range(rows)]
    return np.mean([network.predict(to_input([image.rows(i, i + size)])).q for i in starts], axis=0)
