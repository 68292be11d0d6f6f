import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emrdiff_geo.degradation.degrade import Degradation
from emrdiff_geo.errors import InputError
from emrdiff_geo.evaluation.consistency import consistency, fit_response

RATIO = 4
RESPONSE = np.array([[0.6, 0.4, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0.5, 0.5]])


@pytest.fixture(scope="module")
def triple():
    """A scene of five bands and its pair."""
    rng = np.random.default_rng(0)
    fused = 1 + np.cumsum(np.cumsum(rng.normal(size=(5, 48, 36)), 1), 2) / 100
    hsi = Degradation(RATIO, "area").down(fused)
    msi = np.einsum("sl,lyx->syx", RESPONSE, fused)
    return fused, hsi, msi


def test_the_truth_is_consistent(triple):
    fused, hsi, msi = triple
    result = consistency(fused, RATIO, hsi=hsi, msi=3 * msi + 1, response=RESPONSE)
    assert result.spectral["correlation_min"] == pytest.approx(1)
    assert result.spectral["relative_rmse"] == pytest.approx(0, abs=1e-6)
    assert result.spectral["SAM"] == pytest.approx(0, abs=0.01)
    assert result.spectral["pixels"] == 12 * 9
    # Another gain and offset of the MSI are no inconsistency.
    assert result.spatial["correlation_min"] == pytest.approx(1)
    assert result.spatial["relative_rmse"] == pytest.approx(0, abs=1e-5)
    assert result.per_band["hsi_correlation"].shape == (5,)
    assert result.per_band["msi_relative_rmse"].shape == (3,)


def test_known_errors(triple):
    fused, hsi, msi = triple
    result = consistency(1.1 * fused, RATIO, hsi=hsi, msi=msi, response=RESPONSE)
    assert result.spectral["relative_rmse"] == pytest.approx(0.1)
    np.testing.assert_allclose(result.per_band["hsi_relative_rmse"], 0.1, rtol=1e-5)
    assert result.spectral["SAM"] == pytest.approx(0, abs=0.01)
    assert result.spatial["relative_rmse"] == pytest.approx(0, abs=1e-6)


def test_a_blurred_result_fails_in_space_and_not_in_spectrum(triple):
    _, hsi, msi = triple
    blocky = hsi.repeat(RATIO, 1).repeat(RATIO, 2)
    result = consistency(blocky, RATIO, hsi=hsi, msi=msi, response=RESPONSE)
    assert result.spectral["correlation_min"] == pytest.approx(1)
    assert result.spatial["correlation_min"] < 0.999


def test_the_response_is_found_where_it_is_not_known(triple):
    fused, hsi, msi = triple
    fitted = fit_response(hsi, msi, Degradation(RATIO, "area"))
    np.testing.assert_allclose(fitted, RESPONSE, atol=0.1)
    result = consistency(fused, RATIO, hsi=hsi, msi=msi)
    assert result.spatial["correlation_min"] > 0.999
    np.testing.assert_array_equal(result.response, fitted)


@settings(deadline=None, max_examples=15)
@given(block=st.integers(1, 60), psf=st.sampled_from(["area", "gaussian"]), nodata=st.booleans())
def test_any_block_size_gives_the_same(triple, block, psf, nodata):
    fused, hsi, msi = (a.copy() for a in triple)
    if nodata:
        fused[:, 5:20, :9] = np.nan
        msi[1, 30:, 30:] = np.nan
    operator = Degradation(RATIO, psf)
    whole = consistency(fused, RATIO, hsi=hsi, msi=msi, psf=operator, block=1000)
    parts = consistency(fused, RATIO, hsi=hsi, msi=msi, psf=operator, block=block)
    assert parts.spectral == pytest.approx(whole.spectral, rel=1e-6, abs=1e-6)
    assert parts.spatial == pytest.approx(whole.spatial, rel=1e-6, abs=1e-6)


def test_half_covered_pixels_are_left_out(triple):
    fused, hsi, _ = triple
    fused = fused.copy()
    fused[:, :6] = np.nan  # one and a half coarse rows
    result = consistency(fused, RATIO, hsi=hsi)
    assert result.spectral["pixels"] == 10 * 9
    assert result.spectral["relative_rmse"] == pytest.approx(0, abs=1e-6)
    assert result.spatial == {}


def test_a_result_smaller_than_the_frame(triple):
    fused, hsi, msi = triple
    result = consistency(fused[:, 3:40, 2:], RATIO, hsi=hsi, msi=msi, offset=(3, 2))
    assert result.spectral["pixels"] == 9 * 8
    assert result.spectral["relative_rmse"] == pytest.approx(0, abs=1e-6)
    assert result.spatial["pixels"] == 37 * 34


def test_spatial_alone_takes_a_response(triple):
    fused, _, msi = triple
    result = consistency(fused, RATIO, msi=msi, response=RESPONSE)
    assert result.spectral == {}
    assert result.spatial["correlation"] == pytest.approx(1)


def test_constant_bands_have_no_correlation():
    flat = np.ones((2, 8, 8))
    result = consistency(flat, 2, hsi=np.ones((2, 4, 4)))
    assert np.isnan(result.spectral["correlation"])
    assert result.spectral["relative_rmse"] == 0


def test_bad_input_names_the_cure(triple):
    fused, hsi, msi = triple
    with pytest.raises(InputError, match="give the HSI, the MSI or both"):
        consistency(fused, RATIO)
    with pytest.raises(InputError, match="4 bands and the HSI 5"):
        consistency(fused[:4], RATIO, hsi=hsi)
    with pytest.raises(InputError, match="or the HSI to fit it on"):
        consistency(fused, RATIO, msi=msi)
    with pytest.raises(InputError, match=r"\(3, 5\)"):
        consistency(fused, RATIO, msi=msi, response=RESPONSE.T)
    with pytest.raises(InputError, match="No pixel"):
        consistency(np.full_like(fused, np.nan), RATIO, hsi=hsi)
    with pytest.raises(InputError, match="3 or more"):
        consistency(fused, RATIO, hsi=np.full_like(hsi, np.nan), msi=msi)
