"""The mean of the published chain and the Gaussian process: how it is made, and its weight."""

import json
import shutil
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
from scenes import reference_cube, simulated

from emrdiff_geo.methods import MethodOptions, Place, get_method
from emrdiff_geo.methods.state import build_state
from emrdiff_geo.model.weights import load_model, read_config
from emrdiff_geo.scene.focus import SHARP
from emrdiff_geo.scene.statistics import pair_statistics
from emrdiff_geo.scene.wald_pair import WaldPair
from emrdiff_geo.training import share as sharing
from emrdiff_geo.weightfiles import digest, weights_path

WAVELENGTHS = np.linspace(400, 700, 31)


@pytest.fixture(scope="module")
def visible_pair():
    cube = reference_cube(64, 64, 31)
    lr, hr, simple = simulated(cube, 8, "paper")
    hr = hr[:3]
    statistics = pair_statistics(lr, hr, simple.degradation, WAVELENGTHS, np.full(31, 10.0))
    return WaldPair(lr, hr, cube, statistics)


def test_the_image_is_the_weighted_mean(visible_pair):
    known = visible_pair.lr, visible_pair.hr, visible_pair.statistics
    config = read_config(weights_path("published-cave31"))
    chain, mean, process = (
        build_state(replace(config, focus=SHARP, share=s), *known) for s in (1.0, 0.25, 0.0)
    )
    end = np.random.default_rng(0).random(chain.a0.shape, np.float32)
    np.testing.assert_allclose(
        mean.result(end),
        0.25 * chain.result(end) + 0.75 * process.result(end),
        rtol=1e-4,
        atol=1e-5,
    )
    np.testing.assert_array_equal(process.result(end), process.result(0 * end))
    fused = get_method("gaussian_process").fuse_tile(*known, MethodOptions(), Place())
    done = sharing.finished(process, end, *known)
    # What back-projection leaves out as noise, and brings here.
    spread = np.sqrt(np.mean((visible_pair.reference - fused) ** 2))
    assert np.sqrt(np.mean((done - fused) ** 2)) < spread


@pytest.mark.parametrize("true", [0.0, 0.3, 1.0])
def test_the_share_is_found_again(visible_pair, true):
    rng = np.random.default_rng(1)
    process, chain = (rng.random(visible_pair.reference.shape, np.float32) for _ in range(2))
    reference = (1 - true) * process + true * chain
    reference = reference + 1e-3 * rng.standard_normal(reference.shape).astype(np.float32)
    pair = replace(visible_pair, reference=reference)
    config = read_config(weights_path("published-cave31"))

    def either(pair, model, config, options):
        return chain if config.share else process

    with mock.patch.object(sharing, "_finished", either):
        found = sharing.fit_share([pair, pair], None, config, MethodOptions())
    assert found == pytest.approx(true, abs=2e-3)


def test_the_command_writes_share_and_focus_beside_the_weights(tmp_path, capsys):
    shipped = weights_path("published-cave31")
    weights = tmp_path / "own.safetensors"
    shutil.copy(shipped, weights)
    plain = replace(read_config(shipped), share=1.0, focus=SHARP)
    weights.with_suffix(".json").write_text(plain.to_json())
    np.savez(tmp_path / "scene.npz", cube=reference_cube(96, 96, 31).transpose(1, 2, 0))
    scene = f"{tmp_path}/scene.npz@400-700"
    command = [scene, "--train", scene, "--weights", str(weights), "--srf", "nikon_d700"]
    with mock.patch.object(sharing, "PIECE", 96):
        assert sharing.main([*command, "--ratio", "8", "--pairs", "1", "--device", "cpu"]) == 0
    assert "share of the chain 0" in capsys.readouterr().out
    written = json.loads(weights.with_suffix(".json").read_text())
    # Three materials, which three bands tell apart: the process is right, the chain is not.
    assert written["share"] < 0.2
    assert written["focus"]["wavelength_nm"]
    assert written["training"] == json.loads(plain.to_json())["training"]


def test_weights_with_a_prior_of_their_own_are_refused(tmp_path, capsys):
    command = ["a.npz", "--train", "a.npz", "--weights", "universal", "--srf", "nikon_d700"]
    assert sharing.main([*command, "--ratio", "8"]) == 2
    assert "name published weights" in capsys.readouterr().err


def test_the_shipped_share_is_between_both():
    path = weights_path("published-cave31")
    config = read_config(path)
    assert 0.1 < config.share < 0.9
    assert load_model(path, digest(path), "cpu")[1].share == config.share
