"""Constants of the uncertainty: found again where they are known, written where they belong."""

import json
import shutil

import numpy as np
import pytest
from scenes import WAVELENGTHS, reference_cube

from emrdiff_geo.methods.uncertainty import DEFAULT, TERMS
from emrdiff_geo.training.calibrate import Errors, fit_constants, fit_weights, judge, left_out, main
from emrdiff_geo.weightfiles import weights_path

TRUE = np.array([4.0, 2.0, 0.5, 1.5, 1.0, 0.7])


def drawn(seed, scene="a", scale=1.0, count=20_000, lower=True):
    """Terms of different textures, and normal errors of the deviation that `TRUE` predicts."""
    rng = np.random.default_rng(seed)
    terms = rng.gamma(1.0, 0.3, (len(TERMS), count))
    error = scale * np.sqrt(TRUE**2 @ terms**2) * rng.standard_normal(count)
    below = drawn(seed + 1000, scene, scale, count, lower=False) if lower else None
    return Errors(scene, terms, error, below)


def test_weights_are_found_again():
    weights = fit_weights([drawn(0), drawn(1)])
    np.testing.assert_allclose(weights, TRUE, rtol=0.15)
    correlation, share = judge(drawn(2), weights)
    assert correlation > 0.3
    assert share == pytest.approx(0.954, abs=0.01)


def test_what_the_lower_ratio_tells_is_used_as_far_as_it_holds():
    scales = (0.25, 0.5, 1, 1, 2, 4)
    told = fit_constants([drawn(n, scale=s) for n, s in enumerate(scales)])
    assert told["power"] == pytest.approx(1, abs=0.05)
    assert told["factor"] == pytest.approx(1, abs=0.1)
    # Nothing to learn from too few pairs.
    few = fit_constants([drawn(0), drawn(1, lower=False)])
    assert (few["factor"], few["power"]) == (1, 0)


def test_a_scene_is_judged_by_the_others():
    measured = [drawn(n, scene) for n, scene in enumerate("aabbcc")]
    check = left_out(measured)
    assert set(check) == {"a", "b", "c"}
    assert all(share == pytest.approx(0.95, abs=0.03) for _, share in check.values())
    assert left_out(measured[:2]) == {}


def test_the_command_writes_the_constants_beside_the_weights(tmp_path, capsys):
    shipped = weights_path("universal")
    for file in (shipped, shipped.with_suffix(".json")):
        shutil.copy(file, tmp_path / f"mine{file.suffix}")
    mine = tmp_path / "mine.safetensors"
    before = mine.read_bytes()
    card = json.loads(mine.with_suffix(".json").read_text())
    np.savez(tmp_path / "scene.npz", reference_cube(96, 96).transpose(1, 2, 0))
    low, high = WAVELENGTHS[[0, -1]]
    scene = f"{tmp_path / 'scene.npz'}@{low:g}-{high:g}"
    options = ["--weights", str(mine), "--pairs", "1", "--samples", "2", "--device", "cpu"]
    assert main([scene, *options]) == 0
    assert "deviation" in capsys.readouterr().out
    after = json.loads(mine.with_suffix(".json").read_text())
    assert set(after["uncertainty"]) == set(DEFAULT)
    after.pop("uncertainty")
    card.pop("uncertainty", None)
    assert after == card
    assert mine.read_bytes() == before
    assert main(["no-such-scene.npz", *options]) == 2
    assert "no-such-scene.npz" in capsys.readouterr().err
