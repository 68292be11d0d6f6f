from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from emrdiff_geo.errors import SpectralError
from emrdiff_geo.grid import BandInfo, pair_scenes


def image(shape, wavelength=None, fwhm=None, **coords) -> xr.DataArray:
    named = {"wavelength": wavelength, "fwhm": fwhm, **coords}
    coords = {name: ("band", values) for name, values in named.items() if values is not None}
    return xr.DataArray(np.ones(shape, np.float32), dims=("band", "y", "x"), coords=coords)


HSI = image((3, 6, 6), [450.0, 550.0, 650.0], [10.0, 10.0, 10.0])


def msi(*wavelength: float, fwhm=None) -> xr.DataArray:
    return image((len(wavelength), 18, 18), list(wavelength), fwhm)


class TestBandInfo:
    def test_of_an_image(self):
        bands = BandInfo.of(HSI.assign_coords(good_band=("band", [True, False, True])))
        np.testing.assert_array_equal(bands.wavelength_nm, [450, 550, 650])
        np.testing.assert_array_equal(bands.fwhm_nm, [10, 10, 10])
        np.testing.assert_array_equal(bands.good, [True, False, True])
        assert len(bands) == 3

    def test_of_a_bare_image(self):
        bands = BandInfo.of(image((2, 3, 3)))
        assert bands.wavelength_nm is None
        assert bands.fwhm_nm is None
        assert bands.limits_nm() is None
        assert bands.good.tolist() == [True, True]

    def test_limits_are_those_of_good_bands(self):
        bands = BandInfo(np.array([400.0, 500, np.nan]), None, np.array([False, True, True]))
        np.testing.assert_array_equal(bands.limits_nm(), [[500], [500]])


class TestSpectra:
    def test_no_band_in_range(self):
        with pytest.raises(SpectralError, match=r"\(860-1610 nm\).*445-655 nm: check"):
            pair_scenes(HSI, msi(860, 1610))

    def test_some_outside_are_kept_and_noted(self):
        pair = pair_scenes(HSI, msi(490, 860, 1610))
        assert pair.n_msi == 3
        assert "860, 1610 nm lie outside" in pair.notes[-1]

    def test_a_wide_band_reaches_in(self):
        assert "outside" not in pair_scenes(HSI, msi(750, fwhm=[200.0])).notes[-1]

    def test_unknown_wavelengths_are_no_error(self):
        pair = pair_scenes(HSI, image((2, 18, 18)))
        assert pair.msi_bands.wavelength_nm is None
        assert len(pair.notes) == 1
