"""Clouds and the like in one of the two images."""

import json

import numpy as np
import pytest
from grids import ALL, image, utm
from scenes import pair, reference_cube
from test_own_pixels import BANDS, MSI, NM, SIZE, seen_by

from emrdiff_geo.alignment.contradiction import BODY, Expectation, PartSource
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
    assert rms((as_it_is["image"].values - cube)[:, FAR]) > max(4 * error, 1e-3 * cube.std())
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
    assert measure_pair(images, psf="gaussian")[0].contradicted is None
    hsi, msi, _ = scene("hsi")
    images = pair_scenes(hsi, msi)
    assert measure_pair(images, psf="gaussian", normalise=False)[0] is images


def test_each_part_is_what_the_other_is_not_whatever_window_is_read():
    hsi, msi, _ = scene("msi")
    images = measure_pair(pair_scenes(hsi, msi), psf="gaussian")[0]
    agreeing, apart = images.hsi, images.contradicted
    assert isinstance(agreeing, PartSource)
    whole, rest = agreeing.read(ALL, ALL), apart.read(ALL, ALL)
    there, elsewhere = np.isfinite(whole), np.isfinite(rest)
    assert (there ^ elsewhere).all()
    np.testing.assert_array_equal(np.where(there, whole, rest), hsi["image"].values)
    cloud = tuple(slice(s.start // RATIO, s.stop // RATIO) for s in CLOUD)
    assert elsewhere[:, *cloud].all()
    assert elsewhere[0].sum() < 2.5 * elsewhere[0][cloud].sum()
    window = slice(7, 19), slice(13, 31)
    np.testing.assert_array_equal(agreeing.read(*window), whole[:, *window])
    beyond = agreeing.read(slice(-3, 5), slice(0, 9))
    assert np.isnan(beyond[:, :3]).all()
    np.testing.assert_array_equal(beyond[:, 3:], whole[:, :5, :9])


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
