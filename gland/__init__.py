"""gland: one convolutional network that classifies colon tissue and segments its glands, with every gradient by hand."""

__version__ = "0.1.0"
