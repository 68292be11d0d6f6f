"""An MSI that is no linear measure of light."""

import logging

import numpy as np
import pytest
from scenes import pair

from emrdiff_geo.alignment.gamma import PowerSource, measure_power, raised
from emrdiff_geo.alignment.measuring import measure_pair
from emrdiff_geo.degradation.degrade import Degradation
from emrdiff_geo.fusion import fuse
from emrdiff_geo.grids.pair import pair_scenes
from emrdiff_geo.grids.sources import ArraySource

RATIO = 4
SIZE = 160


def photographed(power, hole=False, psf="gaussian"):
    """A pair whose MSI is a power of the light."""
    hsi, msi, cube = pair(SIZE, SIZE, RATIO)
    hsi = hsi.assign(image=(hsi["image"].dims, Degradation(RATIO, psf).down(cube)))
    values = msi["image"].values
    values = values.max() * (values / values.max()) ** power
    if hole:
        values[:, :40, :40] = np.nan
    return hsi, msi.assign(image=(msi["image"].dims, values.astype(np.float32))), cube


@pytest.mark.parametrize("power", [1 / 2.2, 0.8, 1.5])
@pytest.mark.parametrize(
    ("hole", "psf"), [(False, "gaussian"), (True, "gaussian"), (False, "area")]
)
def test_the_power_is_found(power, hole, psf):
    hsi, msi, _ = photographed(power, hole, psf)
    changed, measured = measure_pair(pair_scenes(hsi, msi))
    source = changed.msi if isinstance(changed.msi, PowerSource) else changed.msi.source
    assert source.power == pytest.approx(1 / power, rel=0.05)
    assert measured.statistics.degradation.psf == psf


def test_a_linear_image_stays_as_it_is():
    hsi, msi, _ = pair(SIZE, SIZE, RATIO)
    scene = pair_scenes(hsi, msi)
    _, measured = measure_pair(scene)
    assert measure_power(scene, measured.statistics) == 1
    # Nor does anything but a power make it another.
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    hazy = (msi["image"] * (1 + 0.2 * np.sin(4 * x) * np.cos(3 * y))).astype(np.float32)
    scene = pair_scenes(hsi, msi.assign(image=hazy))
    assert measure_power(scene, measured.statistics) == 1


def test_too_little_to_tell_and_values_without_a_mean():
    hsi, msi, _ = photographed(1 / 2.2)
    scene = pair_scenes(hsi.isel(x=slice(6), y=slice(6)), msi.isel(x=slice(24), y=slice(24)))
    assert measure_power(scene, measure_pair(scene)[1].statistics) == 1
    centred = msi["image"] - msi["image"].mean(("y", "x"))
    scene = pair_scenes(hsi, msi.assign(image=centred.astype(np.float32)))
    assert not isinstance(measure_pair(scene)[0].msi, PowerSource)


def test_fusion_gains_by_it_and_says_so(caplog):
    caplog.set_level(logging.INFO)
    hsi, msi, cube = photographed(1 / 2.2)
    errors = [
        np.sqrt(np.mean((fuse(hsi, msi, method="regression", normalise=n)["image"] - cube) ** 2))
        for n in (True, False)
    ]
    assert errors[0] < 0.3 * errors[1]
    assert "pictures made for the eye" in caplog.text


def test_a_pixel_has_one_value_whatever_window_it_is_read_through():
    values = np.random.default_rng(0).normal(1, 0.6, (2, 20, 30)).astype(np.float32)
    values[0, 3, 4] = np.nan
    mean = np.array([1.0, 0.5])
    source = PowerSource(ArraySource(values), 2.2, mean)
    whole = source.read(slice(0, 20), slice(0, 30))
    np.testing.assert_array_equal(source.read(slice(2, 9), slice(3, 8)), whole[:, 2:9, 3:8])
    assert np.array_equal(np.isnan(whole), np.isnan(values))
    assert np.nanmin(whole) == 0
    np.testing.assert_allclose(raised(mean[:, None, None], 3.0, mean)[:, 0, 0], mean)
