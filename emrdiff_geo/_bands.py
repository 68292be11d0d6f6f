"""What is known of an image's bands, and whether two images' bands belong together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from .errors import SpectralError


@dataclass(frozen=True, eq=False)
class BandInfo:
    """What is known of an image's bands.

    Attributes
    ----------
    wavelength_nm, fwhm_nm : (B,) float64 or None
        Centre and full width at half maximum in nm; None where not known.
    good : (B,) bool
        False for bands that the file marks as bad.
    """

    wavelength_nm: np.ndarray | None
    fwhm_nm: np.ndarray | None
    good: np.ndarray

    @classmethod
    def of(cls, image: xr.DataArray) -> BandInfo:
        """Read the coordinates ``wavelength``, ``fwhm`` and ``good_band`` of an image."""

        def known(name: str) -> np.ndarray | None:
            if name not in image.coords:
                return None
            values = np.atleast_1d(image.coords[name].values).astype(np.float64)
            return values if np.isfinite(values).any() else None

        good = np.ones(image.shape[0], bool)
        if "good_band" in image.coords:
            good = np.atleast_1d(image.coords["good_band"].values).astype(bool)
        return cls(known("wavelength"), known("fwhm"), good)

    def __len__(self) -> int:
        return len(self.good)

    def limits_nm(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Lower and upper edge of the good bands of known wavelength, (n,) each; None if none."""
        if self.wavelength_nm is None:
            return None
        used = self.good & np.isfinite(self.wavelength_nm)
        if not used.any():
            return None
        half = np.zeros(len(self)) if self.fwhm_nm is None else np.nan_to_num(self.fwhm_nm) / 2
        return (self.wavelength_nm - half)[used], (self.wavelength_nm + half)[used]


def check_spectra(hsi: BandInfo, msi: BandInfo) -> list[str]:
    """Note the MSI bands outside the HSI's range; an error if that is all of them."""
    ours, theirs = hsi.limits_nm(), msi.limits_nm()
    if ours is None or theirs is None:
        return []
    low, high = float(ours[0].min()), float(ours[1].max())
    inside = (theirs[1] >= low) & (theirs[0] <= high)
    span = f"{low:.0f}-{high:.0f} nm"
    if not inside.any():
        seen = f"{theirs[0].min():.0f}-{theirs[1].max():.0f} nm"
        raise SpectralError(
            f"No MSI band ({seen}) lies within the HSI's range of {span}: check the wavelengths "
            "and their units, or take an MSI with bands in that range."
        )
    if inside.all():
        return []
    outside = (theirs[0] + theirs[1])[~inside] / 2
    names = ", ".join(f"{centre:.0f}" for centre in outside)
    return [f"MSI bands at {names} nm lie outside the HSI's range of {span} and are kept."]
