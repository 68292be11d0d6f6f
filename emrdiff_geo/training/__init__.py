"""Training on many scenes, and adaptation to one pair."""

from .adapt import adapt
from .train import train

__all__ = ["adapt", "train"]
