"""The networks: multiloss, of two halves, classifier and segmenter, the paper's; alexnet and unet are its baselines."""

from typing import Any

from gland.errors import InputError
from gland.networks.alexnet import SMALLEST, AlexNet
from gland.networks.base import Losses, Network, Objective, Prediction
from gland.networks.multiloss import KINDS, MultiLoss
from gland.networks.unet import UNet

__all__ = [
    "NETWORKS",
    "WIDTHS",
    "AlexNet",
    "Losses",
    "MultiLoss",
    "Network",
    "Objective",
    "Prediction",
    "UNet",
    "build",
]

NETWORKS = ("alexnet", "unet", *KINDS)
WIDTHS = {"alexnet": 96, "unet": 16} | dict.fromkeys(
    KINDS, 16
)  # channels of the first layer unless a run says otherwise


def build(config: dict[str, Any]) -> Any:
    """The network that a run's configuration names, freshly initialised from its seed. Raises InputError."""
    network = _build(config)
    network.scale = config.get("scale", 0.0)
    return network


def _build(config):
    if config["network"] not in NETWORKS:
        raise InputError(f"there is no network {config['network']!r}; choose one of {', '.join(NETWORKS)}")
    width = config["width"]
    if config["network"] == "alexnet":
        if width % 6:
            raise InputError(f"--width is {width}; AlexNet needs a multiple of 6, as published 96")
        if config["crop"] < SMALLEST:
            raise InputError(f"--crop is {config['crop']}; AlexNet needs at least {SMALLEST} pixels, as published 224")
        return AlexNet(width, config["crop"], config["seed"])
    if config["network"] == "unet":
        return UNet(width, config["seed"])
    return MultiLoss(
        config["network"],
        width=width,
        skip=config["skip"],
        prior_kind=config["prior"],
        use_prior=config.get("use_prior", True),
        use_scores=config.get("use_scores", True),
        seed=config["seed"],
    )
