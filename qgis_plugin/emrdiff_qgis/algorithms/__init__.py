"""The algorithms of the provider."""

from .adapt import Adapt
from .check import Check
from .evaluate import Evaluate
from .fuse import Fuse
from .install import Install
from .simulate import Simulate

ALGORITHMS = (Fuse, Adapt, Evaluate, Simulate, Check, Install)
