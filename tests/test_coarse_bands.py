"""MSI bands of coarser pixels than the others."""

import json

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from partial_runs import finished, partial
from scenes import pair
from scipy import ndimage

from emrdiff_geo.alignment.coarse_bands import CoarseBands, coarse_bands
from emrdiff_geo.degradation.degrade import Degradation
from emrdiff_geo.errors import ResumeError
from emrdiff_geo.evaluation.evaluate import evaluate
from emrdiff_geo.fusion import fuse, fuse_to_file
from emrdiff_geo.grids.pair import pair_scenes
from emrdiff_geo.grids.sources import ArraySource, MeansSource
from emrdiff_geo.run.pipeline import Run

SIZE, RATIO = 96, 4
COARSE = (1, 3)
OPTIONS = {"method": "regression", "psf": "gaussian", "tile": 48, "scheduler": "synchronous"}


def resampled(image, factor, order):
    """What an image is like that was brought back from a coarser grid."""
    low = Degradation(factor).down(image)
    return ndimage.zoom(low, (1, factor, factor), order=order, mode="nearest", grid_mode=True)


def mixed(msi, factor=2, order=0, bands=COARSE):
    """An MSI some of whose bands are coarser."""
    values = msi["image"].values.copy()
    values[list(bands)] = resampled(values[list(bands)], factor, order)
    return msi.assign(image=msi["image"].copy(data=values))


def notes(result):
    return json.loads(result.attrs["emrdiff_provenance"])["notes"]


@pytest.fixture(scope="module")
def scene():
    hsi, msi, cube = pair(SIZE, SIZE, RATIO)
    return hsi, mixed(msi), cube


@pytest.mark.parametrize("factor", [2, 3, 6])
@pytest.mark.parametrize("cut", [0, 1])
def test_repeated_pixels_are_found_where_they_begin(factor, cut):
    hsi, msi, _ = pair(SIZE, SIZE, RATIO)
    msi = mixed(msi, factor).isel(y=slice(cut, None), x=slice(2 * cut, None))
    found = pair_scenes(hsi, msi)
    # What is missing to whole HSI pixels lies before the image.
    row, col = found.offset
    phase = (row - cut) % factor, (col - 2 * cut) % factor
    assert coarse_bands(found) == [CoarseBands(COARSE, factor, phase)]


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("noise", [0, 0.02])
def test_interpolated_bands_are_found_by_what_they_lack(order, noise):
    hsi, msi, _ = pair(SIZE, SIZE, RATIO)
    rng = np.random.default_rng(0)
    layers = ndimage.gaussian_filter(rng.standard_normal((3, SIZE, SIZE)), (0, 0.6, 0.6))
    values = np.tensordot(rng.random((4, 3)), layers, axes=1) + 5
    values += rng.normal(0, noise, values.shape)
    msi = msi.assign(image=msi["image"].copy(data=values.astype(np.float32)))
    assert coarse_bands(pair_scenes(hsi, msi)) == []
    found = coarse_bands(pair_scenes(hsi, mixed(msi, 2, order)))
    assert found == [CoarseBands(COARSE, 2)]


def test_bands_of_three_sizes():
    hsi, msi, _ = pair(SIZE, SIZE, RATIO)
    msi = mixed(mixed(msi, 2, bands=(1,)), 6, bands=(3,))
    assert coarse_bands(pair_scenes(hsi, msi)) == [CoarseBands((1,), 2), CoarseBands((3,), 6)]


def test_a_grid_finer_than_any_band():
    hsi, msi, _ = pair(SIZE, SIZE, RATIO)
    msi = mixed(mixed(msi, 2, bands=(0, 1, 2, 3)), 4, bands=(3,))
    assert coarse_bands(pair_scenes(hsi, msi)) == [CoarseBands((3,), 4)]


def test_pixels_that_are_repeated_now_once_now_twice():
    hsi, msi, _ = pair(SIZE, SIZE, RATIO)
    low = Degradation(2).down(msi["image"].values[list(COARSE)])
    at = np.minimum(np.floor(np.arange(SIZE) * 0.47).astype(int), SIZE // 2 - 1)
    values = msi["image"].values.copy()
    values[list(COARSE)] = low[:, at[:, None], at]
    (found,) = coarse_bands(pair_scenes(hsi, msi.assign(image=msi["image"].copy(data=values))))
    assert (found.bands, found.factor) == (COARSE, 2)


KINDS = "fine", "all coarse", "one band", "flat", "noise", "nodata", "8", "floored", "saturated"


@pytest.mark.parametrize("kind", KINDS)
def test_there_is_nothing_to_find(kind):
    hsi, msi, _ = pair(SIZE, SIZE, RATIO)
    image = msi["image"]
    values = image.values.copy()
    if kind == "all coarse":
        values = resampled(values, 2, 0)
    elif kind == "flat":
        values[1] = 7
    elif kind == "noise":
        values[1] += np.random.default_rng(0).normal(0, 0.2 * values[1].std(), values[1].shape)
    elif kind == "nodata":
        values[:] = np.nan
    elif kind == "floored":
        values[3] = np.maximum(values[3], np.percentile(values[3], 45))
    elif kind == "saturated":
        values[:2] = np.minimum(values[:2], np.percentile(values[:2], 50))
    elif kind == "8":
        values = np.round(values / values.max() * 60)
    msi = msi.assign(image=image.copy(data=values))
    assert coarse_bands(pair_scenes(hsi, msi.isel(band=[0]) if kind == "one band" else msi)) == []


def test_fused_as_if_all_bands_were_fine(scene):
    hsi, msi, cube = scene
    options = {"method": "local_regression", "psf": "gaussian"}
    result, raw = (fuse(hsi, msi, normalise=n, **options) for n in (True, False))
    errors = [np.sqrt(np.mean((r["image"].values - cube) ** 2)) for r in (result, raw)]
    assert errors[0] < 0.5 * errors[1]
    assert sum("2, 4 have pixels 2 times as wide" in note for note in notes(result)) == 1
    assert not any("times as wide" in note for note in notes(raw))


def test_nodata_stays_where_it_is(scene):
    hsi, msi, _ = scene
    gap = np.zeros((SIZE, SIZE), bool)
    gap[30:41, :17] = gap[-6:] = True
    msi = msi.assign(image=msi["image"].where(~gap))
    msi["image"][COARSE[0], 70, 7] = np.nan
    gap[70, 7] = True
    values = fuse(hsi, msi, method="regression", psf="gaussian")["image"].values
    np.testing.assert_array_equal(np.isnan(values), np.broadcast_to(gap, values.shape))


@pytest.mark.parametrize(("factor", "cut"), [(3, 2), (6, 4), (6, 1)])
def test_nothing_is_lost_where_a_coarse_pixel_is_cut_off(factor, cut):
    hsi, msi, _ = pair(SIZE, SIZE, RATIO)
    msi = mixed(msi, factor).isel(x=slice(cut, -cut), y=slice(cut, -cut))
    result = fuse(hsi, msi, method="regression", psf="gaussian")
    assert any("times as wide" in note for note in notes(result))
    assert np.isfinite(result["image"].values).all()


@pytest.mark.parametrize("gap", [0.6, 1])
def test_a_band_with_gaps_hides_no_coarse_ones(gap):
    hsi, msi, _ = pair(SIZE, SIZE, RATIO)
    msi = mixed(msi)
    msi["image"][0, :, : round(gap * SIZE)] = np.nan
    assert coarse_bands(pair_scenes(hsi, msi)) == [CoarseBands(COARSE, 2)]


def test_same_bytes_whoever_computes_them_and_nothing_is_left(scene, tmp_path):
    hsi, msi, _ = scene
    seen = []
    for scheduler in ("synchronous", "threads"):
        out = tmp_path / f"{scheduler}.tif"
        told = []
        fuse_to_file(hsi, msi, out, progress=told.append, **{**OPTIONS, "scheduler": scheduler})
        seen.append(out.read_bytes())
    assert seen[0] == seen[1]
    assert {e.stage for e in told} == {"statistics", "sharpen", "fuse", "write"}
    assert max(e.done for e in told if e.stage == "sharpen") == 4
    assert sorted(p.name for p in tmp_path.iterdir()) == ["synchronous.tif", "threads.tif"]
    lazy = fuse(hsi, msi, **{k: v for k, v in OPTIONS.items() if k != "scheduler"})
    with rasterio.open(out) as file:
        np.testing.assert_array_equal(file.read(), lazy["image"].values)


class InterruptionError(Exception):
    pass


def begin(scene, out, stage, done, resume=True):
    def stop(event):
        if (event.stage, event.done) == (stage, done):
            raise InterruptionError

    with pytest.raises(InterruptionError):
        fuse_to_file(*scene[:2], out, resume=resume, progress=stop, **OPTIONS)


@pytest.mark.parametrize(("stage", "done", "left"), [("sharpen", 2, 2), ("fuse", 1, 0)])
def test_a_run_that_was_stopped_goes_on_without_doing_anything_twice(
    scene, tmp_path, monkeypatch, stage, done, left
):
    unbroken, out = tmp_path / "unbroken.tif", tmp_path / "out.tif"
    fuse_to_file(*scene[:2], unbroken, **OPTIONS)
    begin(scene, out, stage, done)
    bands = out.with_name("out.tif.msi-1.zarr")
    assert len(finished(bands)) == 4 - left
    computed = []
    tile = Run.tile

    def watched(self, row, col):
        computed.append(self.pair.n_hsi)
        return tile(self, row, col)

    monkeypatch.setattr(Run, "tile", watched)
    fuse_to_file(*scene[:2], out, resume=True, **OPTIONS)
    assert computed.count(len(COARSE)) == left
    assert out.read_bytes() == unbroken.read_bytes()
    assert not partial(bands).exists()


@pytest.mark.parametrize("stage", ["sharpen", "fuse"])
def test_without_resume_nothing_is_left(scene, tmp_path, stage):
    begin(scene, tmp_path / "out.tif", stage, 1, resume=False)
    assert list(tmp_path.iterdir()) == []


def test_what_is_left_of_a_run_goes_with_the_next_result(scene, tmp_path):
    out = tmp_path / "out.tif"
    begin(scene, out, "sharpen", 2)
    with pytest.raises(ResumeError, match=r"out\.tif was begun: pass --resume"):
        fuse_to_file(*scene[:2], out, **OPTIONS)
    fuse_to_file(*scene[:2], out, overwrite=True, normalise=False, **OPTIONS)
    assert list(tmp_path.iterdir()) == [out]


def test_a_result_is_not_compared_with_coarse_bands(scene):
    hsi, msi, _ = scene
    result = fuse(hsi, msi, method="local_regression", psf="gaussian")
    found = evaluate(result, hsi=hsi, msi=msi, psf="gaussian")
    assert any("2, 4 have pixels 2 times as wide" in note for note in found.notes)
    correlation = found.per_band["msi_correlation"]
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(correlation)), COARSE)
    assert np.nanmin(correlation) > 0.99
    assert found.response.shape == (4, 12)
    fine = evaluate(result, hsi=hsi, msi=msi.isel(band=[0, 2]), psf="gaussian")
    assert found.consistency["spatial"] == pytest.approx(fine.consistency["spatial"])


@settings(max_examples=30, deadline=None)
@given(
    factor=st.integers(1, 5),
    size=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    seed=st.integers(0, 99),
    share=st.sampled_from([0.0, 0.3, 0.7]),
)
def test_means_are_over_what_has_data(factor, size, seed, share):
    rng = np.random.default_rng(seed)
    image = rng.random((2, size[0] * factor, size[1] * factor)).astype(np.float32)
    image[rng.random(image.shape) < share] = np.nan
    source = MeansSource(ArraySource(image), factor)
    found = source.read(slice(None), slice(None))
    assert found.shape == source.shape == (2, *size)
    for band, row, col in np.ndindex(*found.shape):
        block = image[band, row * factor :, col * factor :][:factor, :factor]
        seen = block[np.isfinite(block)]
        expected = seen.mean() if seen.size else np.nan
        np.testing.assert_allclose(found[band, row, col], expected, rtol=1e-5)
    inner = source.read(slice(-1, 1), slice(0, 1))
    assert np.isnan(inner[:, 0]).all()
    np.testing.assert_array_equal(inner[:, 1], found[:, 0, :1])
