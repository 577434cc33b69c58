"""Our networks again in PyTorch, with the very weights of ours: what the benchmarks and their tests compare with.

    twin = torch_networks.twin(network)          MultiLoss (joint, class, seg), AlexNet or UNet
    twin.loss(x, mask, label).backward()         as network.loss_and_grad; twin.gradients() as network.gradients()
    twin.predict(x)                              as network.predict, for images of any size

Written as one would for speed: rectifiers in place, no graph where none is needed, and the derivative of Eq. (3) by
torch.autograd.grad, with create_graph where the prior's own gradient is wanted. Dropout is left out, as in ours without
a generator.
"""

import copy
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gland import backend
from gland.layers import ConvReLU, Linear, LocalResponseNorm, MaxPool2d, ReLU
from gland.networks import AlexNet, MultiLoss, UNet


class Twin:
    """A PyTorch network with a copy of the parameters of one of ours, in `weights` under the same names."""

    def __init__(self, network: Any, device: str = "cpu", channels_last: bool = False) -> None:
        self.network, self.device = network, device
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.weights = {name: self._leaf(value) for name, value in network.parameters().items()}

    def _leaf(self, value: Any) -> Tensor:
        return self.tensor(np.ascontiguousarray(backend.to_host(value))).requires_grad_()

    def tensor(self, x: np.ndarray) -> Tensor:
        """A copy of x on this twin's device, in its memory format."""
        x = torch.tensor(x, device=self.device)
        return x.contiguous(memory_format=self.format) if x.ndim == 4 else x

    def gradients(self) -> dict[str, np.ndarray]:
        """dL/dw of every parameter after backward, zeros where nothing arrived."""
        found = {name: torch.zeros_like(w) if w.grad is None else w.grad for name, w in self.weights.items()}
        return {name: grad.detach().cpu().numpy() for name, grad in found.items()}

    def values(self) -> dict[str, np.ndarray]:
        """Every parameter."""
        return {name: w.detach().cpu().numpy() for name, w in self.weights.items()}

    def frozen(self) -> "Twin":
        """The same network with the same weights, none of which asks for a gradient."""
        other = copy.copy(self)
        other.weights = {name: w.detach() for name, w in self.weights.items()}
        return other

    def _conv(self, path: str, x: Tensor) -> Tensor:
        geo, w = self.network.layers[path].geo, self.weights
        return F.conv2d(x, w[f"{path}.w"], w[f"{path}.b"], geo.stride, geo.pad, geo.dilation, geo.groups)

    def _conv_relu(self, path: str, x: Tensor) -> Tensor:
        return F.relu(self._conv(path, x), inplace=True)

    def _deconv(self, path: str, x: Tensor) -> Tensor:
        geo, w = self.network.layers[path].geo, self.weights
        return F.conv_transpose2d(x, w[f"{path}.w"], w[f"{path}.b"], geo.stride, geo.pad)


class MultiLossTwin(Twin):
    """Joint, class-only and seg-only."""

    STAGES = 5

    def classify(self, x: Tensor) -> tuple[Tensor | None, list[Tensor], list[Tensor]]:
        """Logits (N, 2) or None, z_1 .. z_K, and the features that enter each pool."""
        pooled, features = [], []
        for k in range(1, self.STAGES + 1):
            x = self._conv_relu(f"classifier.stage{k}.conv1", x)
            x = self._conv_relu(f"classifier.stage{k}.conv2", x)
            features.append(x)
            x = F.max_pool2d(x, 2)
            if k == 1 and self.network.use_prior and not x.requires_grad:
                x.requires_grad_()  # frozen weights: the graph of Eq. (3) starts at z_1
            pooled.append(x)
        logits = None if self.network.kind == "seg" else self._conv("classifier.score", x).mean((2, 3))
        return logits, pooled, features

    def prior(
        self, logits: Tensor, label: Tensor, pooled: list[Tensor], size: Any, exact: bool = False, keep: bool = True
    ) -> Tensor:
        """f (N, H, W): gland/prior.py with the margin as score. keep: the graph is needed again."""
        own = logits.gather(1, label[:, None]).sum()
        g = torch.autograd.grad(2 * own - logits.sum(), pooled, retain_graph=keep or exact, create_graph=exact)
        maps = []
        for g_k, z_k in zip(g, pooled, strict=True):
            product = g_k if self.network.prior_kind == "gradient" else g_k * (z_k if exact else z_k.detach())
            c = F.relu(product).mean(1, keepdim=True)
            peak = c.flatten(1).max(dim=1).values
            n = c / torch.where(peak == 0, 1, peak)[:, None, None, None]
            maps.append(F.interpolate(n, size, mode="bilinear", align_corners=False))
        return sum(maps)[:, 0] / len(maps)

    def segment(self, x: Tensor, logits: Any, pooled: list[Tensor], features: list[Tensor], f: Any) -> Tensor:
        """Logits (N, 2, H, W)."""
        y = pooled[-1]
        if self.network.use_scores:
            y = torch.cat([y, logits.softmax(1)[:, :, None, None].expand(-1, -1, *y.shape[2:])], 1)
        for k in range(self.STAGES, 0, -1):
            y = self._deconv(f"segmenter.stage{k}.deconv", y)
            y = torch.cat([y, features[k - 1]], 1) if self.network.skip else y
            y = self._conv_relu(f"segmenter.stage{k}.conv", y)
        y = torch.cat([y, x] if f is None else [y, x, f[:, None]], 1)
        return self._conv("segmenter.score", self._conv_relu("segmenter.conv", y))

    def loss(
        self, x: Tensor, mask: Tensor, label: Tensor, lam: float = 0.5, prior_gradient: str = "detached"
    ) -> Tensor:
        """Eq. (5), Eq. (4) read as "balanced-weight"."""
        logits, pooled, features = self.classify(x)
        loss_class = None if logits is None else F.cross_entropy(logits, label)
        if self.network.kind == "class":
            return loss_class
        f = None
        if self.network.use_prior:
            f = self.prior(logits, label, pooled, x.shape[2:], prior_gradient == "exact")
        seg_logits = self.segment(x, logits, pooled, features, f)
        weight = mask
        if f is not None:
            mean = (mask * f).sum((1, 2), keepdim=True) / mask.sum((1, 2), keepdim=True).clamp(min=1)
            weight = mask * torch.where(mean > 0, f / mean, 1)
        log_p = seg_logits.log_softmax(1)
        loss_segmentation = -(weight * log_p[:, 0] + (1 - mask) * log_p[:, 1]).mean()
        return loss_segmentation if loss_class is None else lam * loss_class + (1 - lam) * loss_segmentation

    def predict(self, x: Tensor) -> dict[str, Tensor]:
        """q (N, 2), p_gland (N, H, W), f (N, H, W), those that this network has."""
        (h, w), x = x.shape[2:], _padded(x, self.network.multiple)
        net, found = self.frozen(), {}
        with torch.set_grad_enabled(net.network.use_prior):
            logits, pooled, features = net.classify(x)
            f = None
            if net.network.use_prior:
                f = net.prior(logits, logits.argmax(1), pooled, x.shape[2:], keep=False)
        with torch.no_grad():
            if logits is not None:
                found["q"] = logits.softmax(1)
            if net.network.kind != "class":
                found["p_gland"] = net.segment(x, logits, pooled, features, f).softmax(1)[:, 0]
        found |= {} if f is None else {"f": f}
        return {name: y[:, :h, :w] if y.ndim == 3 else y for name, y in found.items()}


class AlexNetTwin(Twin):
    """AlexNet, layer by layer as ours."""

    def forward(self, x: Tensor) -> Tensor:
        for path, layer in self.network.layers.items():
            if isinstance(layer, ConvReLU):
                x = self._conv_relu(path, x)
            elif isinstance(layer, LocalResponseNorm):  # PyTorch divides alpha by n
                x = F.local_response_norm(x, layer.n, layer.n * layer.alpha, layer.beta, layer.k)
            elif isinstance(layer, MaxPool2d):
                x = F.max_pool2d(x, layer.kernel_size, layer.stride, layer.pad, ceil_mode=layer.ceil_mode)
            elif isinstance(layer, Linear):
                x = F.linear(x.flatten(1), self.weights[f"{path}.w"], self.weights[f"{path}.b"])
            elif isinstance(layer, ReLU):
                x = F.relu(x, inplace=True)
        return x

    def loss(self, x: Tensor, mask: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(self.forward(x), label)

    def predict(self, x: Tensor) -> dict[str, Tensor]:
        """The mean over the windows that ours takes; all windows of an image in one batch."""
        size = self.network.size
        starts = [
            [round(k * (n - size) / max(1, -(-n // size) - 1)) for k in range(-(-n // size))] for n in x.shape[2:]
        ]
        windows = torch.stack([x[:, :, i : i + size, j : j + size] for i in starts[0] for j in starts[1]], 1)
        with torch.inference_mode():
            q = self.frozen().forward(windows.flatten(0, 1).contiguous(memory_format=self.format)).softmax(1)
            return {"q": q.reshape(len(x), -1, 2).mean(1)}


class UNetTwin(Twin):
    """U-Net."""

    LEVELS = 5

    def forward(self, x: Tensor) -> Tensor:
        features = []
        for k in range(1, self.LEVELS + 1):
            x = F.max_pool2d(x, 2) if k > 1 else x
            x = self._conv_relu(f"down{k}.conv2", self._conv_relu(f"down{k}.conv1", x))
            features.append(x)
        for k in range(self.LEVELS - 1, 0, -1):
            x = torch.cat([features[k - 1], self._deconv(f"up{k}.deconv", x)], 1)
            x = self._conv_relu(f"up{k}.conv2", self._conv_relu(f"up{k}.conv1", x))
        return self._conv("score", x)

    def loss(self, x: Tensor, mask: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(self.forward(x), (mask == 0).long())  # channel 0 is gland

    def predict(self, x: Tensor) -> dict[str, Tensor]:
        (h, w), x = x.shape[2:], _padded(x, self.network.multiple)
        with torch.inference_mode():
            return {"p_gland": self.frozen().forward(x).softmax(1)[:, 0, :h, :w]}


def _padded(x: Tensor, multiple: int) -> Tensor:
    """x continued by reflection, right and below, to multiples of what the pools divide."""
    below, right = -x.shape[2] % multiple, -x.shape[3] % multiple
    return F.pad(x, (0, right, 0, below), mode="reflect") if below or right else x


def twin(network: Any, device: str = "cpu", channels_last: bool = False) -> Twin:
    """The PyTorch twin of one of our networks."""
    kinds = {MultiLoss: MultiLossTwin, AlexNet: AlexNetTwin, UNet: UNetTwin}
    return kinds[type(network)](network, device, channels_last)
