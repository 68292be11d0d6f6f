"""Two spectrometers in one HSI that do not lie on each other."""

import json

import numpy as np
import pytest
from scenes import dataset
from scipy import ndimage

from emrdiff_geo.alignment.measuring import with_whole_spectra
from emrdiff_geo.alignment.own_pixels import plain_hsi
from emrdiff_geo.alignment.spectrometers import AlignedSource, aligned
from emrdiff_geo.degradation.degrade import Degradation
from emrdiff_geo.evaluation.evaluate import evaluate
from emrdiff_geo.fusion import fuse
from emrdiff_geo.grids.pair import pair_scenes
from emrdiff_geo.spectra.spectral import gaussian_response

SIZE, RATIO = 160, 4
NM = np.arange(500.0, 1300, 16)
SECOND = NM > 950
OFF = 0.2, -0.12


def cube(seed=0):
    """Mixtures of six materials with smooth spectra."""
    rng = np.random.default_rng(seed)
    spectra = ndimage.gaussian_filter1d(rng.random((len(NM), 6)), 6, axis=0) ** 2
    texture = rng.standard_normal((6, SIZE, SIZE))
    layers = [ndimage.gaussian_filter(texture, (0, s, s)) * s for s in (0.8, 2, 6)]
    return (1000 + 3000 * np.tensordot(spectra, sum(layers), axes=1)).astype(np.float32)


def scene(off=OFF, bands=(560, 660, 840), noise=0.0, move_hsi=0.0, order=None):
    """HSI whose second spectrometer lies off, down and to the right in its pixels; MSI; truth."""
    truth = cube()
    seen = truth.copy()
    down, right = (-RATIO * d for d in off)
    seen[SECOND] = [ndimage.shift(b, (down, right), order=3, mode="reflect") for b in seen[SECOND]]
    low = Degradation(RATIO).down(seen)
    low += np.random.default_rng(1).normal(0, noise * low.std(), low.shape).astype(np.float32)
    msi = np.tensordot(gaussian_response(bands, [40] * len(bands), NM), truth, axes=1).astype(
        np.float32
    )
    order = np.arange(len(NM)) if order is None else order
    corner = 400000.0 + move_hsi, 5800000.0
    hsi = dataset(low[order], 10.0 * RATIO, NM[order], corner=corner)
    return hsi, dataset(msi, 10.0), truth


def found(hsi, msi):
    pair = pair_scenes(hsi, msi)
    return pair, aligned(pair, np.ones(pair.n_hsi, bool))


def error(result, truth, bands=SECOND):
    return np.sqrt(np.mean(np.square(result["image"].values[bands] - truth[bands])))


@pytest.mark.parametrize("off", [OFF, (-0.1, 0.05), (0.7, 0.5)])
@pytest.mark.parametrize("noise", [0, 0.01])
def test_the_shift_is_found(off, noise):
    pair, moved = found(*scene(off, noise=noise)[:2])
    assert isinstance(moved.hsi, AlignedSource)
    np.testing.assert_allclose(moved.hsi.off, off, atol=0.02)
    np.testing.assert_array_equal(moved.hsi.bands, SECOND)
    assert len(moved.notes) == len(pair.notes) + 1


NOTHING = "none", "slight", "no wavelengths", "visible only", "few pixels", "no MSI", "one value"


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("kind", NOTHING)
def test_there_is_nothing_to_find(kind):
    hsi, msi, _ = scene({"none": (0, 0), "slight": (0.03, -0.02)}.get(kind, OFF))
    if kind == "no wavelengths":
        hsi = hsi.drop_vars("wavelength")
    elif kind == "visible only":
        hsi = hsi.isel(band=NM < 900)
    elif kind == "no MSI":
        msi["image"][1] = np.nan
    elif kind == "one value":
        msi["image"][:] = 3
    elif kind == "few pixels":
        hsi, msi = hsi.isel(y=slice(10), x=slice(10)), msi.isel(y=slice(40), x=slice(40))
    pair, moved = found(hsi, msi)
    assert moved is pair


@pytest.mark.parametrize("noise", [0, 0.01])
@pytest.mark.parametrize("off", [(0.3, -0.2), (0.15, 0.1)])
def test_images_that_lie_apart_are_not_two_spectrometers(off, noise):
    hsi, msi, _ = scene((0, 0))
    low = Degradation(RATIO).down(
        ndimage.shift(cube(), (0, *(-RATIO * d for d in off)), order=3, mode="reflect")
    )
    low += np.random.default_rng(1).normal(0, noise * low.std(), low.shape).astype(np.float32)
    pair, moved = found(hsi.assign(image=hsi["image"].copy(data=low)), msi)
    assert moved is pair


def test_what_fills_the_gaps_of_the_infrared_does_not_count():
    hsi, msi, _ = scene()
    hsi["image"][SECOND, :, :20] = np.nan
    pair = with_whole_spectra(pair_scenes(hsi, msi))[0]
    assert pair.broken is not None
    moved = aligned(pair, np.ones(pair.n_hsi, bool))
    np.testing.assert_allclose(moved.hsi.off, OFF, atol=0.02)


def test_bands_in_any_order():
    order = np.random.default_rng(0).permutation(len(NM))
    _, moved = found(*scene(order=order)[:2])
    np.testing.assert_array_equal(moved.hsi.bands, SECOND[order])


def test_windows_have_the_same_pixels():
    hsi, msi, _ = scene()
    hsi["image"][:, 12:15, 20:22] = np.nan
    msi["image"][:, :9, :30] = np.nan
    _, moved = found(hsi, msi)
    whole = moved.hsi.read(slice(0, 40), slice(0, 40))
    for rows, cols in ((slice(0, 7), slice(3, 40)), (slice(11, 29), slice(17, 18))):
        np.testing.assert_array_equal(moved.hsi.read(rows, cols), whole[:, rows, cols])
    given = pair_scenes(hsi, msi).hsi.read(slice(0, 40), slice(0, 40))
    np.testing.assert_array_equal(np.isnan(whole), np.isnan(given))
    np.testing.assert_array_equal(whole[~SECOND], given[~SECOND])


def test_fused_as_if_the_bands_lay_on_each_other():
    hsi, msi, truth = scene()
    results = [
        fuse(hsi, msi, normalise=n, method="local_regression", psf="gaussian")
        for n in (True, False)
    ]
    ours, raw = (error(r, truth) for r in results)
    assert ours < 0.5 * raw
    assert error(results[0], truth, ~SECOND) < 1.02 * error(results[1], truth, ~SECOND)
    notes = [json.loads(r.attrs["emrdiff_provenance"])["notes"] for r in results]
    told = [sum("brought to where those lie" in n for n in found) for found in notes]
    assert told == [1, 0]


def test_own_pixels_of_grids_that_do_not_nest():
    hsi, msi, _ = scene(move_hsi=13.0)
    _, moved = found(hsi, msi)
    source = plain_hsi(moved).source
    assert isinstance(source, AlignedSource)
    np.testing.assert_allclose(source.off, OFF, atol=0.03)


def test_results_are_judged_by_bands_that_lie_on_each_other():
    hsi, msi, _ = scene()
    result = fuse(hsi, msi, method="local_regression")
    found = evaluate(result, hsi=hsi, msi=msi, psf="auto")
    assert any("brought to where those lie" in note for note in found.notes)
    assert found.per_band["hsi_relative_rmse"].max() < 0.01
