"""Simulated pairs: the reference is the input, and the rest follows from it."""

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from cli_scenes import NM, make_files, write
from odc.geo.geobox import GeoBox
from scenes import dataset, reference_cube

from emrdiff_geo.degradation.degrade import Degradation
from emrdiff_geo.errors import InputError, OutputError, SpectralError
from emrdiff_geo.evaluation import simulation
from emrdiff_geo.evaluation.simulation import simulate, write_pair
from emrdiff_geo.reading.readers import open_hsi
from emrdiff_geo.spectra.sensors import SpectralResponse

ROTATED = Affine(3.438549, 2.23302, 500000.1, 2.23302, -3.438549, 4000000.7)
VISIBLE = SpectralResponse.gaussian([490, 560, 665, 840], [60, 40, 40, 60])


def scene(height=26, width=30, **options):
    return dataset(reference_cube(height, width, 12), 10.0, NM, **options)


def test_the_reference_is_the_input_cropped_to_whole_coarse_pixels():
    hsi = scene(26, 31)
    pair = simulate(hsi, ratio=4, response=VISIBLE)
    assert pair.reference.image.shape == (12, 24, 28)
    np.testing.assert_array_equal(pair.reference.image, hsi.image[:, :24, :28])
    assert pair.hsi.image.shape == (12, 6, 7)
    assert pair.msi.image.shape == (4, 24, 28)


@pytest.mark.parametrize("psf", ["gaussian", "paper", "area"])
def test_the_hsi_is_the_degraded_reference(psf):
    hsi = scene(24, 24)
    pair = simulate(hsi, ratio=4, response=VISIBLE, psf=psf)
    expected = Degradation(4, psf).down(hsi.image.values)
    np.testing.assert_allclose(pair.hsi.image, expected, rtol=1e-6)


def test_the_msi_is_the_response_of_the_reference():
    hsi = scene()
    pair = simulate(hsi, ratio=2, response=VISIBLE)
    expected = np.tensordot(pair.response, hsi.image.values, axes=1)
    np.testing.assert_allclose(pair.msi.image, expected, rtol=1e-5)
    np.testing.assert_allclose(pair.response.sum(axis=1), 1)
    np.testing.assert_allclose(pair.msi.wavelength, VISIBLE.centers_nm)
    np.testing.assert_allclose(pair.msi.fwhm, VISIBLE.fwhm_nm)


def test_blocks_of_rows_leave_no_trace(monkeypatch):
    hsi = scene(48, 30)
    whole = simulate(hsi, ratio=3, response=VISIBLE)
    monkeypatch.setattr(simulation, "_BLOCK_BYTES", 4 * 12 * 30 * 6)
    told = []
    parts = simulate(
        hsi, ratio=3, response=VISIBLE, progress=lambda done, total: told.append((done, total))
    )
    assert told[-1] == (8, 8)
    np.testing.assert_allclose(parts.hsi.image, whole.hsi.image, rtol=1e-6)
    np.testing.assert_allclose(parts.msi.image, whole.msi.image, rtol=1e-6)


def test_grids_are_exact_also_rotated():
    cube = reference_cube(25, 24, 12)
    box = GeoBox((25, 24), ROTATED, "EPSG:32610")
    pair = simulate(located(cube, box), ratio=4, response=VISIBLE)
    assert pair.reference.odc.geobox.affine == ROTATED
    assert pair.msi.odc.geobox.affine == ROTATED
    assert pair.hsi.odc.geobox.affine == ROTATED * Affine.scale(4)
    assert pair.hsi.odc.geobox.crs == pair.msi.odc.geobox.crs == box.crs


def located(cube, box):
    from odc.geo.xr import xr_coords

    coords = {"wavelength": ("band", NM), **xr_coords(box)}
    return xr.DataArray(cube, dims=("band", "y", "x"), coords=coords).to_dataset(name="image")


def test_no_crs_stays_no_crs():
    cube = xr.DataArray(reference_cube(24, 24, 12), dims=("band", "y", "x"))
    pair = simulate(cube.assign_coords(wavelength=("band", NM)), ratio=4, response=VISIBLE)
    assert "spatial_ref" not in pair.hsi.coords
    assert "spatial_ref" not in pair.msi.coords


def test_nodata_stays_nodata_and_does_not_spread():
    hsi = scene(24, 24)
    hsi.image[:, :8, :8] = np.nan
    pair = simulate(hsi, ratio=4, response=VISIBLE, psf="area")
    low = np.isnan(pair.hsi.image.values)
    assert low[:, :2, :2].all()
    assert low.sum() == 12 * 4
    high = np.isnan(pair.msi.image.values)
    assert high[:, :8, :8].all()
    assert high.sum() == 4 * 64


def test_bad_and_empty_bands_get_no_weight_and_spoil_nothing():
    hsi = scene(24, 24)
    good = np.ones(12, bool)
    good[3] = False
    hsi = hsi.assign_coords(good_band=("band", good))
    hsi.image[3] = 1e9
    hsi.image[6] = np.nan
    pair = simulate(hsi, ratio=4, response=VISIBLE)
    assert not pair.response[:, [3, 6]].any()
    assert np.isfinite(pair.msi.image).all()
    assert float(pair.msi.image.max()) < 1e5
    assert np.isnan(pair.hsi.image[6]).all()
    np.testing.assert_array_equal(pair.hsi.good_band, good)
    np.testing.assert_array_equal(pair.reference.image[3], 1e9)


def test_bands_that_are_not_covered_are_dropped_with_a_warning(caplog):
    pair = simulate(scene(), ratio=2, response="sentinel2a:B03,B04,B11")
    assert pair.msi.sizes["band"] == 2
    assert "B11" in caplog.text


def test_a_response_that_is_nowhere_covered_is_an_error():
    with pytest.raises(SpectralError, match="do not cover"):
        simulate(scene(), ratio=2, response="sentinel2a:B11,B12")


def test_noise_has_the_power_asked_for_and_repeats_itself():
    hsi = scene(96, 96)
    clean = simulate(hsi, ratio=2, response=VISIBLE)
    noisy = simulate(hsi, ratio=2, response=VISIBLE, snr_db=20, seed=3)
    again = simulate(hsi, ratio=2, response=VISIBLE, snr_db=20, seed=3)
    for name in ("hsi", "msi"):
        before, after = (getattr(p, name).image.values for p in (clean, noisy))
        snr = 10 * np.log10((before**2).mean((1, 2)) / ((after - before) ** 2).mean((1, 2)))
        np.testing.assert_allclose(snr, 20, atol=0.5)
        np.testing.assert_array_equal(after, getattr(again, name).image)
    np.testing.assert_array_equal(noisy.reference.image, hsi.image)


def test_nikon_on_31_bands_without_wavelengths_is_its_own_table():
    cube = xr.DataArray(reference_cube(24, 24, 31), dims=("band", "y", "x"))
    with pytest.raises(SpectralError, match="--wavelengths"):
        simulate(cube, ratio=4, response="nikon_d700")
    pair = simulate(cube, ratio=4, response="nikon_d700", wavelengths=(400, 700))
    assert pair.msi.sizes["band"] == 3
    np.testing.assert_allclose(pair.reference.wavelength, np.arange(400, 701, 10))
    with pytest.raises(InputError, match="names its wavelengths itself"):
        simulate(pair.reference, ratio=4, response="nikon_d700", wavelengths=(400, 700))


@pytest.mark.parametrize("ratio", [1, 0, 2.5, 10])
def test_an_impossible_ratio_is_an_error(ratio):
    with pytest.raises(InputError, match="ratio"):
        simulate(scene(), ratio=ratio, response=VISIBLE)


def test_nothing_but_nodata_is_an_error():
    with pytest.raises(InputError, match="no valid pixel"):
        simulate(scene() * np.nan, ratio=2, response=VISIBLE)


@pytest.mark.parametrize("dtype", ["int16", "uint8", "float32"])
def test_files_hold_the_input_bit_by_bit(tmp_path, dtype):
    cube = reference_cube(26, 28, 12) / (20 if dtype == "uint8" else 1)
    stored = cube.astype(dtype)
    stored[:, :4, :4] = 7
    path = write(tmp_path / "in.tif", stored, nm=NM, nodata=7)
    write_pair(simulate(open_hsi(path), ratio=4, response=VISIBLE), tmp_path / "pair")
    assert sorted(p.name for p in (tmp_path / "pair").iterdir()) == [
        "hsi.tif",
        "msi.tif",
        "reference.tif",
    ]
    with rasterio.open(path) as given, rasterio.open(tmp_path / "pair" / "reference.tif") as made:
        valid = given.read_masks()[:, :24, :28] > 0
        assert (valid == (made.read_masks() > 0)).all()
        np.testing.assert_array_equal(made.read()[valid], given.read()[:, :24, :28][valid])
        assert made.dtypes[0] == ("float32" if dtype == "float32" else "int16")
        assert made.transform == given.transform
        assert float(made.tags(1)["wavelength"]) == NM[0]


def test_a_failure_leaves_the_folder_as_it_was(tmp_path, monkeypatch):
    pair = simulate(scene(), ratio=2, response=VISIBLE)
    write_pair(pair, tmp_path / "old")
    before = {p: p.read_bytes() for p in (tmp_path / "old").iterdir()}

    def broken(dataset, path, **options):
        if path.name == "msi.tif":
            raise OutputError("disk full")
        path.write_text("half")

    monkeypatch.setattr(simulation, "write_dataset", broken)
    for name in ("old", "new"):
        with pytest.raises(OutputError, match="disk full"):
            write_pair(pair, tmp_path / name, overwrite=True)
    assert not (tmp_path / "new").exists()
    assert {p: p.read_bytes() for p in (tmp_path / "old").iterdir()} == before


def test_existing_files_need_leave_to_be_replaced(tmp_path):
    make_files(tmp_path)
    pair = simulate(scene(), ratio=2, response=VISIBLE)
    with pytest.raises(OutputError, match="exists"):
        write_pair(pair, tmp_path)
    write_pair(pair, tmp_path, overwrite=True)
    assert (tmp_path / "same_size.tif").exists()
    assert not (tmp_path / ".pair.partial").exists()
