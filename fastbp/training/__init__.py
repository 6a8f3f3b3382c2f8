"""Training: the steps of one process or of several ranks, and the loop around them."""

from .trainer import Trainer

__all__ = ["Trainer"]
