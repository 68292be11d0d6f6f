"""What is known of an image's bands, and whether two images' bands belong together."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from ..errors import InputError, SpectralError, named


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

    @classmethod
    def of_spectrum(cls, image: xr.DataArray) -> BandInfo:
        """As `of`, for an HSI: where bands have wavelengths, one without is bad.

        Sensors mark dead or filled bands with wavelength 0: such a band is no part of a spectrum.
        An MSI band is of use whatever its wavelength.
        """
        bands = cls.of(image)
        if bands.wavelength_nm is None:
            return bands
        return replace(bands, good=bands.good & np.isfinite(bands.wavelength_nm))

    def only_good(self) -> BandInfo:
        """The bands that are not bad."""
        wavelength, fwhm = (
            None if values is None else values[self.good]
            for values in (self.wavelength_nm, self.fwhm_nm)
        )
        return BandInfo(wavelength, fwhm, self.good[self.good])

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


def bad_msi_bands(msi: BandInfo) -> list[str]:
    """Note the MSI bands that are bad, which are not used; an error if that is all of them."""
    if msi.good.all():
        return []
    if not msi.good.any():
        raise InputError(
            "All MSI bands are marked as bad: correct the list of bad bands (bbl, good_band)."
        )
    bad = np.flatnonzero(~msi.good) + 1
    are = "is" if bad.size == 1 else "are"
    return [f"MSI {named('band', bad)} {are} marked as bad and left out."]


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
