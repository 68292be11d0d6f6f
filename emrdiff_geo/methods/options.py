"""What a user can choose about a method."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MethodOptions:
    """Options of a run; methods read what concerns them. Picklable and small: it goes with tiles.

    Attributes
    ----------
    weights : str
        Name of shipped weights or path of a ``.safetensors`` file.
    variant : str or None
        ``"universal"``, ``"published"``, or None: as the weights say.
    steps : int or None
        Steps of the chain; None: as the weights were trained.
    seed : int
        Seed of the noise.
    device : str
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or ``"auto"``: CUDA where there is one.
    digest : str
        Digest of the weights file; filled in when a run is prepared.
    """

    weights: str = "universal"
    variant: str | None = None
    steps: int | None = None
    seed: int = 0
    device: str = "auto"
    digest: str = ""
