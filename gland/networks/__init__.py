"""The networks. The paper's is multiloss, of two halves, classifier and segmenter; alexnet and unet are its baselines.

classifier.py  five stages, the class logits, Eq. (3)'s backward pass and the second-order pass
segmenter.py   the classifier mirrored: from z_K, Q, the image and f to a map
multiloss.py   both joined by the prior: Eq. (5), its whole gradient, Eq. (6)
alexnet.py     as published; unet.py likewise
base.py        Network: layers by name, parameters in one buffer; Prediction, Losses, Objective, Architecture
"""

from gland.errors import InputError
from gland.networks.alexnet import SMALLEST, AlexNet
from gland.networks.base import Architecture, Losses, Network, Objective, Prediction
from gland.networks.multiloss import KINDS, MultiLoss
from gland.networks.unet import UNet

__all__ = [
    "NETWORKS", "WIDTHS", "AlexNet", "Architecture", "Losses", "MultiLoss", "Network", "Objective", "Prediction", "UNet", "build",
]  # fmt: skip

NETWORKS = ("alexnet", "unet", *KINDS)
WIDTHS = dict.fromkeys(NETWORKS, 16) | {"alexnet": 96}  # channels of the first layer unless a run says otherwise


def build(design: Architecture) -> Network:
    """The network that a run's options name, freshly initialised from its seed. Raises InputError."""
    network = _build(design)
    network.scale = design.scale
    return network


def _build(design: Architecture) -> Network:
    if design.network not in NETWORKS:
        raise InputError(f"there is no network {design.network!r}; choose one of {', '.join(NETWORKS)}")
    if design.network == "alexnet":
        if design.width % 6:
            raise InputError(f"--width is {design.width}; AlexNet needs a multiple of 6, as published 96")
        if design.crop < SMALLEST:
            raise InputError(f"--crop is {design.crop}; AlexNet needs at least {SMALLEST} pixels, as published 224")
        return AlexNet(design.width, design.crop, design.seed)
    if design.network == "unet":
        return UNet(design.width, design.seed)
    return MultiLoss(
        design.network,
        design.width,
        skip=design.skip,
        prior_kind=design.prior,
        use_prior=design.use_prior,
        use_scores=design.use_scores,
        seed=design.seed,
    )
