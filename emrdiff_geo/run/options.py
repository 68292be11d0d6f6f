"""What a user can choose about a fusion."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from numbers import Real
from typing import Any

from ..alignment.optics import AUTO
from ..degradation.degrade import PSFS
from ..errors import InputError
from ..methods import MethodOptions
from ..system.sizes import parse_bytes

#: Options that change nothing of a result, and those that its provenance names by themselves.
NO_EFFECT = ("force", "memory")
NAMED = ("weights", "seed", "ratio")


@dataclass(frozen=True)
class FusionOptions:
    """Everything a user can choose about a fusion; the defaults need no thought.

    Attributes
    ----------
    method : str
        Name in the registry, see ``emrdiff methods``.
    weights : str
        Name of shipped weights or path of a ``.safetensors`` file.
    variant : str or None
        ``"universal"``, ``"published"``, or None: as the weights say.
    steps : int or None
        Steps of the chain; None: as the weights were trained.
    seed : int
        Same seed, same result, bit by bit.
    samples : int
        How many times the chain is run, each with noise of its own; the result is the mean.
    uncertainty : bool
        Whether to tell the standard deviation of the error, for every pixel and band; needs some
        samples.
    tile : int or None
        Edge of a tile in pixels of the result; also the chunks of the result. None: 256, or with
        `memory` what fits.
    overlap : int or None
        Margin read around a tile in pixels; None: what the method needs.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    psf : str
        How the HSI sensor sees the MSI's grid: ``"auto"``, measured on the pair; ``"gaussian"``
        (MTF 0.3 at Nyquist), ``"area"``, or ``"paper"``.
    ratio : int or None
        HSI pixel over MSI pixel; None: the nearest whole number.
    wavelengths : (float, float) or None
        Range in nm over which the bands of an HSI without wavelengths are spread evenly, water
        bands left out.
    normalise : bool
        Whether to make the images agree: to sharpen MSI bands of coarser pixels by the others; to
        replace dead values of single HSI bands, and bring the HSI's infrared to where its visible
        lies; to make an MSI linear that has a gamma; to set aside places where the images
        contradict each other, such as clouds in one of them; to take the HSI's pixels where they
        lie, if that is not where its grid has them; to bring the MSI to the light of the HSI where
        the two differ slowly over the ground, by haze, sun or calibration; and to filter the MSI's
        noise where there is much.
    fill_gaps : bool
        Whether the result has values too where single bands of the HSI have gaps: estimates from
        the other bands. Their uncertainty is not known.
    self_check : bool
        Whether to measure on the pair itself, one ratio lower, how much of the network's residual
        to keep: it costs one pass over a fraction 1 / ratio^2 of the pixels.
    coregister : bool
        Whether to correct a shift between the images by moving the HSI's grid.
    force : bool
        Whether to fuse images that lie more than an HSI pixel off each other.
    memory : str, int or None
        What one process may allocate beyond interpreter, libraries and model, as ``"2GB"`` or in
        bytes: the tile and the number of threads follow from it, and what cannot fit is refused.
    """

    method: str = "emrdiff"
    weights: str = "universal"
    variant: str | None = None
    steps: int | None = None
    seed: int = 0
    samples: int = 1
    uncertainty: bool = False
    tile: int | None = None
    overlap: int | None = None
    device: str = "auto"
    psf: str = AUTO
    ratio: int | None = None
    wavelengths: tuple[float, float] | None = None
    normalise: bool = True
    fill_gaps: bool = False
    self_check: bool = True
    coregister: bool = False
    force: bool = False
    memory: str | int | None = None

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name in _CHECKS and value is not f.default:
                object.__setattr__(self, f.name, _CHECKS[f.name](f.name, value))

    @classmethod
    def of(cls, options: Mapping[str, Any], *beside: str) -> FusionOptions:
        """Options by their names, of a function that has others `beside` them.

        Raises
        ------
        InputError
            If there is no such option, or a value is none of it.
        """
        known = [f.name for f in fields(cls)]
        for name in options:
            if name not in known:
                close = get_close_matches(name, (*known, *beside), 1)
                hint = f"did you mean {close[0]}?" if close else f"choose from {', '.join(known)}"
                raise InputError(f"there is no option {name}: {hint}")
        return cls(**options)

    def for_method(self) -> MethodOptions:
        """The part that goes with the tiles."""
        own = {
            f.name: getattr(self, f.name) for f in fields(MethodOptions) if hasattr(self, f.name)
        }
        return MethodOptions(**own)


def whole(name: str, value: Any) -> int:
    """A whole number of any type as an int.

    Raises
    ------
    InputError
        If it is none.
    """
    if isinstance(value, int):
        return value
    if not isinstance(value, Real) or not float(value).is_integer():
        raise InputError(f"{name}={value!r} is not a whole number: pass an int")
    return int(value)


def span(name: str, value: Any) -> tuple[float, float]:
    """A range of wavelengths in nm.

    Raises
    ------
    InputError
        If it is none.
    """
    try:
        low, high = (float(v) for v in value)
    except (TypeError, ValueError):
        low = high = 0.0
    if not 0 < low < high < float("inf"):
        raise InputError(f"{name}={value!r} is no range in nm: pass one such as (400, 2500)")
    return low, high


def _psf(name: str, value: Any) -> str:
    known = AUTO, *PSFS
    if value not in known:
        raise InputError(f"there is no {name} {value!r}: use one of {', '.join(known)}")
    return str(value)


def _device(name: str, value: Any) -> str:
    # Whether it exists here only torch can tell, which takes seconds to load.
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", str(value)):
        raise InputError(f"there is no {name} {value!r}: use auto, cpu or cuda")
    return str(value)


#: What makes of an option's name and value the value that is meant, or refuses it.
_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    **dict.fromkeys(("steps", "seed", "samples", "tile", "overlap", "ratio"), whole),
    "device": _device,
    "psf": _psf,
    "wavelengths": span,
    "memory": lambda name, value: parse_bytes(value),
}
