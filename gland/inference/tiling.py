"""Images of any size, in overlapping tiles: what one large forward pass would say, in memory that does not grow with it.

A convolution sees no farther than its kernel, so the middle of a tile is right as soon as the tile's edge is far enough
away: `margin` pixels, a property of each network. Tiles begin at multiples of `multiple` pixels, where every pool begins a
window. What cannot be seen from a tile are the three places where the joint network looks at the whole image:

    the logits, a mean over all positions        summed over the tiles' middles, each position once
    the label l whose score Eq. (3) derives      the larger logit, so known only after all tiles
    max c_k, by which every map c_k is divided   the largest of the tiles' middles, for l = 0 and l = 1

So there are two passes over the image. The first finds these numbers, the second the maps. With two classes the margin's
derivatives for the two labels differ in sign alone, and the literal probability's are a positive multiple of it that the
division by the maximum removes: one backward pass serves both labels, and f is the same for both scores.
"""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from gland import backend, ops, prior
from gland.networks import MultiLoss, Network
from gland.networks.base import reflected
from gland.networks.classifier import Classifier

CORE = 512  # pixels of a tile's middle along each side
Array = Any
Window = tuple[slice, slice]


class Piece(NamedTuple):
    """The middle of one tile; the pieces of an image cover it without overlap."""

    rows: slice
    columns: slice
    p_gland: np.ndarray  # (rows, columns)
    f: np.ndarray | None


class Whole(NamedTuple):
    """What only the whole image tells."""

    q: np.ndarray | None  # (1, 2)
    label: int
    peaks: list[float]  # max c_k, or 1 where c_k vanishes everywhere


class Tiled:
    """A network before an image. image: (H, W, 3) with shape and slicing, such as an array mapped from a file.

    prepare: (h, w, 3) pixels of a tile -> the network's input (1, 3, h, w). core: a multiple of the network's `multiple`.
    """

    def __init__(
        self, network: Network, image: Any, prepare: Callable[[np.ndarray], np.ndarray], core: int = CORE
    ) -> None:
        if core < network.multiple or core % network.multiple:
            raise ValueError(f"a core of {core} pixels is not a multiple of {network.multiple}")
        assert network.margin is not None
        self.network, self.image, self.prepare, self.core, self.margin = network, image, prepare, core, network.margin
        self.size = image.shape[:2]
        self.padded = tuple(n + -n % network.multiple for n in self.size)  # as network.predict pads
        self.classifies = network.kind in ("class", "joint")

    def __len__(self) -> int:
        return len(self._spans(0)) * len(self._spans(1))

    def whole(self, progress: Callable[[], None] = lambda: None) -> Whole:
        """The first pass, of networks that classify. progress is called after every tile, len(self) times."""
        net = self.network
        if not self.classifies:
            return Whole(None, 0, [])
        assert isinstance(net, MultiLoss)
        total, peaks = np.zeros((1, 2)), None
        for core, read in self._tiles():
            _, cache = net.classifier.forward(self._input(read))
            scores, _ = net.classifier.head.forward(cache.pooled[-1])
            total += backend.to_host(_middle(scores, core, read, net.multiple)).sum(axis=(2, 3), dtype=float)
            if net.use_prior:
                found = np.array([[self._peak(c, core, read) for c in self._maps(cache, l)] for l in (0, 1)])
                peaks = found if peaks is None else np.maximum(peaks, found)
            progress()
        logits = total / (self.padded[0] * self.padded[1] / net.multiple**2)
        q, label = ops.softmax(logits), int(logits.argmax())
        return Whole(q, label, [] if peaks is None else (peaks[label] + (peaks[label] == 0)).tolist())

    def pieces(self, whole: Whole) -> Iterator[Piece]:
        """The second pass, rows of tiles from the top, each from the left."""
        for core, read in self._tiles():
            p_gland, f = self._segment(self._input(read), whole)
            rows, columns = (slice(c.start, min(c.stop, n)) for c, n in zip(core, self.size, strict=True))
            at = tuple(slice(c.start - r.start, c.stop - r.start) for c, r in zip((rows, columns), read, strict=True))
            yield Piece(rows, columns, p_gland[at], None if f is None else f[at])

    def _segment(self, x: Array, whole: Whole) -> tuple[np.ndarray, np.ndarray | None]:
        net, f = self.network, None
        if isinstance(net, MultiLoss):

            def prior_of(logits: Array, label: Array, cache: Classifier.Cache) -> Array:
                maps = [c / peak for c, peak in zip(self._maps(cache, whole.label), whole.peaks, strict=True)]
                return sum(ops.upsample_bilinear(n, x.shape[2:])[:, 0] for n in maps) / len(maps)

            q = None if whole.q is None else ops.like(whole.q.astype(x.dtype), x)
            passed = net.forward(x, f=prior_of if net.use_prior else None, q=q)
            seg_logits, f = passed.seg_logits, passed.f
        else:
            seg_logits, _ = net.forward(x)
        p_gland = backend.to_host(ops.softmax(seg_logits)[:, 0])[0]
        return p_gland, None if f is None else backend.to_host(f)[0]

    def _maps(self, cache: Any, label: int) -> list[Array]:
        """c_k of a tile, (1, 1, h_k, w_k), as if the score were a sum over positions and not a mean of the tile's."""
        net, z = self.network, cache.pooled
        assert isinstance(net, MultiLoss)
        logits = ops.like(np.zeros((1, 2), z[-1].dtype), z[-1])
        da = prior.margin_score_grad(logits, ops.like(np.array([label]), z[-1])) * (z[-1].shape[2] * z[-1].shape[3])
        g, _ = net.classifier.pooling_gradients(da, cache)
        reduce, _ = prior.PRIORS[net.prior_kind]
        return [reduce(g_k, z_k) for g_k, z_k in zip(g, z, strict=True)]

    def _peak(self, c: Array, core: Window, read: Window) -> float:
        return float(_middle(c, core, read, (read[0].stop - read[0].start) // c.shape[2]).max())

    def _spans(self, axis: int) -> list[tuple[slice, slice]]:
        """Middle and whole of the tiles along an axis of the padded image."""
        n, margin = self.padded[axis], self.margin
        starts = range(0, n, self.core)
        middles = [slice(i, min(i + self.core, n)) for i in starts]
        return [(m, slice(max(m.start - margin, 0), min(m.stop + margin, n))) for m in middles]

    def _tiles(self) -> Iterator[tuple[Window, Window]]:
        for (core_i, read_i), (core_j, read_j) in product(self._spans(0), self._spans(1)):
            yield (core_i, core_j), (read_i, read_j)

    def _input(self, read: Window) -> Array:
        """The pixels of a tile; what lies beyond the image is its reflection, as network.predict has it."""
        pixels = np.asarray(
            self.image[tuple(slice(r.start, min(r.stop, n)) for r, n in zip(read, self.size, strict=True))]
        )
        x, (h, w) = self.prepare(pixels), (r.stop - r.start for r in read)
        return self.network.place(x if x.shape[2:] == (h, w) else reflected(x, h, w))


def _middle(m: Array, core: Window, read: Window, scale: int) -> Array:
    """The core's part of a map m (1, C, h, w) of a tile, whose positions lie `scale` pixels apart."""
    i, j = (slice((c.start - r.start) // scale, (c.stop - r.start) // scale) for c, r in zip(core, read, strict=True))
    return m[:, :, i, j]
