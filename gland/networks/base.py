"""What every network shares: its layers by name, and all parameters in one flat buffer beside all gradients."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gland import backend
from gland.errors import InputError
from gland.layers import Layer

Array = Any


class Prediction(NamedTuple):
    """What the network says of a batch of images, on the host; None where it has no such part."""

    q: np.ndarray | None  # (N, 2) class scores: benign, malignant
    p_gland: np.ndarray | None  # (N, H, W)
    f: np.ndarray | None  # (N, H, W) the prior
    f_k: tuple[np.ndarray, ...]  # (N, H_k, W_k) the prior of each pooling layer

    def gland_mask(self) -> np.ndarray:
        """Eq. (6): gland where P_g > P_b, which is P_g > 1/2; (N, H, W) bool. A tie is background."""
        return self.gland_probability() > 0.5

    def gland_probability(self) -> np.ndarray:
        """P_g (N, H, W) of a network that has a segmenter."""
        assert self.p_gland is not None
        return self.p_gland


class Losses(NamedTuple):
    """Eqs. (5), (1) and (4) of one batch, as 0-d arrays where the network lives; None where it has no such part."""

    total: Array
    loss_class: Array | None
    loss_segmentation: Array | None
    logits: Array | None  # (N, 2)
    seg_logits: Array | None  # (N, 2, H, W)


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What a network is built from, and the scale of the images that it sees: those options of a run that outlive training."""

    network: str  # a name of gland.networks.NETWORKS
    width: int  # channels of the first layer
    skip: bool = True
    prior: str = "gradient"
    use_prior: bool = True
    use_scores: bool = True
    scale: float = 0.0  # gland/data/crops.py
    seed: int = 0
    crop: int = 224  # side of a training window, pixels; AlexNet sees nothing else


class Objective(NamedTuple):
    """What a step of training lessens: Eq. (5) with this lambda, Eq. (4) in this reading, f as a constant or differentiated."""

    lam: float = 0.5
    reading: str = "balanced-weight"  # a name of gland.loss.SEGMENTATION_LOSSES
    prior_gradient: str = "detached"  # or "exact"


class Matrix(NamedTuple):
    """Where in the flat buffer the weights of a hidden convolution lie, a matrix: each row an input and a place of the window,
    each column an output (of a transposed convolution, the other way round)."""

    rows: int
    columns: int
    start: int

    def of(self, flat: Array) -> Array:
        """The matrix, a view."""
        return flat[self.start : self.start + self.rows * self.columns].reshape(self.rows, self.columns)


def reflected(x: np.ndarray, h: int, w: int) -> np.ndarray:
    """x (N, C, H, W) and its reflection below and to the right, up to h x w; its edge, where a single pixel has none."""
    beyond = (0, h - x.shape[2]), (0, w - x.shape[3])
    return np.pad(x, [(0, 0), (0, 0), *beyond], mode="reflect" if min(x.shape[2:]) > 1 else "edge")


class Network:
    """A network is its layers by name: a subclass fills `layers` and calls `flatten` once.

    The parameters are views into `flat` and their gradients views into `flat_grad`, each in its layer's own memory order,
    so that a solver updates all of them at once. The `matrices`, one after the other, are what it begins with.
    """

    kind: str  # "joint", "class" or "seg": which of its parts a network has
    multiple: int  # whole images are padded to multiples of so many pixels
    margin: int | None = (
        None  # pixels that a map can see beyond its own place; None where a network cannot be asked in tiles
    )
    layers: dict[str, Layer]
    flat: Array
    flat_grad: Array
    matrices: list[Matrix]
    rng: np.random.Generator | None = None
    random = False  # whether loss_and_grad draws from rng
    scale = 0.0  # of the images that it was trained on, and so of those it is asked about; see gland/data/crops.py

    def forward(self, x: Array) -> Any:
        """What the network computes of x (N, 3, H, W), and what its backward pass needs."""
        raise NotImplementedError

    def loss_and_grad(
        self, x: Array, mask: Array | None, malignant: Array | None, objective: Objective = Objective()
    ) -> Losses:
        """The losses of a batch, their gradient added to every parameter's. x (N, 3, H, W), mask (N, H, W), malignant (N,)"""
        raise NotImplementedError

    def class_loss_and_grad(self, x: Array, malignant: Array) -> Losses:
        """Eq. (1) alone, its gradient added."""
        raise NotImplementedError

    def predict(self, x: np.ndarray) -> Prediction:
        """What the network says of images (N, 3, H, W) of any size."""
        raise NotImplementedError

    def _slots(self) -> Iterator[tuple[str, Layer, str]]:
        for path, layer in self.layers.items():
            for name in layer.names:
                yield f"{path}.{name}", layer, name

    @staticmethod
    def _is_matrix(slot: tuple[str, Layer, str]) -> bool:
        _, layer, name = slot
        return getattr(layer, name).ndim == 4 and not layer.output

    def parameters(self) -> dict[str, Array]:
        """Every parameter by its path, such as classifier.stage1.conv1.w."""
        return {path: getattr(layer, name) for path, layer, name in self._slots()}

    def gradients(self) -> dict[str, Array]:
        """The gradient of every parameter, under the parameter's path."""
        return {path: getattr(layer, "d" + name) for path, layer, name in self._slots()}

    def zero_grad(self) -> None:
        """Set every gradient to zero."""
        self.flat_grad[...] = 0

    def set_rng(self, rng: np.random.Generator | None) -> None:
        """What loss_and_grad draws its dropout from, where a network has some; None, as at the start, leaves it out."""
        self.rng = rng

    def flatten(self, dtype: Any = None, device: bool = False) -> None:
        """Move all parameters into one buffer of dtype (default: as they are), on the host or on the device."""
        slots = sorted(self._slots(), key=self._is_matrix, reverse=True)
        values = [backend.to_host(getattr(layer, name)) for _, layer, name in slots]
        dtype = np.dtype(dtype or values[0].dtype)
        flat = np.concatenate([v.ravel(order="K") for v in values])
        flat = (flat if dtype.kind == "c" else flat.real).astype(dtype, copy=False)
        self.flat, self.flat_grad = flat, np.zeros_like(flat)
        if device:
            self.flat, self.flat_grad = backend.to_device(flat), backend.to_device(self.flat_grad)
        start, self.matrices = 0, []
        for slot, value in zip(slots, values, strict=True):
            _, layer, name = slot
            if self._is_matrix(slot):
                self.matrices.append(Matrix(value.size // len(value), len(value), start))
            order = np.argsort([-s for s in value.strides], kind="stable")  # the axes as they lie in memory
            for attribute, buffer in ((name, self.flat), ("d" + name, self.flat_grad)):
                piece = buffer[start : start + value.size].reshape([value.shape[axis] for axis in order])
                setattr(layer, attribute, piece.transpose(np.argsort(order).tolist()))
            start += value.size

    def place(self, x: np.ndarray) -> Array:
        """x in the network's dtype, where the network lives."""
        x = x.astype(np.dtype(self.flat.dtype), copy=False)
        return backend.to_device(x) if backend.is_device_array(self.flat) else x

    def load(self, values: dict[str, np.ndarray], source: str = "the checkpoint") -> None:
        """Copy values into the parameters of the same names. Raises InputError if names or shapes differ."""
        own = self.parameters()
        if missing := sorted(own.keys() ^ values.keys()):
            raise InputError(
                f"{source} does not fit this network: {missing[0]} is in only one of them; use its own options"
            )
        for path, parameter in own.items():
            value = values[path]
            if value.shape != parameter.shape:
                raise InputError(
                    f"{source} does not fit this network: {path} is {value.shape}, not {parameter.shape}; use its own options"
                )
            parameter[...] = backend.to_device(value) if backend.is_device_array(parameter) else value
