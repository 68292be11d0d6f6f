"""The MSI in the light of its HSI: relative radiometric normalisation."""

import json
import logging

import numpy as np
import pytest
from scenes import pair

from emrdiff_geo.alignment.cells import CELL, CELLS, cell_edge
from emrdiff_geo.alignment.light import LARGEST, LitSource, measure_gains
from emrdiff_geo.alignment.measuring import measure_pair
from emrdiff_geo.fusion import fuse
from emrdiff_geo.grids.pair import pair_scenes
from emrdiff_geo.grids.sources import ArraySource

RATIO = 4
SIZE = 192


@pytest.fixture(autouse=True)
def the_light_alone(monkeypatch):
    """Haze that is not yet taken out makes the smooth ground of these scenes pass for noise."""
    monkeypatch.setattr("emrdiff_geo.alignment.measuring.denoised", lambda pair, statistics: pair)


ACROSS = SIZE // RATIO // CELL


def haze(height=SIZE, width=SIZE):
    """A gain of every pixel, other for every band."""
    y, x = np.mgrid[:height, :width] / SIZE
    bands = np.arange(4)[:, None, None]
    return (1 + 0.2 * np.sin(4 * x + bands) * np.cos(3 * y)).astype(np.float32)


def other_light(gain):
    hsi, msi, cube = pair(SIZE, SIZE, RATIO)
    return hsi, msi.assign(image=msi["image"] * gain), msi, cube


def error(image, wanted):
    return float(np.sqrt(np.mean(np.square(image - wanted))))


def test_light_is_taken_out():
    hsi, hazy, clear, _ = other_light(haze())
    lit, _ = measure_pair(pair_scenes(hsi, hazy), psf="gaussian")
    everything = slice(0, SIZE), slice(0, SIZE)
    found, hazy, clear = lit.msi.read(*everything), hazy["image"].values, clear["image"].values
    # But for a gain that the whole scene has.
    found = found * (clear.mean((1, 2)) / found.mean((1, 2)))[:, None, None]
    assert error(found, clear) < 0.25 * error(hazy, clear)


@pytest.mark.parametrize("method", ["regression", "local_regression", "gaussian_process"])
def test_fusion_gains_by_it_and_says_so(method, caplog):
    hsi, hazy, _, cube = other_light(haze())
    caplog.set_level(logging.INFO)
    images, told = {}, {}
    for normalise in (True, False):
        result = fuse(hsi, hazy, method=method, normalise=normalise)
        images[normalise] = result["image"].values
        told[normalise] = json.loads(result.attrs["emrdiff_provenance"])
    assert error(images[True], cube) < 0.6 * error(images[False], cube)
    assert told[False]["parameters"]["normalise"] is False
    said = [any("light of the HSI" in note for note in told[n]["notes"]) for n in (True, False)]
    assert said == [True, False]
    assert "The MSI was brought to the light of the HSI" in caplog.text


def test_images_that_agree_are_left_alone():
    hsi, msi, _ = pair(SIZE, SIZE, RATIO)
    scene = pair_scenes(hsi, msi)
    assert measure_pair(scene)[0] is scene
    hsi, hazy, *_ = other_light(haze())
    scene = pair_scenes(hsi, hazy)
    assert measure_pair(scene, normalise=False)[0] is scene


@pytest.mark.parametrize("shape", [(3660, 3660), (100_000, 400), (1_000_000, 1_000_000)])
def test_cells_do_not_get_more_with_the_scene(shape):
    edge = cell_edge(shape)
    assert edge % CELL == 0
    assert np.prod([-(-n // edge) for n in shape]) <= CELLS
    assert np.prod([-(-n // (edge - CELL)) for n in shape]) > CELLS


def test_cells_of_small_scenes_stay_as_they_are():
    assert cell_edge((1024, 1024)) == cell_edge((3, 3)) == CELL


def test_large_cells_lie_across_blocks(monkeypatch):
    hsi, msi, _ = pair(300, 548, RATIO)
    scene = pair_scenes(hsi, msi.assign(image=msi["image"] * haze(300, 548)))
    statistics = measure_pair(scene, psf="gaussian", normalise=False)[1].statistics
    monkeypatch.setattr("emrdiff_geo.alignment.cells.CELLS", 100)
    assert cell_edge(scene.lr_shape) == 12
    found = measure_gains(scene, statistics)
    assert found.shape == (4, 7, 12)
    monkeypatch.setattr("emrdiff_geo.alignment.cells.BLOCK", 1000)
    np.testing.assert_allclose(found, measure_gains(scene, statistics), rtol=1e-3)
    assert np.ptp(found) > 0.2


def test_large_cells_take_the_light_out_too(monkeypatch):
    monkeypatch.setattr("emrdiff_geo.alignment.cells.CELLS", 40)
    hsi, hazy, clear, _ = other_light(haze())
    lit, _ = measure_pair(pair_scenes(hsi, hazy), psf="gaussian")
    assert lit.msi.gains.shape == (4, 6, 6)
    assert lit.msi.edge == 2 * CELL * RATIO
    found = lit.msi.read(slice(0, SIZE), slice(0, SIZE))
    clear = clear["image"].values
    found = found * (clear.mean((1, 2)) / found.mean((1, 2)))[:, None, None]
    assert error(found, clear) < 0.4 * error(hazy["image"].values, clear)


def test_the_psf_is_found_through_haze():
    hsi, hazy, *_ = other_light(haze())
    lit, measured = measure_pair(pair_scenes(hsi, hazy))
    assert measured.statistics.degradation.psf == "gaussian"
    assert isinstance(lit.msi, LitSource)


def test_nodata_and_dark_bands():
    hsi, hazy, *_ = other_light(haze())
    plain = measure_pair(pair_scenes(hsi, hazy), psf="gaussian")[0].msi.gains
    values = hazy["image"].values.copy()
    values[:, : SIZE // 2, : SIZE // 4] = np.nan
    lit = measure_pair(pair_scenes(hsi, hazy.assign(image=(hazy["image"].dims, values))))[0]
    assert lit.msi.gains.shape == (4, ACROSS, ACROSS)
    assert np.isfinite(lit.msi.gains).all()
    far = np.s_[:, :, ACROSS // 2 :]
    np.testing.assert_allclose(lit.msi.gains[far], plain[far], atol=0.05)
    read = lit.msi.read(slice(0, SIZE), slice(0, SIZE))
    assert np.array_equal(np.isnan(read), np.isnan(values))
    # A band without a mean has no gain.
    dark = hazy.copy(deep=True)
    dark["image"][1] -= dark["image"][1].mean()
    gains = measure_pair(pair_scenes(hsi, dark), psf="gaussian")[0].msi.gains
    assert (gains[1] == 1).all()
    assert 1 / LARGEST <= gains.min() < gains.max() <= LARGEST
    # Without any nothing is changed.
    nothing = pair_scenes(hsi, hazy.assign(image=hazy["image"] * 0 + 1))
    assert measure_pair(nothing)[0] is nothing


def test_a_pixel_has_one_gain_whatever_window_it_is_read_through():
    rng = np.random.default_rng(0)
    values = rng.random((2, 40, 56)).astype(np.float32)
    gains = rng.uniform(0.5, 2, (2, 3, 4)).astype(np.float32)
    source = LitSource(ArraySource(values), gains, 16)
    whole = source.read(slice(0, 40), slice(0, 56))
    for rows, cols in ((slice(0, 40), slice(3, 9)), (slice(7, 23), slice(30, 56))):
        np.testing.assert_array_equal(source.read(rows, cols), whole[:, rows, cols])
    # In the middle of a cell it is the cell's own, beyond the outer middles the outer cell's.
    np.testing.assert_allclose(whole[:, 0, 0], values[:, 0, 0] * gains[:, 0, 0])
    middle = (whole / values)[:, 23:25, 23:25].mean((1, 2))
    np.testing.assert_allclose(middle, gains[:, 1, 1], rtol=0.05)
    outside = source.read(slice(-2, 2), slice(0, 4))
    assert np.isnan(outside[:, :2]).all()
    np.testing.assert_array_equal(outside[:, 2:], whole[:, :2, :4])
    one = LitSource(ArraySource(values), gains[:, :1, :1], 64).read(slice(0, 40), slice(0, 56))
    np.testing.assert_allclose(one, values * gains[:, :1, :1], rtol=1e-6)
