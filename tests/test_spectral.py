"""Wavelengths, widths and Gaussian responses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emrdiff_geo.errors import SpectralError
from emrdiff_geo.spectra.spectral import (
    WATER_BANDS,
    cell_widths,
    fwhm_from_centers,
    fwhm_nm,
    gaussian_response,
    wavelengths_by_rank,
    wavelengths_nm,
)

optical = st.lists(st.floats(350, 2600), min_size=1, max_size=20)


@settings(deadline=None)
@given(optical, st.sampled_from([None, "nm", "Nanometers", "Unknown"]))
def test_nanometres_stay(values, units):
    np.testing.assert_array_equal(wavelengths_nm(values, units), values)


@settings(deadline=None)
@given(optical, st.sampled_from([None, "um", "µm", "Micrometers", "micron", ""]))
def test_micrometres_are_converted(values, units):
    np.testing.assert_allclose(wavelengths_nm(np.array(values) / 1e3, units), values)


def test_zero_and_negative_wavelengths_are_unknown():
    np.testing.assert_array_equal(wavelengths_nm([0, 0.5, -1]), [np.nan, 500, np.nan])


@pytest.mark.parametrize(
    ("values", "units", "says"),
    [
        ([0, np.nan], None, "pass wavelengths="),
        ([50.0], None, "unit"),
        ([645.0], "um", "unit"),
        ([1, 2, 3], "nm", "unit"),
        ([9000.0], "cm-1", "not known"),
        (["red"], None, "must be numbers"),
    ],
)
def test_implausible_wavelengths_are_refused(values, units, says):
    with pytest.raises(SpectralError, match=says):
        wavelengths_nm(values, units)


@pytest.mark.parametrize(
    ("values", "units", "expected"),
    [
        ([10, 12], "nm", [10, 12]),
        ([0.010, 0.012], "um", [10, 12]),
        ([10, 12], "um", [10, 12]),  # centres in um, widths in nm: such headers exist
        ([0.010, 0.012], None, [10, 12]),
        ([0, 12], None, [np.nan, 12]),
    ],
)
def test_fwhm_is_plausible_for_its_centres(values, units, expected):
    np.testing.assert_allclose(fwhm_nm(values, [500, 600], units), expected)


def test_fwhm_from_nearest_neighbour():
    np.testing.assert_array_equal(
        fwhm_from_centers([400, 410, 430, np.nan, 430]), [10, 10, 20, np.nan, 20]
    )
    with pytest.raises(SpectralError, match="fwhm="):
        fwhm_from_centers([500])


def test_cells_share_an_overlap_and_do_not_span_a_gap():
    cells = cell_widths([400, 410, 410, 420, 900, np.nan], [10] * 6)
    np.testing.assert_array_equal(cells, [10, 5, 5, 20, 20, 0])


@settings(deadline=None)
@given(
    st.lists(st.floats(450, 2350), min_size=1, max_size=6),
    st.floats(10, 200),
    st.floats(3, 15),
)
def test_gaussian_rows_sum_to_one_and_keep_the_centre(centers, width, band_width):
    bands = np.arange(350.0, 2500.0, 5.0)
    response = gaussian_response(centers, [width] * len(centers), bands, [band_width] * bands.size)
    assert response.shape == (len(centers), bands.size)
    np.testing.assert_allclose(response.sum(axis=1), 1)
    inside = np.abs(np.array(centers) - np.clip(centers, 350 + 2 * width, 2500 - 2 * width)) == 0
    np.testing.assert_allclose((response @ bands)[inside], np.array(centers)[inside], atol=1.5)


def test_linear_spectrum_is_integrated_exactly_where_two_spectrometers_overlap():
    bands = np.concatenate([np.arange(400, 1000, 6.5), np.arange(905, 1500, 10.0)])
    response = gaussian_response([950.0], [80.0], bands, np.full(bands.size, 8.0))
    assert (response @ bands)[0] == pytest.approx(950, abs=1)


def test_bands_without_wavelength_get_no_weight():
    response = gaussian_response([500], [50], [480, np.nan, 500, 520], [20, 20, 20, 20])
    assert response[0, 1] == 0
    assert response.sum() == pytest.approx(1)


def test_uncovered_band_is_named():
    with pytest.raises(SpectralError, match="2200 nm: select"):
        gaussian_response([500, 2200], [50, 100], np.arange(400.0, 1000.0, 10.0))


@settings(deadline=None)
@given(st.integers(1, 300))
def test_rank_avoids_the_water_bands(n):
    values = wavelengths_by_rank(n)
    assert values.shape == (n,)
    assert (np.diff(values) > 0).all()
    assert values.min() >= 400
    assert values.max() <= 2500
    for low, high in WATER_BANDS:
        assert not ((values > low) & (values < high)).any()


def test_rank_over_a_plain_range():
    np.testing.assert_allclose(wavelengths_by_rank(4, (400, 700)), [400, 500, 600, 700])
    with pytest.raises(SpectralError, match="increasing"):
        wavelengths_by_rank(3, (700, 400))
