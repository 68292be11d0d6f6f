"""Sharpness of a camera's bands: applied, fitted, and left alone where it does not belong."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from scenes import reference_cube
from scipy import ndimage

from emrdiff_geo.alignment.wald import one_ratio_lower
from emrdiff_geo.degradation.degrade import Degradation
from emrdiff_geo.fusion import open_pair
from emrdiff_geo.methods.state import universal_state
from emrdiff_geo.model.bafunet import NetworkConfig
from emrdiff_geo.model.weights import ModelConfig
from emrdiff_geo.scene.focus import BLURS, SHARP, Focus, mutual_weights
from emrdiff_geo.scene.statistics import pair_statistics
from emrdiff_geo.spectra.sensors import load_response
from emrdiff_geo.training.draws import DrawConfig, TrainingScene, draw_pair
from emrdiff_geo.training.focus import fit_focus
from emrdiff_geo.training.scenes import SceneFile

NM = np.linspace(400.0, 700.0, 16)
#: The violet is blurred by 1.4 pixels, the rest is sharp.
VIOLET = Focus((400.0, 420.0), ((0.0, 1.0), (0.0, 0.0)))


def camera(seed=0, size=128):
    """A scene of a camera that focuses the violet badly, and the same in focus."""
    light = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((size, size)), 1)
    sharp = reference_cube(size, size, len(NM), seed) * (1 + light).astype(np.float32)
    cube = sharp.copy()
    cube[0] = ndimage.gaussian_filter(sharp[0], BLURS[1], mode="nearest")
    return cube, sharp


def seen(cube, wavelength_nm=NM):
    degradation = Degradation(4)
    lr, hr = degradation.down(cube), cube[[3, 8, 12]]
    return lr, hr, pair_statistics(lr, hr, degradation, wavelength_nm, None)


def test_a_share_of_one_is_the_blur_and_the_other_bands_stay():
    cube, sharp = camera()
    statistics = seen(cube)[2]
    focused = VIOLET.applied(sharp, statistics)
    np.testing.assert_allclose(focused[0], cube[0], rtol=1e-5)
    np.testing.assert_array_equal(focused[1:], sharp[1:])
    # Between two known wavelengths, and flat beyond them.
    np.testing.assert_allclose(VIOLET.at(np.array([390.0, 410.0, 700.0]))[:, 1], [1, 0.5, 0])


def test_bands_lack_less_where_the_msi_is_out_of_focus_itself():
    cube, _ = camera()
    lr, hr, statistics = seen(cube)
    assert VIOLET.lacked(statistics)[0] > 0.9
    with_violet = np.concatenate([hr, cube[:1]])
    statistics = pair_statistics(lr, with_violet, statistics.degradation, NM, None)
    assert VIOLET.lacked(statistics)[0] < 0.2
    seen_of, predicted = mutual_weights(statistics)
    for weights in (seen_of, predicted):
        assert (weights >= 0).all()
        np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert predicted[0].argmax() == 3


def test_it_is_for_visible_cameras_at_their_own_pixels():
    cube, sharp = camera()
    statistics = seen(cube)[2]
    wide = seen(cube, np.linspace(400.0, 1000.0, len(NM)))[2]
    for other in (wide, replace(statistics, wavelength_nm=None), replace(statistics, coarser=True)):
        assert VIOLET.applied(sharp, other) is sharp
    assert SHARP.applied(sharp, statistics) is sharp


def test_one_ratio_lower_pixels_are_no_sensors_own():
    import xarray as xr

    hsi, msi = (xr.DataArray(a, dims=("band", "y", "x")) for a in seen(camera(size=256)[0])[:2])
    pair = open_pair(hsi, msi, None, (400, 700))[0]
    lower = one_ratio_lower(pair, Degradation(4), np.ones(len(NM), bool))[0]
    assert lower.statistics.coarser
    scene = TrainingScene("s", camera(size=256)[0], NM, np.full(len(NM), 20.0))
    for share in (0.0, 1.0):
        draw = draw_pair(scene, np.random.default_rng(0), DrawConfig(coarsened=share))
        assert draw.statistics.coarser == bool(share)


def test_the_start_of_the_chain_is_in_focus():
    cube, _ = camera()
    lr, hr, statistics = seen(cube)
    plain, focused = (
        universal_state(lr, hr, statistics, focus=focus).start for focus in (SHARP, VIOLET)
    )
    errors = [np.mean((image[0] - cube[0]) ** 2) for image in (plain, focused)]
    assert errors[1] < 0.6 * errors[0]


@pytest.fixture(scope="module")
def scene_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("camera")
    files = []
    for seed in range(2):
        path = folder / f"camera{seed}.npz"
        np.savez(path, camera(seed)[0].transpose(1, 2, 0))
        files.append(SceneFile.parse(f"{path}@400-700"))
    return files


def test_the_fit_finds_the_band_that_is_blurred(scene_files):
    config = DrawConfig(ratios=(4, 8), response=load_response("nikon_d700"))
    focus = fit_focus(scene_files, config, 0)
    cube, sharp = camera(seed=7)
    focused = focus.applied(sharp, seen(cube)[2])
    left, before = (
        np.sqrt(np.mean((image - cube) ** 2, axis=(1, 2))) for image in (focused, sharp)
    )
    assert left[0] < 0.5 * before[0]
    assert left[1:].max() < 0.1 * before[0]
    assert fit_focus(scene_files * 2, config, 0) == focus


def test_there_is_nothing_to_fit_without_a_visible_camera(scene_files):
    other = [replace(file, range_nm=(400.0, 1000.0)) for file in scene_files]
    assert fit_focus(other, DrawConfig(), 0) == SHARP


def test_it_goes_with_the_weights():
    config = ModelConfig("universal", NetworkConfig(4, 9, 4, 8, head=True), focus=VIOLET)
    assert ModelConfig.from_json(config.to_json()) == config
    values = json.loads(config.to_json())
    assert values["focus"] == json.loads(json.dumps(asdict(VIOLET)))
    values.pop("focus")
    assert ModelConfig.from_json(json.dumps(values)).focus == SHARP
