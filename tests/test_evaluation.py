import io
import json
from functools import partial

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from rich.console import Console

from emrdiff_geo.degradation.degrade import Degradation
from emrdiff_geo.errors import GridError, InputError
from emrdiff_geo.evaluation import metrics
from emrdiff_geo.evaluation.evaluate import common_window
from emrdiff_geo.evaluation.evaluate import evaluate as measured

#: The pairs below are made with the mean over a pixel, and too small to measure that on.
evaluate = partial(measured, psf="area")
RATIO = 4
NORTH_UP = Affine(10, 0, 300_000, 0, -10, 5_800_000)


def on_grid(values, affine=NORTH_UP, **coords):
    box = GeoBox(values.shape[1:], affine, "EPSG:32633")
    coords = {name: ("band", value) for name, value in coords.items()}
    located = {**xr_coords(box), "band": np.arange(1, len(values) + 1), **coords}
    return xr.DataArray(values, dims=("band", "y", "x"), coords=located, name="image")


@pytest.fixture(scope="module")
def arrays():
    """Truth (5, 48, 36), its HSI (5, 12, 9) and MSI (2, 48, 36)."""
    rng = np.random.default_rng(0)
    truth = 1 + np.cumsum(np.cumsum(rng.normal(size=(5, 48, 36)), 1), 2) / 100
    truth = truth.astype(np.float32)
    hsi = truth.reshape(5, 12, 4, 9, 4).mean((2, 4))
    return truth, hsi, np.stack([truth[:2].mean(0), truth[3]])


@pytest.fixture
def pair(arrays):
    truth, hsi, msi = arrays
    return on_grid(truth), on_grid(hsi, NORTH_UP * Affine.scale(RATIO)), on_grid(msi)


def test_against_a_reference(arrays):
    truth, *_ = arrays
    rng = np.random.default_rng(1)
    fused = truth + 0.05 * rng.normal(size=truth.shape).astype(np.float32)
    found = evaluate(on_grid(fused), on_grid(truth), ratio=RATIO, border=3, block=20)
    assert found.metrics == pytest.approx(metrics.score(fused, truth, RATIO, 3))
    assert found.per_band["rmse"].shape == (5,)
    assert found.notes == ()
    assert evaluate(fused, truth, ratio=RATIO, border=3).metrics == pytest.approx(found.metrics)


def test_whole_pixel_windows_are_cropped_to_what_they_share(arrays):
    truth, *_ = arrays
    whole = on_grid(truth)
    found = evaluate(whole[:, 5:30, :20], whole[:, 2:, 4:], ratio=RATIO)
    assert found.metrics["RMSE"] == 0
    assert found.metrics["valid"] == 1
    assert "25 x 16" in found.notes[0]
    fused, reference = common_window(whole[:, 5:30, :20], whole)
    np.testing.assert_array_equal(fused, reference)


@pytest.mark.parametrize("rotation", [0, 71])
def test_an_offset_in_metres_is_an_offset_in_pixels(arrays, rotation):
    truth, *_ = arrays
    affine = NORTH_UP * Affine.rotation(rotation)
    fused = on_grid(truth[:, 7:40, 3:], affine * Affine.translation(3, 7))
    assert evaluate(fused, on_grid(truth, affine), ratio=RATIO).metrics["RMSE"] == 0


def test_grids_that_cannot_be_compared_name_the_cure(arrays):
    truth, *_ = arrays
    whole = on_grid(truth)
    with pytest.raises(GridError, match="reproject_match"):
        evaluate(whole, on_grid(truth, NORTH_UP * Affine.translation(0.5, 0)), ratio=RATIO)
    with pytest.raises(GridError, match="does not overlap"):
        evaluate(whole, on_grid(truth, NORTH_UP * Affine.translation(90, 0)), ratio=RATIO)
    with pytest.raises(GridError, match="give both a CRS"):
        evaluate(whole, truth[:, 1:], ratio=RATIO)
    with pytest.raises(InputError, match="same bands"):
        evaluate(truth, truth[1:], ratio=RATIO)
    with pytest.raises(InputError, match="ratio"):
        evaluate(truth, truth)
    with pytest.raises(InputError, match="nothing to compare"):
        evaluate(truth)
    with pytest.raises(InputError, match="give the HSI too"):
        evaluate(truth, msi=truth[:2])


def test_a_reference_without_crs_counts_by_its_shape(arrays):
    truth, *_ = arrays
    assert evaluate(on_grid(truth), truth, ratio=RATIO).metrics["RMSE"] == 0


def test_the_truth_agrees_with_its_pair(pair):
    truth, hsi, msi = pair
    found = evaluate(truth, hsi=hsi, msi=msi)
    assert found.ratio == RATIO
    assert found.metrics == {}
    assert found.consistency["spectral"]["correlation_min"] > 0.99999
    assert found.consistency["spectral"]["relative_rmse"] < 1e-5
    assert found.consistency["spectral"]["pixels"] == 12 * 9
    assert found.consistency["spatial"]["correlation_min"] > 0.999
    assert found.response.shape == (2, 5)


def test_a_window_of_the_result_is_found_on_the_pair(pair):
    truth, hsi, msi = pair
    found = evaluate(truth[:, 6:, 3:30], hsi=hsi, msi=msi)
    assert found.consistency["spectral"]["relative_rmse"] < 1e-5
    assert found.consistency["spatial"]["correlation_min"] > 0.999


def test_reference_and_inputs_together(pair):
    truth, hsi, msi = pair
    found = evaluate(1.1 * truth, truth, hsi=hsi, msi=msi)
    assert found.metrics["SAM"] == pytest.approx(0, abs=0.1)
    assert found.consistency["spectral"]["relative_rmse"] == pytest.approx(0.1, rel=1e-4)
    assert found.consistency["spatial"]["correlation_min"] > 0.999


def test_the_hsi_alone_will_do(pair):
    truth, hsi, _ = pair
    found = evaluate(truth, hsi=hsi)
    assert found.consistency["spectral"]["relative_rmse"] < 1e-5
    assert found.consistency["spatial"] == {}


def test_arrays_without_crs(arrays):
    truth, hsi, msi = arrays
    found = evaluate(truth, truth, hsi=hsi, msi=msi)
    assert found.consistency["spectral"]["relative_rmse"] < 1e-5
    with pytest.raises(GridError, match="made from"):
        evaluate(truth[:, 4:], hsi=hsi, msi=msi)


def test_empty_and_bad_bands_are_left_out(pair):
    truth, hsi, msi = (image.copy() for image in pair)
    truth[2] = np.nan
    hsi = hsi.assign_coords(good_band=("band", [True, True, True, False, True]))
    hsi[3] = -99
    found = evaluate(truth, pair[0], hsi=hsi, msi=msi)
    assert found.metrics["valid"] == 1
    assert found.consistency["spectral"]["relative_rmse"] < 1e-5
    np.testing.assert_array_equal(np.isnan(found.per_band["rmse"]), [0, 0, 1, 0, 0])
    np.testing.assert_array_equal(np.isnan(found.per_band["hsi_correlation"]), [0, 0, 1, 1, 0])
    assert found.response.shape == (2, 5)
    assert sum("all nodata" in note for note in found.notes) == 1


def test_json_is_strict_and_flat(pair):
    truth, hsi, msi = pair
    truth = truth.assign_coords(wavelength=("band", [450.0, 550, 650, 800, 900]))
    found = evaluate(truth, truth, hsi=hsi, msi=msi)
    back = json.loads(found.to_json(), parse_constant=pytest.fail)
    assert back["PSNR"] is None  # infinite
    assert back["SSIM"] == pytest.approx(1)
    assert back["ratio"] == RATIO
    assert back["consistency"]["spectral"]["pixels"] == 108
    assert back["per_band"]["wavelength_nm"] == [450, 550, 650, 800, 900]
    assert len(back["per_band"]["rmse"]) == 5


def test_table_shows_what_was_measured(pair):
    truth, hsi, msi = pair
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(evaluate(truth, truth, hsi=hsi, msi=msi).table())
    text = console.export_text()
    for word in ("SSIM", "1.000", "Against the reference", "against the MSI", "degrees"):
        assert word in text
    console.print(evaluate(truth, truth, ratio=RATIO).table())
    assert "MSI" not in console.export_text()


def test_real_scene_with_nodata_and_empty_bands(shared_data):
    rioxarray = pytest.importorskip("rioxarray")
    path = shared_data / "georef" / "potsdam_enmap224_30m_mosaic.tif"
    with rioxarray.open_rasterio(path, masked=True) as scene:
        truth = scene[110:140].load()
    low = Degradation(RATIO, "area").down_masked(truth.values)
    hsi = on_grid(low, truth.rio.transform() * Affine.scale(RATIO))
    found = evaluate(1.01 * truth, truth, hsi=hsi, msi=truth[[0, 5, 29]])
    assert "6 of 30 bands" in " ".join(found.notes)
    assert 0.2 < found.metrics["valid"] < 0.95
    assert found.metrics["SAM"] < 0.1
    assert "SSIM" not in found.metrics
    assert found.consistency["spectral"]["relative_rmse"] == pytest.approx(0.01, rel=1e-3)
    assert found.consistency["spatial"]["correlation_min"] > 0.99
