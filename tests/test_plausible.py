"""Dead and hot detectors that nobody marked."""

import json

import numpy as np
import pytest
from scenes import pair, reference_cube, shifted_pair

from emrdiff_geo.alignment.band_gaps import SiftedSource
from emrdiff_geo.alignment.shift import measure_shift
from emrdiff_geo.fusion import fuse
from emrdiff_geo.grids.pair import pair_scenes
from emrdiff_geo.grids.sources import ArraySource
from emrdiff_geo.methods import MethodOptions
from emrdiff_geo.run.pipeline import prepare_run
from emrdiff_geo.scene.plausible import Plausible

SIZE, RATIO, BANDS = 96, 4, 30
COARSE = SIZE // RATIO


def dead(kind, seed=0):
    """Values ``(L, h, w)`` bool that are dead."""
    rng = np.random.default_rng(seed)
    if kind == "columns":
        return np.broadcast_to(rng.random((BANDS, 1, COARSE)) < 0.02, (BANDS, COARSE, COARSE))
    return rng.random((BANDS, COARSE, COARSE)) < 0.005


def spoilt(hsi, where, factor):
    return hsi.assign(image=hsi["image"].where(~where, factor * float(hsi["image"].max())))


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


def found_in(image):
    image = np.asarray(image, np.float32)
    return Plausible.of(image.reshape(len(image), -1)).implausible(image)


@pytest.mark.parametrize("kind", ["columns", "values"])
@pytest.mark.parametrize("factor", [0, 3])
def test_they_are_found_and_nothing_else(kind, factor):
    hsi = pair(SIZE, SIZE, RATIO, bands=BANDS)[0]
    where = dead(kind)
    found = found_in(spoilt(hsi, where, factor)["image"])
    assert found[where].mean() > 0.95
    assert not found[~where].any()
    assert not found_in(hsi["image"]).any()


@pytest.mark.parametrize("method", ["regression", "gaussian_process", "emrdiff"])
@pytest.mark.parametrize(("kind", "factor"), [("columns", 0), ("values", 3)])
def test_the_result_is_as_if_there_were_none(method, kind, factor):
    hsi, msi, cube = pair(SIZE, SIZE, RATIO, bands=BANDS)
    bad = spoilt(hsi, dead(kind), factor)
    error = {
        normalise: rms(fuse(bad, msi, method=method, normalise=normalise)["image"].values - cube)
        for normalise in (True, False)
    }
    clean = fuse(hsi, msi, method=method)["image"].values - cube
    assert error[True] < rms(clean) + 0.01 * cube.std()
    assert error[False] > 10 * error[True]  # and are left where they are to be


def test_it_is_told():
    hsi, msi, _ = pair(SIZE, SIZE, RATIO, bands=BANDS)
    result = fuse(spoilt(hsi, dead("values"), 3), msi, method="regression")
    notes = json.loads(result.attrs["emrdiff_provenance"])["notes"]
    assert any("values of the HSI" in n and "dead or hot detectors" in n for n in notes)
    assert np.isfinite(result["image"].values).all()


def test_a_clean_image_stays_as_it_is():
    hsi, msi, _ = pair(SIZE, SIZE, RATIO, bands=BANDS)
    scene = pair_scenes(hsi, msi)
    assert prepare_run(scene, "regression", MethodOptions()).pair.hsi is scene.hsi


def test_an_unusual_material_is_none():
    cube = reference_cube(COARSE, COARSE, BANDS)
    rng = np.random.default_rng(0)
    cube[:, 5, 7] = 5000 * rng.random(BANDS)  # of one pixel alone
    cube[:, 15, 15] += 3000 * np.exp(-(((np.arange(BANDS) - 13) / 3) ** 2))  # in some bands
    cube[20, 8:13, 17:22] += 3000  # of some pixels
    assert not found_in(cube).any()


def test_whole_numbers_in_dark_bands_are_none():
    cube = reference_cube(COARSE, COARSE, BANDS)
    rng = np.random.default_rng(0)
    cube[[7, 19]] = rng.random((2, COARSE, COARSE)) < 0.02  # 0 and some ones
    assert not found_in(np.round(cube)).any()


def test_bands_that_were_clipped_are_judged_by_others():
    rng = np.random.default_rng(0)
    cube = reference_cube(COARSE, COARSE, BANDS)
    cube[20:] = np.maximum(rng.normal(-30, 40, (BANDS - 20, COARSE, COARSE)), 0)  # water
    assert not found_in(cube).any()
    cube[25, 5, 7] = 3 * cube.max()
    assert [tuple(at) for at in np.argwhere(found_in(cube))] == [(25, 5, 7)]


def test_what_is_found_does_not_depend_on_the_window():
    image = spoilt(pair(SIZE, SIZE, RATIO, bands=BANDS)[0], dead("columns") | dead("values"), 0)
    image = image["image"].values
    good = np.arange(BANDS) != 4
    known = Plausible.of(image[good].reshape(BANDS - 1, -1))
    source = SiftedSource(ArraySource(image), good, known)
    everything = source.read(slice(None), slice(None))
    assert np.isnan(everything).any()
    np.testing.assert_array_equal(everything[4], image[4])
    for rows, cols in ((slice(3, 11), slice(0, 5)), (slice(20, 24), slice(9, 10))):
        np.testing.assert_array_equal(source.read(rows, cols), everything[:, rows, cols])


def test_a_shift_is_measured_all_the_same():
    hsi, msi = shifted_pair(2, -1, RATIO)[:2]
    clean = measure_shift(pair_scenes(hsi, msi))
    rng = np.random.default_rng(0)
    spikes = rng.random(hsi["image"].shape) < 0.005
    found = measure_shift(pair_scenes(spoilt(hsi, spikes, 20), msi))
    assert (found.x, found.y) == pytest.approx((clean.x, clean.y), abs=0.02)
