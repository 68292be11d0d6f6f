"""Gaps of single bands: dead detectors, stripes, two spectrometers that see different strips."""

import json

import numpy as np
import pytest
from grids import image, utm
from hypothesis import given
from hypothesis import strategies as st
from scenes import pair, reference_cube
from test_own_pixels import MSI, NM, seen_by

from emrdiff_geo.degradation.degrade import Degradation
from emrdiff_geo.errors import InputError
from emrdiff_geo.evaluation.evaluate import evaluate
from emrdiff_geo.fusion import fuse, fuse_to_file
from emrdiff_geo.grids.pair import pair_scenes
from emrdiff_geo.methods import MethodOptions
from emrdiff_geo.run.pipeline import prepare_run
from emrdiff_geo.scene.moments import FEWEST
from emrdiff_geo.scene.whole_spectra import WholeSpectra

SIZE, RATIO, BANDS = 96, 4, 12
COARSE = SIZE // RATIO


def stripes(share=0.1, seed=0):
    """Columns in which single bands are dead, and single dead values."""
    rng = np.random.default_rng(seed)
    dead = rng.random((BANDS, 1, COARSE)) < share
    return dead | (rng.random((BANDS, COARSE, COARSE)) < share / 10)


def gappy(hsi, gaps):
    return hsi.assign(image=hsi["image"].where(~gaps))


def fine(mask):
    return mask.repeat(RATIO, axis=1).repeat(RATIO, axis=2)


def rms(values):
    return float(np.sqrt(np.nanmean(np.square(values))))


@pytest.mark.parametrize(
    "method", ["bicubic", "regression", "local_regression", "gaussian_process", "emrdiff"]
)
def test_the_other_bands_have_no_gap_and_are_as_good(method):
    hsi, msi, cube = pair(SIZE, SIZE, RATIO)
    gaps = stripes()
    assert (~gaps.any(axis=0)).mean() < 0.5  # a gap in all bands would leave little
    whole = fuse(hsi, msi, method=method)["image"].values
    found = fuse(gappy(hsi, gaps), msi, method=method)["image"].values
    np.testing.assert_array_equal(np.isnan(found), fine(gaps))
    assert rms(found - cube) < rms(whole - cube) + 0.001 * cube.std()


def test_gaps_can_be_filled_and_it_is_said():
    hsi, msi, cube = pair(SIZE, SIZE, RATIO)
    gaps = fine(stripes())
    left, filled = (
        fuse(gappy(hsi, stripes()), msi, method="gaussian_process", fill_gaps=f)
        for f in (False, True)
    )
    found = filled["image"].values
    np.testing.assert_array_equal(found[~gaps], left["image"].values[~gaps])
    assert rms((found - cube)[gaps]) < 0.05 * cube.std()
    told = [json.loads(i.attrs["emrdiff_provenance"]) for i in (left, filled)]
    assert any("Single bands of the HSI have gaps, mostly bands" in n for n in told[0]["notes"])
    assert [t["parameters"]["fill_gaps"] for t in told] == [False, True]


def test_the_uncertainty_of_what_is_filled_is_not_known():
    hsi, msi, _ = pair(SIZE, SIZE, RATIO)
    options = {"samples": 4, "uncertainty": True, "fill_gaps": True}
    found = fuse(gappy(hsi, stripes()), msi, **options)
    assert np.isfinite(found["image"].values).all()
    np.testing.assert_array_equal(np.isnan(found["uncertainty"].values), fine(stripes()))


def test_a_strip_that_some_bands_do_not_see():
    hsi, msi, cube = pair(SIZE, SIZE, RATIO)
    gaps = np.zeros((BANDS, COARSE, COARSE), bool)
    gaps[:6, :, :3] = True
    gaps[6:, :, -3:] = True
    gaps[:, :3] = True
    found = fuse(gappy(hsi, gaps), msi, method="gaussian_process")["image"].values
    np.testing.assert_array_equal(np.isnan(found), fine(gaps))
    assert rms(found - cube) < 0.05 * cube.std()


def test_a_pixel_with_hardly_any_band_is_a_gap():
    hsi, msi, _ = pair(SIZE, SIZE, RATIO)
    gaps = np.zeros((BANDS, COARSE, COARSE), bool)
    gaps[int(BANDS * FEWEST) - 1 :, 5, 7] = True
    found = fuse(gappy(hsi, gaps), msi, method="regression")["image"].values
    gaps[:, 5, 7] = True
    np.testing.assert_array_equal(np.isnan(found), fine(gaps))


def test_whole_spectra_are_left_alone():
    hsi, msi, _ = pair(SIZE, SIZE, RATIO)
    gaps = np.zeros((BANDS, COARSE, COARSE), bool)
    gaps[:, 5:8, 5:8] = True
    gaps[3] = True
    made = prepare_run(pair_scenes(gappy(hsi, gaps), msi), "regression", MethodOptions())
    assert made.pair.broken is None


def test_a_scene_that_is_mostly_empty():
    hsi, msi, cube = pair(400, 400, 2)
    gaps = np.ones((BANDS, 200, 200), bool)
    gaps[:, 45:75, 45:75] = False  # between the windows that are looked at first
    holed = gaps.copy()
    holed[[4, 7], 50:60, 50:60] = True
    found = fuse(gappy(hsi, holed), msi, method="regression", fill_gaps=True)["image"].values
    clean = fuse(gappy(hsi, gaps), msi, method="regression")["image"].values
    np.testing.assert_array_equal(np.isnan(found), np.isnan(clean))
    assert rms(found - cube) < rms(clean - cube) + 0.01 * cube.std()


def test_bands_that_are_empty_anyway_do_not_count():
    hsi, msi, _ = pair(SIZE, SIZE, RATIO, bands=40)
    gaps = np.zeros((40, COARSE, COARSE), bool)
    gaps[12:] = True
    gaps[[2, 5, 7], 10, 10] = True
    found = fuse(gappy(hsi, gaps), msi, method="regression")["image"].values
    np.testing.assert_array_equal(np.isnan(found), fine(gaps))


def test_grids_that_do_not_nest():
    cube = reference_cube(160, 160, BANDS)
    hsi = seen_by(cube, utm(4.3, (36, 36), 1.7, 2.3))
    msi = image(cube[MSI], utm(1, (160, 160)), NM[MSI])
    whole = fuse(hsi, msi, method="gaussian_process")["image"].values
    gaps = np.random.default_rng(0).random((BANDS, 1, 36)) < 0.1
    found = fuse(hsi.where(~gaps), msi, method="gaussian_process")["image"].values
    lost = np.isnan(found) & ~np.isnan(whole)
    assert 0.05 < lost.mean() < 0.15
    assert not lost.all(axis=0).any()
    assert rms(found - whole) < 0.02 * np.nanstd(whole)


def test_tiles_and_schedulers_agree(tmp_path):
    hsi, msi, _ = pair(SIZE, SIZE, RATIO)
    options = {"method": "local_regression", "tile": 32}
    files = [tmp_path / f"{s}.tif" for s in ("threads", "synchronous")]
    for file in files:
        fuse_to_file(gappy(hsi, stripes()), msi, file, scheduler=file.stem, **options)
    assert files[0].read_bytes() == files[1].read_bytes()
    whole, tiles = (
        fuse(gappy(hsi, stripes()), msi, **options | {"tile": t})["image"].values for t in (512, 32)
    )
    assert rms(tiles - whole) < 1e-4 * np.nanstd(whole)


def test_such_results_can_be_evaluated():
    hsi, msi, cube = pair(SIZE, SIZE, RATIO)
    everywhere = np.zeros((BANDS, COARSE, COARSE), bool)
    for number in range(BANDS):
        everywhere[number, :, number::BANDS] = True
    holed = gappy(hsi, everywhere)
    left, filled = (fuse(holed, msi, method="gaussian_process", fill_gaps=f) for f in (False, True))
    for psf in ("auto", "gaussian", Degradation(RATIO)):
        found = evaluate(filled, cube, hsi=holed, msi=msi, psf=psf)
        assert found.metrics["valid"] == 1
        assert found.metrics["PSNR"] > 60
        assert found.consistency["spectral"]["correlation"] > 0.9999
        assert found.consistency["spatial"]["pixels"] == SIZE**2
        with pytest.raises(InputError, match="fuse with --fill-gaps if single bands"):
            evaluate(left, hsi=holed, msi=msi, psf=psf)


@given(st.integers(0, 2**32 - 1), st.floats(0.0, 0.5))
def test_what_the_bands_tell_of_each_other_is_found(seed, share):
    rng = np.random.default_rng(seed)
    spectra = (rng.random((3, 8)).T @ rng.random((3, 400)) + 2).astype(np.float32)
    gaps = rng.random(spectra.shape) < share
    holed = np.where(gaps, np.nan, spectra)
    found = WholeSpectra.of(holed).completed(holed)
    few = np.isfinite(holed).mean(axis=0) < FEWEST
    np.testing.assert_array_equal(found[:, few], holed[:, few])
    np.testing.assert_array_equal(found[~gaps], holed[~gaps])
    assert np.isfinite(found[:, ~few]).all()
    known = ~few & (np.isfinite(holed).sum(axis=0) > 4)
    assert rms((found - spectra)[:, known]) < 0.2 * spectra.std()
