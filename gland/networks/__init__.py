"""The networks: multiloss is the paper's; its two halves are classifier and segmenter."""

from typing import Any

from gland.errors import InputError
from gland.networks.multiloss import KINDS, MultiLoss, Prediction

__all__ = ["NETWORKS", "MultiLoss", "Prediction", "build"]

NETWORKS = KINDS


def build(config: dict[str, Any]) -> Any:
    """The network that a run's configuration names, freshly initialised from its seed. Raises InputError."""
    if config["network"] not in NETWORKS:
        raise InputError(f"there is no network {config['network']!r}; choose one of {', '.join(NETWORKS)}")
    return MultiLoss(
        config["network"],
        width=config["width"],
        skip=config["skip"],
        prior=config["prior"],
        use_prior=config.get("use_prior", True),
        use_scores=config.get("use_scores", True),
        seed=config["seed"],
    )
