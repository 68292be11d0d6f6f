"""Pixels of the HSI that lie beside their grid: registration that varies over the scene."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import dataset, pair, reference_cube, simulated
from scipy import ndimage

from emrdiff_geo.alignment import placing
from emrdiff_geo.alignment.measuring import measure_pair
from emrdiff_geo.alignment.own_pixels import GuidedSource
from emrdiff_geo.evaluation.evaluate import evaluate
from emrdiff_geo.fusion import fuse
from emrdiff_geo.grids.displacement import Displacement
from emrdiff_geo.grids.pair import pair_scenes

RATIO, SIZE = 4, 192
NM = np.linspace(430.0, 900.0, 12)
ALL = slice(0, SIZE // RATIO)


def wave(height, width, size):
    """Displacements of fine pixels, down and to the right, in fine pixels."""
    y, x = np.mgrid[:height, :width] / SIZE
    down = np.sin(5 * x + 1) * np.cos(4 * y)
    return size * np.stack([down, np.cos(4 * x - 2) * np.sin(5 * y)])


def distorted(size, gain=1.0):
    """HSI, an MSI whose geometry is another, and the cube in the MSI's geometry."""
    cube = reference_cube(SIZE, SIZE)
    lr, _, _ = simulated(cube, RATIO)
    places = np.mgrid[:SIZE, :SIZE] + wave(SIZE, SIZE, size)
    moved = np.stack([ndimage.map_coordinates(b, places, order=3, mode="reflect") for b in cube])
    _, hr, _ = simulated(moved, RATIO)
    hsi = dataset(lr, 10.0 * RATIO, NM)
    return hsi, dataset((hr * gain).astype(np.float32), 10.0, [490, 560, 665, 840]), moved


def inner_error(image, wanted):
    return float(np.sqrt(np.mean(np.square((image - wanted)[:, 16:-16, 16:-16]))))


fields = st.builds(
    lambda seed, size: Displacement(
        ndimage.gaussian_filter(
            np.random.default_rng(seed).standard_normal((2, 6, 7)), (0, 1, 1)
        ).astype(np.float32)
        * size,
        16,
    ),
    st.integers(0, 1000),
    st.floats(0, 8),
)


@given(fields, st.floats(-20, 120), st.floats(-20, 130))
def test_what_was_moved_is_found_again(field, y, x):
    y, x = np.array([y]), np.array([x])
    back = field.origin(*field.moved(y, x))
    np.testing.assert_allclose(back, [y, x], atol=0.05)


@given(fields, st.floats(-3, 3), st.floats(-3, 3))
def test_one_displacement_after_another(field, down, right):
    everywhere = np.broadcast_to(np.float32([down, right])[:, None, None], field.nodes.shape)
    both = field.then(Displacement(everywhere, field.edge))
    np.testing.assert_allclose(both.nodes, field.nodes + everywhere, atol=1e-5)


def test_a_displacement_is_found():
    hsi, msi, _ = distorted(1.0)
    found, _ = measure_pair(pair_scenes(hsi, msi), psf="gaussian")
    assert isinstance(found.hsi, GuidedSource)
    y, x = (np.mgrid[: SIZE // RATIO, : SIZE // RATIO] + 0.5) * RATIO
    # What the MSI shows at a place is what the HSI has further on: it lies further back.
    wanted = -wave(SIZE, SIZE, 1.0)[:, 2::RATIO, 2::RATIO]
    off = found.moved.at(y, x) - wanted
    assert np.sqrt(np.mean(np.square(off))) < 0.3 * np.sqrt(np.mean(np.square(wanted)))


@pytest.mark.parametrize("method", ["regression", "local_regression", "gaussian_process"])
def test_fusion_gains_by_it_and_says_so(method):
    hsi, msi, cube = distorted(1.0)
    errors, told = {}, {}
    for normalise in (True, False):
        result = fuse(hsi, msi, method=method, normalise=normalise)
        errors[normalise] = inner_error(result["image"].values, cube)
        told[normalise] = json.loads(result.attrs["emrdiff_provenance"])["notes"]
    assert errors[True] < 0.5 * errors[False]
    assert [sum("off their grid" in n for n in told[k]) for k in (True, False)] == [1, 0]


def test_a_shift_that_the_psf_does_not_know_is_found_too():
    cube = reference_cube(SIZE, SIZE)
    lr, hr, _ = simulated(cube, RATIO)
    hsi = dataset(lr, 10.0 * RATIO, NM)
    msi = dataset(np.roll(hr, 1, axis=2), 10.0, [490, 560, 665, 840])
    found, _ = measure_pair(pair_scenes(hsi, msi), psf="gaussian")
    down, right = found.moved.nodes[:, 2:-2, 2:-2].mean(axis=(1, 2))
    assert (down, right) == (pytest.approx(0, abs=0.1), pytest.approx(1, abs=0.2))


def test_other_light_noise_and_images_that_agree_move_nothing():
    hsi, msi, _ = pair(SIZE, SIZE, RATIO)
    scene = pair_scenes(hsi, msi)
    assert measure_pair(scene)[0] is scene
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    image = msi["image"]
    noise = np.random.default_rng(0).standard_normal(image.shape).astype(np.float32)
    hazy = image * (1 + 0.2 * np.sin(4 * x) * np.cos(3 * y)).astype(np.float32)
    for other in (hazy, image + 0.03 * float(image.std()) * noise):
        scene = pair_scenes(hsi, msi.assign(image=other))
        assert measure_pair(scene)[0].moved is None


@pytest.mark.parametrize(
    ("bands", "share", "pixels", "believed"),
    [(1, 0.2, 0.5, False), (1, 0.3, 0.5, True), (4, 0.2, 0.5, True), (4, 0.9, 3.0, False)],
)
def test_one_band_has_to_show_more_and_nothing_is_believed_beyond_reason(
    monkeypatch, bands, share, pixels, believed
):
    hsi, msi, _ = pair(SIZE, SIZE, RATIO)
    scene = pair_scenes(hsi, msi.isel(band=slice(bands)))
    found = Displacement(np.full((2, 12, 12), pixels * RATIO / np.sqrt(2), np.float32), 16)
    monkeypatch.setattr(placing, "measure_displacement", lambda *known: (found, share))
    known = SimpleNamespace(agree=False, moments=SimpleNamespace(count=2304))
    assert (placing.placed(scene, known).moved is not None) is believed


def test_a_distortion_in_other_light():
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    hsi, msi, cube = distorted(1.0, 1 + 0.1 * np.sin(4 * x) * np.cos(3 * y))
    errors = [
        inner_error(fuse(hsi, msi, method="gaussian_process", normalise=n)["image"].values, cube)
        for n in (True, False)
    ]
    assert errors[0] < 0.5 * errors[1]


def test_tiles_and_windows_agree():
    hsi, msi, _ = distorted(1.0)
    whole, tiles = (
        fuse(hsi, msi, method="local_regression", tile=tile)["image"].values for tile in (256, 32)
    )
    assert np.abs(whole - tiles).max() < 1e-3 * whole.std()
    found, _ = measure_pair(pair_scenes(hsi, msi))
    all_of_it = found.hsi.read(ALL, ALL)
    part = found.hsi.read(slice(7, 19), slice(10, 21))
    np.testing.assert_allclose(part, all_of_it[:, 7:19, 10:21], rtol=1e-4)


def test_gaps_stay_where_they_are():
    hsi, msi, cube = distorted(1.0)
    hsi["image"][:, 10:13, 20:24] = np.nan
    msi["image"][:, 120:140, 30:60] = np.nan
    result = fuse(hsi, msi, method="local_regression")["image"].values
    gaps = np.zeros((SIZE, SIZE), bool)
    gaps[40:52, 80:96] = gaps[120:140, 30:60] = True
    np.testing.assert_array_equal(np.isnan(result).all(axis=0), gaps)
    np.testing.assert_array_equal(np.isnan(result).any(axis=0), gaps)
    far = np.s_[:, 60:110, 16:-16]
    assert np.sqrt(np.mean(np.square(result[far] - cube[far]))) < 0.05 * cube.std()


def test_a_result_is_compared_where_the_pixels_lie():
    hsi, msi, _ = distorted(1.0)
    result = fuse(hsi, msi, method="local_regression")
    found, named = (
        evaluate(result, hsi=hsi, msi=msi, psf=psf).consistency["spectral"]["relative_rmse"]
        for psf in ("auto", "gaussian")
    )
    assert found < 0.5 * named


def test_grids_that_do_not_nest():
    cube = reference_cube(SIZE, SIZE)
    places = np.mgrid[:SIZE, :SIZE] + wave(SIZE, SIZE, 1.0)
    moved = np.stack([ndimage.map_coordinates(b, places, order=3, mode="reflect") for b in cube])
    _, hr, _ = simulated(moved, RATIO)
    # An HSI whose corner lies half an HSI pixel and a bit within.
    lr, _, _ = simulated(np.ascontiguousarray(cube[:, 3:-1, 3:-1]), RATIO)
    hsi = dataset(lr, 10.0 * RATIO, NM, corner=(400032.0, 5799968.0))
    msi = dataset(hr, 10.0, [490, 560, 665, 840])
    scene = pair_scenes(hsi, msi)
    assert scene.resampled
    found, _ = measure_pair(scene)
    assert found.moved is not None
    errors = []
    for normalise in (True, False):
        result = fuse(hsi, msi, method="local_regression", normalise=normalise, force=True)
        off = 5800000 - float(result.y[0]), float(result.x[0]) - 400000
        row, col = (round(v / 10 - 0.5) for v in off)
        image = result["image"].values
        wanted = moved[:, row : row + image.shape[1], col : col + image.shape[2]]
        errors.append(inner_error(image, wanted))
    assert errors[0] < 0.7 * errors[1]
