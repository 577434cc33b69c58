"""The networks: multiloss is the paper's; its two halves are classifier and segmenter."""

from gland.networks.multiloss import MultiLoss, Prediction

__all__ = ["MultiLoss", "Prediction"]
