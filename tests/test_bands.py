from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from emrdiff_geo.errors import InputError, SpectralError
from emrdiff_geo.fusion import fuse
from emrdiff_geo.grids.pair import pair_scenes
from emrdiff_geo.spectra.bands import BandInfo


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


class TestBadBands:
    def test_bad_msi_bands_are_left_out(self):
        scene = msi(490, 1380, 560).assign_coords(good_band=("band", [True, False, True]))
        scene = scene * xr.DataArray([1, np.nan, 3], dims="band")
        pair = pair_scenes(HSI, scene)
        assert pair.n_msi == 2
        np.testing.assert_array_equal(pair.msi_bands.wavelength_nm, [490, 560])
        np.testing.assert_array_equal(pair.msi.read(slice(1), slice(1))[:, 0, 0], [1, 3])
        assert "MSI band 2 is marked as bad and left out." in pair.notes
        assert not any("outside" in note for note in pair.notes)

    def test_nothing_but_bad_msi_bands(self):
        scene = msi(490, 560).assign_coords(good_band=("band", [False, False]))
        with pytest.raises(InputError, match="All MSI bands are marked as bad: correct"):
            pair_scenes(HSI, scene)

    def test_without_a_wavelength_a_band_is_bad_in_the_hsi_only(self):
        pair = pair_scenes(HSI.assign_coords(wavelength=("band", [0, 550, 650])), msi(0, 560))
        assert pair.hsi_bands.good.tolist() == [False, True, True]
        assert pair.n_msi == 2
        assert len(pair.notes) == 1

    def test_an_msi_band_without_data_is_named(self):
        rng = np.random.default_rng(0)
        hsi = HSI + rng.random(HSI.shape)
        fine = msi(490, 560, 650) + rng.random((3, 18, 18))
        empty = fine * xr.DataArray([1, np.nan, 1], dims="band")
        with pytest.raises(InputError, match=r"of the 3 MSI bands .* band 2 has no data"):
            fuse(hsi, empty, method="regression")
        marked = empty.assign_coords(good_band=("band", [True, False, True]))
        assert np.isfinite(fuse(hsi, marked, method="regression")["image"]).all()


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
