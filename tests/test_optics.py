"""The PSF between two images, measured on the pair itself."""

import json

import numpy as np
import pytest
import xarray as xr
from published_protocol import bicubic_down
from scenes import pair

from emrdiff_geo.alignment.optics import at_ratio, basis_kernels, describe, measure_psf, resolve_psf
from emrdiff_geo.degradation.degrade import Degradation
from emrdiff_geo.errors import InputError
from emrdiff_geo.fusion import fuse
from emrdiff_geo.grids.pair import pair_scenes

RATIO = 4
SIZE = 192


def off_centre(image):
    """Seen a fifth of a pixel to the right and a tenth down, in coarse pixels."""
    moved = np.roll(image, (-1, -1), (1, 2)) * 0.2 + np.roll(image, (0, -1), (1, 2)) * 0.6
    return Degradation(RATIO).down(moved + 0.2 * image)


SEEN = {
    "area": Degradation(RATIO, "area").down,
    "paper": Degradation(RATIO, "paper").down,
    "bicubic": lambda image: bicubic_down(image, RATIO),
    "narrow and wide": Degradation(RATIO, fwhm=(0.8, 1.5)).down,
    "off centre": off_centre,
}


def seen_by(down, noise=0.0, hole=False, size=SIZE):
    """A pair whose HSI is `down` of the scene: datasets and the scene itself."""
    hsi, msi, cube = pair(size, size, RATIO)
    values = down(cube)
    rng = np.random.default_rng(0)
    values = values + noise * cube.std() * rng.standard_normal(values.shape)
    if hole:
        values[:, 20:30, 5:12] = np.nan
    image = hsi["image"].copy(data=values.astype(np.float32))
    return xr.Dataset({"image": image}, hsi.coords, hsi.attrs), msi, cube


def on_grids(hsi, msi):
    return pair_scenes(hsi, msi)


@pytest.mark.parametrize("name", SEEN)
@pytest.mark.parametrize("hole", [False, True])
def test_a_known_psf_is_found(name, hole):
    hsi, msi, cube = seen_by(SEEN[name], hole=hole)
    found = measure_psf(on_grids(hsi, msi))
    inner = (slice(None), slice(3, -3), slice(3, -3))
    wanted, got, default = (
        down(cube)[inner] for down in (SEEN[name], found.down, Degradation(RATIO).down)
    )
    error = np.sqrt(np.mean((got - wanted) ** 2))
    assert error < 0.1 * np.sqrt(np.mean((default - wanted) ** 2))
    if name in ("area", "paper"):
        assert found == Degradation(RATIO, name)
    else:
        np.testing.assert_allclose(np.sum(found.psf, axis=1), 1, rtol=1e-9)


def test_the_default_stays_where_it_is_right():
    hsi, msi, _ = seen_by(Degradation(RATIO).down)
    assert resolve_psf(on_grids(hsi, msi), "auto") == Degradation(RATIO)


def test_noise_does_not_lead_far_astray():
    hsi, msi, cube = seen_by(SEEN["area"], noise=0.03)
    found = resolve_psf(on_grids(hsi, msi), "auto")
    wanted, got, default = (
        down(cube) for down in (SEEN["area"], found.down, Degradation(RATIO).down)
    )
    assert np.sqrt(np.mean((got - wanted) ** 2)) < 0.3 * np.sqrt(np.mean((default - wanted) ** 2))


def test_it_is_measured_where_there_are_data():
    hsi, msi, cube = seen_by(SEEN["area"], size=512)
    hsi["image"].values[:, :90] = np.nan
    found = measure_psf(on_grids(hsi, msi))
    assert found is not None
    np.testing.assert_allclose(
        found.down(cube)[:, 3:-3, 3:-3], SEEN["area"](cube)[:, 3:-3, 3:-3], atol=0.02 * cube.std()
    )


@pytest.mark.parametrize("name", ["area", "paper", "gaussian"])
def test_few_pixels_tell_which_of_the_named_it_is(name):
    hsi, msi, _ = seen_by(Degradation(RATIO, name).down, size=8 * RATIO)
    assert measure_psf(on_grids(hsi, msi)) == Degradation(RATIO, name)


@pytest.mark.parametrize("kind", ["noise", "small", "constant"])
def test_where_nothing_can_be_told_it_is_the_default(kind):
    hsi, msi, _ = seen_by(SEEN["area"], size=24 if kind == "small" else SIZE)
    if kind != "small":
        values = np.random.default_rng(1).standard_normal(hsi["image"].shape)
        hsi["image"].values[:] = values if kind == "noise" else 5.0
    assert resolve_psf(on_grids(hsi, msi), "auto") == Degradation(RATIO)


def test_named_psfs_are_taken_as_they_are():
    hsi, msi, _ = pair(64, 64, RATIO)
    for name in ("gaussian", "area", "paper"):
        assert resolve_psf(on_grids(hsi, msi), name) == Degradation(RATIO, name)
    with pytest.raises(InputError, match="use one of auto, gaussian"):
        resolve_psf(on_grids(hsi, msi), "magic")


def test_fusion_measures_it_and_says_so():
    hsi, msi, cube = seen_by(SEEN["narrow and wide"])
    method = {"method": "local_regression"}

    def error(**options):
        result = fuse(hsi, msi, **method, **options)
        told = json.loads(result.attrs["emrdiff_provenance"])["parameters"]
        return np.sqrt(np.mean((result["image"].values - cube) ** 2)), told

    measured, told = error()
    assert told["psf"] == "auto"
    assert "HSI pixels wide" in told["psf_used"]
    wrong, told = error(psf="area")
    assert told["psf_used"] == "area"
    assert measured < 0.2 * wrong


def test_the_same_optics_at_another_ratio():
    for degradation in (Degradation(8, "area"), Degradation(8, fwhm=(0.8, 1.2))):
        assert at_ratio(degradation, 3) == Degradation(3, degradation.psf, fwhm=degradation.fwhm)
    kernels, _ = basis_kernels(8)
    gaussian = tuple(kernels[0].tolist())
    for ratio in (2, 3, 4):
        finer = at_ratio(Degradation(8, gaussian), ratio)
        wanted = Degradation(ratio).matrix_down(9)
        np.testing.assert_allclose(finer.matrix_down(9), wanted, atol=0.02)
    assert at_ratio(finer, finer.ratio) == finer


def test_a_measured_psf_in_words():
    kernels, _ = basis_kernels(8)
    off = tuple(kernels[-2].tolist())
    words = describe(Degradation(8, (tuple(kernels[0].tolist()), off)))
    assert words.startswith("1.1")
    assert "+0.30 HSI pixels to the right and +0.00 down" in words
    assert describe(Degradation(8, "area")) == "area"
