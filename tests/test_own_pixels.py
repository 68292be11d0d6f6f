"""Grids that do not nest: what the HSI's own pixels see, and what is made of them."""

import numpy as np
import pytest
from affine import Affine
from grids import ALL, UTM33, X, Y, image, utm
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from scenes import reference_cube

from emrdiff_geo.alignment.measuring import measure_pair
from emrdiff_geo.alignment.own_pixels import (
    GuidedSource,
    OwnPixels,
    SeenSource,
    guided,
    interpolated,
)
from emrdiff_geo.alignment.seen import kernels_of, seen_at, seen_of, seen_on_mesh
from emrdiff_geo.degradation.degrade import PSFS, Degradation
from emrdiff_geo.evaluation.evaluate import evaluate
from emrdiff_geo.fusion import fuse
from emrdiff_geo.grids.pair import pair_scenes
from emrdiff_geo.grids.resample import PixelMap
from emrdiff_geo.grids.sources import ArraySource

SIZE, BANDS = 160, 12
NM = np.linspace(430.0, 900.0, BANDS)
MSI = [1, 4, 6, 10]


@pytest.fixture(scope="module")
def cube():
    return reference_cube(SIZE, SIZE, BANDS)


def seen_by(cube, box: GeoBox, psf="gaussian", size=4.3):
    """The HSI of a sensor whose pixels of `size` fine pixels lie on any grid."""
    fine = utm(1, cube.shape[1:])
    y, x = np.meshgrid(*(np.arange(n) + 0.5 for n in box.shape), indexing="ij")
    u, v = PixelMap.between(box, fine)(x, y)
    # A whole ratio near the size, whose kernel is stretched.
    if psf == "area":
        offset = (np.arange(9) - 4)[None]
        kernel = np.clip(
            np.minimum(offset + 0.5, size / 2) - np.maximum(offset - 0.5, -size / 2), 0, 1
        )
    else:
        sigma = size * Degradation(1).sigma[0]
        kernel = np.exp(-((np.arange(25) - 12.0)[None] ** 2) / (2 * sigma**2))
    kernel /= kernel.sum()
    padded = np.pad(cube, ((0, 0), (40, 40), (40, 40)), mode="symmetric")
    seen = seen_at(padded, v.ravel() + 40, u.ravel() + 40, (kernel, kernel))
    return image(seen[..., 0, 0].reshape(-1, *box.shape), box, NM)


def turned(degrees: float, size: float, shape: tuple[int, int]) -> GeoBox:
    """A grid over the middle of the scene, turned."""
    middle = Affine.translation(X + SIZE / 2, Y - SIZE / 2) * Affine.rotation(degrees)
    height, width = shape
    return GeoBox(
        shape, middle * Affine(size, 0, -size * width / 2, 0, -size, size * height / 2), UTM33
    )


GRIDS = {
    "ratio 4, another origin": (utm(4, (39, 39), 1.7, 2.3), 4),
    "ratio 4.3": (utm(4.3, (36, 36), 1.7, 2.3), 4.3),
    "south-up": (GeoBox((36, 36), Affine(4.3, 0, X + 1.7, 0, 4.3, Y - 157), UTM33), 4.3),
    "turned": (turned(25, 4.3, (26, 26)), 4.3),
}


def error(result, cube, edge=12):
    """RMS over the standard deviation of the scene, its edges left out."""
    grid = result["image"].odc.geobox.affine
    row, col = round(Y - grid.f), round(grid.c - X)
    height, width = result["image"].shape[1:]
    wanted = cube[:, row : row + height, col : col + width]
    difference = (result["image"].values - wanted)[:, edge:-edge, edge:-edge]
    assert np.isfinite(difference).mean() > 0.5
    return float(np.sqrt(np.nanmean(difference**2)) / cube.std())


@pytest.mark.parametrize("psf", ["gaussian", "area"])
@pytest.mark.parametrize("name", GRIDS)
def test_the_msi_guides_the_resampling(cube, name, psf, monkeypatch):
    msi = image(cube[MSI], utm(1, (SIZE, SIZE)), NM[MSI])
    box, size = GRIDS[name]
    hsi, options = seen_by(cube, box, psf, size), {"method": "local_regression", "force": True}
    found = error(fuse(hsi, msi, **options), cube)
    monkeypatch.setattr("emrdiff_geo.alignment.measuring.guided", lambda pair, *known: pair)
    plain = error(fuse(hsi, msi, **options), cube)
    assert found < 0.01
    assert found < 0.5 * plain


def gradient():
    """A gain of every pixel, other for every band."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    bands = np.arange(len(MSI))[:, None, None]
    return (1 + 0.2 * np.sin(4 * x + bands) * np.cos(3 * y)).astype(np.float32)


CHANGES = {"haze": lambda msi: msi * gradient(), "gamma": lambda msi: msi**0.45}


@pytest.mark.parametrize(("change", "most"), [("haze", 0.8), ("gamma", 0.95)])
def test_the_guide_is_the_msi_as_it_was_corrected(cube, change, most, monkeypatch):
    box, size = GRIDS["ratio 4.3"]
    hsi = seen_by(cube, box, size=size)
    msi = image(CHANGES[change](cube[MSI]).astype(np.float32), utm(1, (SIZE, SIZE)), NM[MSI])
    options = {"method": "local_regression", "force": True}
    found = error(fuse(hsi, msi, **options), cube)
    guides = []

    def once(pair, *known):
        guides.append(pair)
        return guided(pair, *known) if len(guides) == 1 else pair

    monkeypatch.setattr("emrdiff_geo.alignment.measuring.guided", once)
    given = error(fuse(hsi, msi, **options), cube)
    assert len(guides) > 1
    assert found < most * given


@pytest.mark.parametrize("name", GRIDS)
def test_the_truth_agrees_with_its_pair(cube, name):
    box, size = GRIDS[name]
    fine = utm(1, (SIZE, SIZE))
    truth, hsi, msi = image(cube, fine, NM), seen_by(cube, box, size=size), image(cube[MSI], fine)
    found = evaluate(truth, hsi=hsi, msi=msi).consistency
    assert found["spectral"]["correlation_min"] > 0.9995
    assert found["spectral"]["relative_rmse"] < 0.01
    assert found["spatial"]["correlation_min"] > 0.999
    mean = evaluate(truth, hsi=hsi, msi=msi, psf="area").consistency
    assert mean["spectral"]["relative_rmse"] > 3 * found["spectral"]["relative_rmse"]


def test_a_file_stored_south_up_gives_the_same(cube):
    msi = image(cube[MSI], utm(1, (SIZE, SIZE)), NM[MSI])
    up = seen_by(cube, utm(4.3, (36, 36), 1.7, 2.3))
    down = up.isel(y=slice(None, None, -1))
    results = [
        fuse(hsi, msi, method="regression", force=True)["image"].values for hsi in (up, down)
    ]
    np.testing.assert_allclose(*results, rtol=2e-3, equal_nan=True)


@pytest.mark.parametrize("ratio", [2, 3, 4, 8])
@pytest.mark.parametrize("psf", PSFS)
def test_where_grids_nest_it_is_the_degradation(ratio, psf):
    fine = np.random.default_rng(0).random((2, 12 * ratio, 12 * ratio), np.float32)
    degradation = Degradation(ratio, psf)
    rows, cols = (a.ravel() for a in np.mgrid[3:9, 4:8])
    seen = seen_at(fine, (rows + 0.5) * ratio, (cols + 0.5) * ratio, kernels_of(degradation))
    wanted = degradation.down(fine)[:, rows, cols]
    np.testing.assert_allclose(seen[..., 0, 0], wanted, rtol=1e-5)


@given(st.floats(0, 20), st.floats(0, 20), st.integers(1, 6), st.integers(1, 12))
def test_weights_sum_to_one_and_keep_a_plane(y, x, k, m):
    kernels = np.random.default_rng(m).random((k, m)) + 0.1
    kernels = (kernels + kernels[:, ::-1]) / (2 * kernels.sum(axis=1, keepdims=True))
    rows, cols = np.mgrid[0:60, 0:60] + 0.5
    plane = np.stack([np.ones_like(rows), rows, cols])
    seen = seen_at(plane, np.array([y + 20]), np.array([x + 20]), (kernels, kernels))
    wanted = np.array([1, y + 20, x + 20])[:, None, None, None]
    np.testing.assert_allclose(seen, np.broadcast_to(wanted, seen.shape), rtol=1e-5)


def test_a_point_sees_the_same_whoever_is_beside_it():
    rng = np.random.default_rng(0)
    fine, kernel = rng.random((3, 90, 90), np.float32), kernels_of(Degradation(6))
    y, x = rng.uniform(0, 90, (2, 50))
    together = seen_of(ArraySource(fine), y, x, kernel)
    alone = np.concatenate(
        [seen_of(ArraySource(fine), y[i : i + 1], x[i : i + 1], kernel) for i in range(50)], axis=1
    )
    np.testing.assert_array_equal(together, alone)


def test_a_mesh_sees_what_its_points_see():
    fine = reference_cube(120, 120, 3).copy()
    fine[:, 30:50, 40:70] = np.nan
    source, kernel = ArraySource(fine), kernels_of(Degradation(8))
    y, x = np.arange(-3, 125, 8.3), np.arange(2, 118, 7.9)
    mesh = seen_on_mesh(source, y, x, kernel)
    points = seen_of(source, *(a.ravel() for a in np.meshgrid(y, x, indexing="ij")), kernel)
    np.testing.assert_allclose(mesh, points.reshape(mesh.shape), rtol=1e-5)
    assert np.isnan(mesh).any()
    one_by_one = [[seen_on_mesh(source, y[[i]], x[[j]], kernel) for j in (3, 6)] for i in (2, 9)]
    assert np.block(one_by_one).tobytes() == mesh[:, [2, 9]][..., [3, 6]].tobytes()


def test_half_of_what_a_pixel_sees_must_be_there():
    fine = np.full((1, 64, 64), 7, np.float32)
    fine[:, :, 32:] = np.nan
    seen = seen_of(
        ArraySource(fine),
        np.full(3, 32.0),
        np.array([20.0, 31.9, 33.0]),
        kernels_of(Degradation(8)),
    )
    np.testing.assert_allclose(seen[0], [7, 7, np.nan], rtol=1e-5)


def test_interpolation_meets_pixels_and_closes_gaps():
    rng = np.random.default_rng(0)
    coarse = rng.random((2, 12, 12), np.float32)
    at = np.arange(3, 9) + 0.5
    np.testing.assert_allclose(
        interpolated(coarse, at, at), coarse[:, range(3, 9), range(3, 9)], rtol=1e-5
    )
    flat = np.full((1, 12, 12), 3, np.float32)
    flat[:, 5, 5] = np.nan
    y, x = rng.uniform(0.1, 11.9, (2, 400))
    np.testing.assert_allclose(interpolated(flat, y, x), 3, rtol=1e-5)
    flat[:, 2:8, 2:8] = np.nan
    assert np.isnan(interpolated(flat, np.array([5.0]), np.array([5.0]))).all()


def test_interpolation_in_parts_changes_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    coarse = rng.random((3, 12, 12), np.float32)
    coarse[:, 5, 5] = np.nan
    y, x = rng.uniform(0.1, 11.9, (2, 401))
    whole = interpolated(coarse, y, x)
    monkeypatch.setattr("emrdiff_geo.alignment.own_pixels.POINTS", 100)
    np.testing.assert_array_equal(interpolated(coarse, y, x), whole)
    assert interpolated(coarse, y[:0], x[:0]).shape == (3, 0)


def test_any_window_has_the_same_pixels(cube):
    msi = image(cube[MSI], utm(1, (SIZE, SIZE)), NM[MSI])
    scene = pair_scenes(seen_by(cube, GRIDS["turned"][0]), msi)
    pair, _ = measure_pair(scene, normalise=False)
    assert isinstance(pair.hsi, GuidedSource)
    whole = pair.hsi.read(ALL, ALL)
    part = pair.hsi.read(slice(7, 19), slice(10, 21))
    np.testing.assert_array_equal(part, whole[:, 7:19, 10:21])
    beyond = pair.hsi.read(slice(-2, 3), slice(0, 4))
    np.testing.assert_array_equal(beyond[:, 2:], whole[:, :3, :4])
    assert np.isnan(beyond[:, :2]).all()


def test_gaps_of_either_image_stay_where_they_are(cube):
    hsi, msi = seen_by(cube, utm(4.3, (36, 36), 1.7, 2.3)), cube[MSI].copy()
    hsi = hsi.copy()
    hsi[:, 10:12, 20:23] = np.nan
    msi[:, 100:120, 30:50] = np.nan
    msi = image(msi, utm(1, (SIZE, SIZE)), NM[MSI])
    result = fuse(hsi, msi, method="local_regression", force=True, psf="gaussian")
    nan = np.isnan(result["image"].values).any(axis=0)
    assert 0.02 < nan.mean() < 0.06
    whole = fuse(
        seen_by(cube, utm(4.3, (36, 36), 1.7, 2.3)),
        image(cube[MSI], utm(1, (SIZE, SIZE)), NM[MSI]),
        method="local_regression",
        force=True,
        psf="gaussian",
    )
    far = (result["image"] - whole["image"]).values[:, 60:90, 10:60]
    assert np.abs(far).max() < 0.03 * cube.std()


def test_bands_that_are_left_out_stay_as_they_were(cube):
    hsi = seen_by(cube, GRIDS["ratio 4.3"][0])
    hsi = hsi.assign_coords(good_band=("band", np.arange(BANDS) != 3))
    plain = pair_scenes(hsi, image(cube[MSI], utm(1, (SIZE, SIZE)), NM[MSI]))
    pair, _ = measure_pair(plain)
    before, after = (p.hsi.read(slice(5, 25), slice(5, 25)) for p in (plain, pair))
    np.testing.assert_array_equal(before[3], after[3])
    assert (before[2] != after[2]).any()


def test_bands_without_data_stay_without(cube):
    hsi = seen_by(cube, utm(4.3, (36, 36), 1.7, 2.3)).copy()
    hsi[3] = np.nan
    msi = image(cube[MSI], utm(1, (SIZE, SIZE)), NM[MSI])
    result = fuse(hsi, msi, method="regression", force=True)["image"].values
    assert np.isnan(result[3]).all()
    assert np.isfinite(result[[0, 11], 20:-20, 20:-20]).all()


def test_the_own_pixels_of_a_strip_are_those_around_the_frame(cube):
    hsi = seen_by(cube, utm(4, (39, 39), 1.7, 2.3))
    msi = image(cube[MSI][:, 40:100, 20:90], utm(1, (60, 70), 20, 40), NM[MSI])
    pair = pair_scenes(hsi, msi)
    own = OwnPixels.of(pair)
    rows, cols = slice(0, own.shape[0]), slice(0, own.shape[1])
    y, x = own.centres(rows, cols)
    assert max(own.shape) < 24
    np.testing.assert_array_equal(
        own.read(rows, cols), hsi.values[:, own.first[0] :, own.first[1] :][:, rows, cols]
    )
    # What they would see of the truth is what they are.
    frame = pair.hr_geobox.affine
    top, left = round(Y - frame.f), round(frame.c - X)
    shape = pair.hr_shape
    truth = ArraySource(cube[:, top : top + shape[0], left : left + shape[1]])
    seen = SeenSource(truth, own, kernels_of(Degradation(4))).read(rows, cols)
    inside = (y > 12) & (y < shape[0] - 12) & (x > 12) & (x < shape[1] - 12)
    np.testing.assert_allclose(seen[:, inside], own.read(rows, cols)[:, inside], rtol=0.01)
