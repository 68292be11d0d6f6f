"""Nodata that nobody declared."""

import json

import numpy as np
import pytest
from scenes import pair

from emrdiff_geo.alignment.unmarked import MarkedSource, marked
from emrdiff_geo.evaluation.evaluate import evaluate
from emrdiff_geo.fusion import fuse
from emrdiff_geo.grids.pair import pair_scenes
from emrdiff_geo.grids.sources import ArraySource

SIZE, RATIO = 96, 4
COARSE = SIZE // RATIO


def outside(size):
    """A corner that a rotated image does not fill."""
    y, x = np.mgrid[:size, :size] / size
    return y + x < 0.7


def filled(image, value):
    return image.assign(image=image["image"].where(~outside(image["image"].shape[-1]), value))


def without_crs(image):
    return image["image"].drop_vars(["spatial_ref", "x", "y"]).drop_attrs()


@pytest.mark.parametrize("crs", [True, False])
@pytest.mark.parametrize("value", [0, -9999])
@pytest.mark.parametrize("where", ["hsi", "msi", "both"])
def test_filled_corners_are_nodata(where, value, crs):
    hsi, msi, _ = pair(SIZE, SIZE, RATIO)
    results = []
    for fill in (value, np.nan):
        images = [
            filled(i, fill) if where in (n, "both") else i for n, i in (("hsi", hsi), ("msi", msi))
        ]
        if not crs:
            images = [without_crs(i) for i in images]
        results.append(fuse(*images, method="local_regression", psf="gaussian"))
    np.testing.assert_array_equal(*(r["image"].values for r in results))
    assert np.isnan(results[0]["image"].values[:, :60, :4]).all()
    notes = [json.loads(r.attrs["emrdiff_provenance"])["notes"] for r in results]
    told = [sum("taken as nodata" in n for n in found) for found in notes]
    assert told == [2 if where == "both" else 1, 0]


def test_grids_that_do_not_nest():
    hsi, msi, _ = pair(SIZE, SIZE, RATIO)
    hsi = hsi.assign_coords(x=hsi.x + 3, y=hsi.y - 3).drop_vars("spatial_ref")
    hsi["image"] = hsi["image"].drop_attrs().odc.assign_crs("EPSG:32633")
    one, other = (
        fuse(filled(hsi, v), msi, method="regression", psf="gaussian")["image"].values
        for v in (0, np.nan)
    )
    np.testing.assert_array_equal(one, other)


def test_images_without_filled_corners_stay_as_they_are():
    hsi, msi, _ = pair(SIZE, SIZE, RATIO)
    scene = pair_scenes(hsi, msi)
    assert marked(scene) is scene
    dark = msi.copy(deep=True)
    dark["image"][:, 40:60, 40:60] = 0  # not at a corner
    dark["image"][:, :16, :15] = 0  # not all of it
    white = msi.copy(deep=True)
    white["image"][:, :20, :20] = 255  # a roof, or a cloud
    for image in (dark, white):
        scene = pair_scenes(hsi, image)
        assert marked(scene) is scene


def test_single_black_pixels_are_ground_and_rims_are_not():
    image = np.ones((4, 40, 40), np.float32)
    image[:, :16, :16] = 0
    image[:, 16, 16] = image[:, 17, 17] = 0  # hangs on
    image[:, 30, 30] = image[:, 33:35, 20:22] = 0
    found = MarkedSource(ArraySource(image), 0.0, 3)
    lost = np.isnan(found.read(slice(None), slice(None)))
    expected = np.zeros((40, 40), bool)
    expected[:16, :16] = expected[16, 16] = expected[17, 17] = True
    np.testing.assert_array_equal(lost, np.broadcast_to(expected, lost.shape))
    window = np.isnan(found.read(slice(14, 18), slice(15, 20)))
    np.testing.assert_array_equal(window, lost[:, 14:18, 15:20])


def test_a_band_without_data_hides_nothing():
    hsi, msi, _ = pair(SIZE, SIZE, RATIO)
    hsi = filled(hsi, 0)
    hsi["image"][3] = np.nan
    found = fuse(hsi, msi, method="regression")["image"].values
    assert np.isnan(found[:, :60, :4]).all()
    assert np.isfinite(found[4, 90:, 90:]).all()


def test_evaluation_leaves_them_out():
    hsi, msi, _ = pair(SIZE, SIZE, RATIO)
    images = filled(hsi, 0), filled(msi, 0)
    result = fuse(*images, method="gaussian_process")
    found = evaluate(result, hsi=images[0], msi=images[1])
    assert found.consistency["spectral"]["correlation"] > 0.999
    assert found.consistency["spatial"]["correlation"] > 0.999
