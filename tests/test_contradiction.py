"""Clouds and the like in one of the two images."""

import json

import numpy as np
import pytest
from grids import ALL, image, utm
from scenes import pair, reference_cube
from test_own_pixels import BANDS, MSI, NM, SIZE, seen_by

from emrdiff_geo.alignment.contradiction import BODY, AgreeingSource, Expectation
from emrdiff_geo.alignment.measuring import measure_pair
from emrdiff_geo.degradation.degrade import Degradation
from emrdiff_geo.evaluation.evaluate import evaluate
from emrdiff_geo.fusion import fuse, fuse_to_file
from emrdiff_geo.grids.pair import pair_scenes

RATIO, EDGE = 4, 160
#: Rows and columns of a cloud in fine pixels, and those that are clear by all means.
CLOUD = slice(40, 76), slice(60, 104)
FAR = np.ones((EDGE, EDGE), bool)
FAR[24:92, 44:120] = False


def clouded(values, cloud, ratio=1):
    """An image ``(b, y, x)`` with a white cloud."""
    rows, cols = (slice(s.start // ratio, s.stop // ratio) for s in cloud)
    found = values.copy()
    found[:, rows, cols] = 2.5 * values.max()
    return found


def scene(where):
    """HSI and MSI, one with a cloud or none, and the clear scene."""
    hsi, msi, cube = pair(EDGE, EDGE, RATIO)
    if where == "hsi":
        hsi = hsi.assign(image=(hsi["image"].dims, clouded(hsi["image"].values, CLOUD, RATIO)))
    if where == "msi":
        msi = msi.assign(image=(msi["image"].dims, clouded(msi["image"].values, CLOUD)))
    return hsi, msi, cube


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


@pytest.mark.parametrize("where", ["hsi", "msi"])
@pytest.mark.parametrize("method", ["regression", "local_regression", "gaussian_process"])
def test_clear_ground_is_fused_as_if_there_were_none(where, method):
    hsi, msi, cube = scene(where)
    clear = fuse(*scene(None)[:2], method=method, psf="gaussian")["image"].values
    found = fuse(hsi, msi, method=method, psf="gaussian")
    error = rms((clear - cube)[:, FAR])
    assert rms((found["image"].values - cube)[:, FAR]) < max(1.5 * error, 1e-4 * cube.std())
    as_it_is = fuse(hsi, msi, method=method, psf="gaussian", normalise=False)
    assert rms((as_it_is["image"].values - cube)[:, FAR]) > max(4 * error, 5e-4 * cube.std())
    notes = json.loads(found.attrs["emrdiff_provenance"])["notes"]
    assert sum("contradict" in note for note in notes) == 1


def test_the_result_shows_what_the_hsi_saw():
    hsi, msi, _ = scene("hsi")
    found = fuse(hsi, msi, method="gaussian_process", psf="gaussian")["image"].values
    assert np.isfinite(found).all()
    seen, wanted = Degradation(RATIO).down(found), hsi["image"].values
    inside = tuple(slice(s.start // RATIO + 2, s.stop // RATIO - 2) for s in CLOUD)
    np.testing.assert_allclose(seen[:, *inside], wanted[:, *inside], rtol=0.02)
    assert rms(seen - wanted) < 0.2 * wanted.std()


def test_images_that_agree_are_left_alone():
    hsi, msi, _ = scene(None)
    images = pair_scenes(hsi, msi)
    assert measure_pair(images, psf="gaussian")[0].whole is None
    hsi, msi, _ = scene("hsi")
    images = pair_scenes(hsi, msi)
    assert measure_pair(images, psf="gaussian", normalise=False)[0] is images


def test_what_is_contradicted_is_a_gap_whatever_window_is_read():
    hsi, msi, _ = scene("msi")
    images = measure_pair(pair_scenes(hsi, msi), psf="gaussian")[0]
    agreeing, values = images.hsi, hsi["image"].values
    assert isinstance(agreeing, AgreeingSource)
    whole = agreeing.read(ALL, ALL)
    gap = np.isnan(whole)
    np.testing.assert_array_equal(images.whole.read(ALL, ALL), values)
    np.testing.assert_array_equal(whole[~gap], values[~gap])
    cloud = tuple(slice(s.start // RATIO, s.stop // RATIO) for s in CLOUD)
    assert gap[:, *cloud].all()
    assert gap[0].sum() < 2.5 * gap[0][cloud].size
    window = slice(7, 19), slice(13, 31)
    np.testing.assert_array_equal(agreeing.read(*window), whole[:, *window])
    beyond = agreeing.read(slice(-3, 5), slice(0, 9))
    assert np.isnan(beyond[:, :3]).all()
    np.testing.assert_array_equal(beyond[:, 3:], whole[:, :5, :9])


def test_tiles_within_a_large_cloud():
    hsi, msi, _ = pair(384, 384, RATIO)
    large = slice(80, 260), slice(100, 280)
    hsi = hsi.assign(image=(hsi["image"].dims, clouded(hsi["image"].values, large, RATIO)))
    options = {"method": "regression", "psf": "gaussian"}
    whole, tiles = (fuse(hsi, msi, tile=n, **options) for n in (512, 32))
    assert any("contradict" in n for n in json.loads(whole.attrs["emrdiff_provenance"])["notes"])
    assert np.isfinite(tiles["image"].values).all()
    assert rms(tiles["image"].values - whole["image"].values) < 0.01 * hsi["image"].values.std()


def test_tiles_do_not_show(tmp_path):
    hsi, msi, _ = scene("hsi")
    options = {"method": "local_regression", "psf": "gaussian"}
    whole = fuse(hsi, msi, tile=512, **options)["image"].values
    tiles = fuse(hsi, msi, tile=32, **options)["image"].values
    assert rms(tiles - whole) < 1e-4 * whole.std()
    for scheduler in ("threads", "synchronous"):
        fuse_to_file(
            hsi, msi, tmp_path / f"{scheduler}.tif", tile=32, scheduler=scheduler, **options
        )
    one, other = ((tmp_path / f"{s}.tif").read_bytes() for s in ("threads", "synchronous"))
    assert one == other


@pytest.mark.parametrize("where", ["hsi", "msi"])
def test_grids_that_do_not_nest(where):
    cube = reference_cube(SIZE, SIZE, BANDS)
    box = utm(4.3, (36, 36), 1.7, 2.3)
    hsi = seen_by(cube, box)
    msi = image(cube[MSI], utm(1, (SIZE, SIZE)), NM[MSI])
    clear = fuse(hsi, msi, method="gaussian_process")["image"].values
    if where == "hsi":
        hsi = hsi.copy(data=clouded(hsi.values, CLOUD, 4))
    else:
        msi = msi.copy(data=clouded(msi.values, CLOUD))
    found = fuse(hsi, msi, method="gaussian_process")["image"].values
    far = FAR[-found.shape[1] :, -found.shape[2] :] & np.isfinite(found + clear).all(axis=0)
    assert far.mean() > 0.5
    assert rms((found - clear)[:, far]) < 0.02 * np.nanstd(clear)


def test_lines_and_single_pixels_are_no_clouds():
    rng = np.random.default_rng(0)
    hsi = rng.random((6, 40, 40)) + 1
    msi = hsi[[0, 3]] + 0.01 * rng.standard_normal((2, 40, 40))
    msi[:, 10] *= 3
    msi[:, 30, 5] *= 3
    known = Expectation.of(msi.reshape(2, -1), hsi.reshape(6, -1))
    assert not known.contradicted(msi, hsi)[0].any()
    msi[:, 20 : 20 + BODY, 20 : 20 + BODY] *= 3
    gross, slight = known.contradicted(msi, hsi)
    assert gross.sum() == BODY**2
    assert slight[10].all()


def test_what_is_usual_is_not_spoilt_by_what_is_not():
    rng = np.random.default_rng(0)
    hsi = rng.random((6, 2000)) + 1
    msi = np.stack([hsi[0], 0.5 * hsi[3] + 0.2 * hsi[4]])
    hsi[:, :500] = 5 + 0.1 * rng.random((6, 500))
    known = Expectation.of(msi, hsi)
    left = msi - known.response @ hsi - known.offset[:, None]
    assert np.abs(left[:, 500:]).max() < 1e-3
    assert (known.spread < 1e-3).all()


def test_evaluate_takes_such_a_result():
    hsi, msi, _ = scene("msi")
    found = fuse(hsi, msi, method="local_regression", psf="gaussian")
    told = evaluate(found, hsi=hsi, msi=msi).consistency["spectral"].values()
    assert np.isfinite(list(told)).all()


@pytest.mark.parametrize("value", [0, 500, 65535])
def test_a_band_of_one_value_is_not_in_the_way(value):
    hsi, msi, _ = scene("msi")
    values = msi["image"].values.copy()
    values[2] = value
    found = measure_pair(pair_scenes(hsi, msi.assign(image=(msi["image"].dims, values))))[0]
    assert found.whole is not None


@pytest.mark.parametrize(("ratio", "brightness"), [(4, 0.3), (4, 2.5), (8, 2.5)])
def test_spectra_of_unknown_brightness_are_contradicted(ratio, brightness):
    hsi, msi, _ = pair(24 * ratio, 24 * ratio, ratio)
    values = hsi["image"].values.copy()
    values[:, 8:16, 6:14] *= brightness
    found = measure_pair(pair_scenes(hsi.assign(image=(hsi["image"].dims, values)), msi))[0]
    assert found.whole is not None
    assert np.isnan(found.hsi.read(slice(8, 16), slice(6, 14))).all()


def test_dead_columns_do_not_hide_a_cloud():
    hsi, msi, _ = scene("hsi")
    values = hsi["image"].values.copy()
    values[:, :, 2::3] = np.nan
    found = measure_pair(pair_scenes(hsi.assign(image=(hsi["image"].dims, values)), msi))[0]
    assert found.whole is not None


@pytest.mark.parametrize("row", [11, 12, 24])
def test_nothing_becomes_nodata_by_it(row):
    box = utm(4.3, (36, 36), 1.7, 2.3)
    cube = reference_cube(SIZE, SIZE, BANDS)
    hsi = seen_by(cube, box)
    values = hsi.values.copy()
    values[:, row, 11::6] = np.nan
    hsi = hsi.copy(data=values)
    msi = image(clouded(cube[MSI], CLOUD), utm(1, (SIZE, SIZE)), NM[MSI])
    found, as_it_is = (
        fuse(hsi, msi, method="regression", normalise=n)["image"].values for n in (True, False)
    )
    np.testing.assert_array_equal(np.isnan(found), np.isnan(as_it_is))


def test_the_uncertainty_knows():
    pytest.importorskip("torch")
    hsi, msi, cube = scene("msi")
    found = fuse(hsi, msi, psf="gaussian", samples=2, steps=2, uncertainty=True, device="cpu")
    # At its sharp edge the cloud itself is the MSI's detail.
    within = tuple(slice(s.start + 8, s.stop - 8) for s in CLOUD)
    error = np.abs(found["image"].values - cube)[:, *within]
    sigma = found["uncertainty"].values
    assert (error < 2 * sigma[:, *within]).mean() > 0.9
    assert sigma[:, FAR].mean() < 0.1 * sigma[:, *CLOUD].mean()


def test_clouds_over_a_large_part_of_the_scene_are_told(caplog):
    hsi, msi, _ = scene(None)
    values = msi["image"].values.copy()
    values[:, :, 100:] = 2.5 * values.max() + np.random.default_rng(0).random((EDGE, EDGE - 100))
    images = pair_scenes(hsi, msi.assign(image=(msi["image"].dims, values)))
    assert measure_pair(images, psf="gaussian")[0].whole is None
    assert "a large part of the scene" in caplog.text
