"""Draws, training, resuming and adaptation on tiny scenes."""

import itertools
import json
import logging

import numpy as np
import pytest
import torch
from reader_files import edit, tags_nm, write
from scenes import pair, reference_cube, shifted_pair

from emrdiff_geo.degradation.degrade import Degradation
from emrdiff_geo.errors import EmrdiffError, InputError, OutputError, SpectralError
from emrdiff_geo.fusion import fuse
from emrdiff_geo.methods.state import universal_channels
from emrdiff_geo.model.bafunet import BAFUNet, NetworkConfig
from emrdiff_geo.model.weights import ModelConfig, load_state, read_config
from emrdiff_geo.scene.statistics import pair_statistics
from emrdiff_geo.scene.wald_pair import WaldPair
from emrdiff_geo.training import adapt, checkpoint, train, trainer
from emrdiff_geo.training.adapt import _coarser
from emrdiff_geo.training.batches import batches, turned
from emrdiff_geo.training.draws import (
    DrawConfig,
    TrainingScene,
    cut_patches,
    draw_pair,
    state_and_target,
)
from emrdiff_geo.training.scenes import DrawDataset, SceneFile, load_scene
from emrdiff_geo.training.trainer import TrainConfig, Trainer

SMALL = DrawConfig(ratios=(2, 4), patch=32, patches=2, piece=64, max_bands=8)


@pytest.fixture(scope="module")
def scene_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    for seed in range(3):
        cube = reference_cube(100, 100, 16, seed)
        np.savez(folder / f"scene{seed}.npz", cube=cube.transpose(1, 2, 0).astype(np.int16))
    return [f"{folder}/scene{seed}.npz@400-1000" for seed in range(3)]


def small_model(seed=0):
    torch.manual_seed(seed)
    channels, guide = universal_channels()
    config = NetworkConfig(
        channels, guide, channels, 8, pool="none", head=True, gate=True, time_scalars=3
    )
    return ModelConfig("universal", config), BAFUNet(config)


@pytest.mark.parametrize("seed", range(8))
def test_a_draw_is_a_consistent_pair(seed):
    cube = reference_cube(80, 120, 20, seed)
    wavelength = np.linspace(400, 2400, 20)
    scene = TrainingScene("s", cube, wavelength, np.full(20, 40.0))
    config = DrawConfig(max_bands=12)
    draw = draw_pair(scene, np.random.default_rng(seed), config)
    ratio = draw.statistics.ratio
    assert draw.reference.shape[1:] == draw.hr.shape[1:]
    assert tuple(n * ratio for n in draw.lr.shape[1:]) == draw.hr.shape[1:]
    assert config.msi_bands[0] <= len(draw.hr) <= config.msi_bands[1]
    again = draw_pair(scene, np.random.default_rng(seed), config)
    np.testing.assert_array_equal(draw.hr, again.hr)
    # The end of the chain is the reference, as far as the nodes can carry it.
    state, x0 = state_and_target(draw, config)
    reached = np.mean((state.result(x0) - draw.reference) ** 2)
    assert reached <= np.mean((state.start - draw.reference) ** 2) + 1e-6


def test_scenes_with_nodata_give_finite_patches(tmp_path):
    cube = reference_cube(120, 120, 16)
    cube[:, :50] = np.nan
    scene = TrainingScene("s", cube, np.linspace(400, 1000, 16), np.full(16, 30.0))
    draw = draw_pair(scene, np.random.default_rng(0), DrawConfig())
    assert np.isfinite(draw.reference).all()


def test_scene_names_carry_a_range(scene_files, tmp_path):
    parsed = SceneFile.parse(scene_files[0])
    assert parsed.range_nm == (400.0, 1000.0)
    scene = load_scene(parsed)
    assert scene.cube.shape == (16, 100, 100)
    assert scene.wavelength_nm[[0, -1]].tolist() == [400.0, 1000.0]
    with pytest.raises(SpectralError, match="@400-2500"):
        load_scene(SceneFile(parsed.path))
    with pytest.raises(InputError, match="range of wavelengths"):
        SceneFile.parse("nothing@here")
    own = write(tmp_path / "own.tif")
    with edit(own) as out:
        tags_nm(out)
    with pytest.raises(InputError, match=r"own.tif names its wavelengths itself: leave out"):
        load_scene(SceneFile.parse(f"{own}@400-2500"))


def test_the_same_number_gives_the_same_patches(scene_files):
    files = [SceneFile.parse(f) for f in scene_files]
    first, second = (DrawDataset(files, SMALL, seed=5)[3] for _ in range(2))
    np.testing.assert_array_equal(first.guide, second.guide)
    assert not np.array_equal(first.guide[:1], DrawDataset(files, SMALL, seed=6)[3].guide[:1])
    assert np.isfinite(first.x0).all()


def test_a_resumed_run_is_the_unbroken_run(scene_files, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "PIECE", 2**16)
    dataset = DrawDataset([SceneFile.parse(f) for f in scene_files], SMALL, 0)

    def trainer(folder):
        config, model = small_model()
        return Trainer(model, config, TrainConfig(steps=4, amp=False), tmp_path / folder)

    def feed(stop):
        return lambda step: itertools.islice(batches(dataset, step, workers=0), stop - step)

    whole = trainer("whole")
    whole.run(feed(4))
    trainer("broken").run(feed(2))
    pieces = sorted((tmp_path / "broken").glob("*.safetensors"))
    assert len(pieces) > 2
    # A tensor larger than a piece is one by itself.
    assert max(p.stat().st_size for p in pieces) < 3 * 2**16
    resumed = trainer("broken")
    resumed.resume()
    assert resumed.step == 2
    resumed.run(feed(4))
    for key, value in whole.model.state_dict().items():
        torch.testing.assert_close(value, resumed.model.state_dict()[key], rtol=0, atol=0)
    for key, value in whole.ema.items():
        torch.testing.assert_close(value, resumed.ema[key], rtol=0, atol=0)
    # Pieces of earlier steps are gone, and a piece that is missing is told.
    assert all("-000004-" in p.name for p in (tmp_path / "broken").glob("*.safetensors"))
    next((tmp_path / "broken").glob("*-0.safetensors")).unlink()
    with pytest.raises(InputError, match="damaged"):
        trainer("broken").resume()


def test_a_run_that_is_killed_goes_on_from_the_last_checkpoint(scene_files, tmp_path, monkeypatch):
    monkeypatch.setattr("emrdiff_geo.training.trainer.SAVE_EVERY_S", 0.0)
    dataset = DrawDataset([SceneFile.parse(f) for f in scene_files], SMALL, 0)

    def trainer(**told):
        config, model = small_model()
        return Trainer(model, config, TrainConfig(steps=4, amp=False), tmp_path, **told)

    def killed(step, *_):
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer(progress=killed).run(lambda step: batches(dataset, step, workers=0))
    resumed = trainer()
    resumed.resume()
    assert resumed.step == 3


def test_the_end_is_validated_once(scene_files):
    dataset = DrawDataset([SceneFile.parse(f) for f in scene_files], SMALL, 0)
    config, model = small_model()
    seen = []
    Trainer(
        model,
        config,
        TrainConfig(steps=4, validate_every=2, amp=False),
        validate=lambda averaged: {"psnr": float(len(seen)), "gain": seen.append(1) or 0.0},
    ).run(lambda step: batches(dataset, step, workers=0))
    assert len(seen) == 2


def test_training_lowers_the_loss():
    config, model = small_model()
    cube = reference_cube(96, 96, 16)
    scene = TrainingScene("s", cube, np.linspace(400, 1000, 16), np.full(16, 30.0))

    class One(torch.utils.data.Dataset):
        def __getitem__(self, index):
            rng = np.random.default_rng(0)
            return cut_patches(draw_pair(scene, rng, SMALL), rng, SMALL)

    losses = []
    trainer = Trainer(
        model,
        config,
        TrainConfig(steps=30, amp=False, learning_rate=3e-3),
        progress=lambda step, total, loss, metrics: losses.append(loss),
    )
    trainer.run(lambda step: batches(One(), step, batch=2, draws=1, workers=0))
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


def test_train_writes_weights_log_and_card(scene_files, tmp_path):
    out = tmp_path / "run"
    result = train(scene_files, out, steps=2, width=8, workers=0, device="cpu")
    config = read_config(result["weights"])
    assert config.variant == "universal"
    assert config.training["data"] == ["scene0", "scene1"]
    assert config.training["held_out"] == ["scene2"]
    assert config.training["steps_done"] == 2
    assert {"psnr", "gain"} <= set(config.training["validation"])
    assert (out / "log.csv").read_text().startswith("step,")
    BAFUNet(config.network).load_state_dict(load_state(result["weights"]))
    with pytest.raises(InputError, match="--resume"):
        train(scene_files, out, steps=2, width=8, workers=0, device="cpu")
    more = train(scene_files, out, steps=2, width=8, workers=0, device="cpu", resume=True)
    assert more["steps"] == 2
    begun = {"steps": 1, "workers": 0, "device": "cpu", "init": result["weights"]}
    onward = train(scene_files, tmp_path / "onward", width=8, **begun)
    assert read_config(onward["weights"]).training["init"] == result["weights"]
    with pytest.raises(InputError, match="--width"):
        train(scene_files, tmp_path / "other", width=16, **begun)
    with pytest.raises(InputError, match="multiple of 16"):
        train(scene_files, tmp_path / "other", steps=1, patch=40)


def test_the_steps_follow_the_time_that_is_left():
    pace = trainer._Pace(minutes=1.0)
    assert pace.steps_left(pace.FIRST, 30.0) is None
    assert pace.steps_left(pace.FIRST + 10, 40.0) == 20
    assert pace.steps_left(pace.FIRST + 30, 60.0) == 0


@pytest.mark.parametrize(
    ("variant", "option"),
    [
        ("universal", {"residual": "none"}),
        ("universal", {"pseudo_bands": "last"}),
        ("published", {"width": 8}),
    ],
)
def test_an_option_of_the_other_variant_is_refused(tmp_path, variant, option):
    with pytest.raises(InputError, match=r"alone: leave it out, or add --variant"):
        train(["nothere.npz@400-700"], tmp_path / "run", variant=variant, steps=1, **option)
    assert list(tmp_path.iterdir()) == []


def test_the_published_variant_trains_for_one_sensor(tmp_path):
    cube = reference_cube(96, 96, 31)
    np.savez(tmp_path / "scene.npz", cube=cube.transpose(1, 2, 0))
    data = [f"{tmp_path}/scene.npz@400-700"]
    with pytest.raises(InputError, match="--srf"):
        train(data, tmp_path / "run", variant="published", steps=1)
    result = train(
        data,
        tmp_path / "run",
        variant="published",
        srf="nikon_d700",
        ratio=8,
        steps=1,
        workers=0,
        device="cpu",
        residual="unimodal",
        network="b-unet",
        noise="pure",
    )
    config = read_config(result["weights"])
    assert (config.n_hsi, config.n_msi, config.network.in_channels) == (31, 3, 31)
    assert (config.residual, config.noise, config.network.block) == ("unimodal", "pure", "residual")


def test_adaptation_writes_weights_that_are_not_worse(tmp_path):
    hsi, msi, _ = pair(224, 224, 4)
    out = tmp_path / "own.safetensors"
    seen = []
    result = adapt(hsi, msi, out, steps=3, device="cpu", progress=lambda *a: seen.append(a))
    assert result["steps"] == 3
    # Rehearsed, and done where that helped.
    assert len(seen) == 3 * (1 + result["adapted"])
    kept = result["after"] if result["adapted"] else result["before"]
    assert kept >= result["before"]
    card = json.loads(out.with_suffix(".json").read_text())["training"]["adaptation"]
    assert card["adapted"] == result["adapted"]
    fused = fuse(hsi, msi, weights=str(out), device="cpu")["image"]
    assert np.isfinite(fused[:, :10, :10].values).all()
    with pytest.raises(OutputError, match="overwrite"):
        adapt(hsi, msi, out, steps=1)
    with pytest.raises(OutputError, match="is an input"):
        adapt(hsi, msi, out, weights=str(out), steps=1, overwrite=True)


def test_adaptation_registers_the_pair_as_fusion_does(tmp_path, caplog):
    hsi, msi = shifted_pair(6, 0, size=48)
    out = tmp_path / "own.safetensors"
    with pytest.raises(EmrdiffError, match="--coregister"):
        adapt(hsi, msi, out, steps=1, device="cpu")
    assert not list(tmp_path.iterdir())
    caplog.set_level(logging.INFO)
    adapt(hsi, msi, out, steps=1, device="cpu", coregister=True)
    assert "its grid was moved" in caplog.text


def test_adaptation_refuses_what_is_too_small(tmp_path):
    hsi, msi, _ = pair(96, 96, 4)
    with pytest.raises(EmrdiffError, match="32 x 32"):
        adapt(hsi, msi, tmp_path / "own.safetensors", steps=1, device="cpu")
    assert not list(tmp_path.iterdir())


def test_adaptation_refuses_to_learn_at_a_far_lower_ratio(tmp_path):
    hsi, msi, _ = pair(272, 272, 8)
    with pytest.raises(EmrdiffError, match=r"ratio 2 only, too far from the pair's 8.* 48 x 48"):
        adapt(hsi, msi, tmp_path / "own.safetensors", steps=1, device="cpu")
    assert not list(tmp_path.iterdir())


def test_the_card_tells_the_pace(scene_files, tmp_path):
    out = tmp_path / "run"
    result = train(scene_files, out, steps=2, width=8, workers=0, device="cpu")
    pace = read_config(result["weights"]).training["pace"]
    assert pace["patches_per_second"] > 0
    assert 0 < pace["share_waiting"] < 1


def test_patches_are_reused_by_their_number(scene_files):
    dataset = DrawDataset([SceneFile.parse(f) for f in scene_files], SMALL, 0)
    options = {"batch": 4, "draws": 2, "workers": 0, "reuse": 3}
    whole = list(itertools.islice(batches(dataset, 0, **options), 12))
    # Three batches a group: every patch of the first one is dealt out thrice.
    first = torch.cat([b["scalars"] for b in whole[:3]])
    assert len(torch.unique(first, dim=0, return_counts=True)[0]) <= 2 * SMALL.patches
    with pytest.raises(InputError, match="smaller batch"):
        next(batches(dataset, 0, **options | {"batch": 16}))
    later = list(itertools.islice(batches(dataset, 7, **options), 5))
    for expected, found in zip(whole[7:], later, strict=True):
        for key, value in expected.items():
            torch.testing.assert_close(found[key], value, rtol=0, atol=0)


@pytest.mark.parametrize("turn", range(8))
def test_a_turned_batch_is_filtered_as_it_was(turn):
    random = torch.Generator().manual_seed(turn)
    batch = {
        "x0": torch.rand(2, 3, 8, 8, generator=random),
        "low_pass": torch.rand(2, 2, 8, 8, generator=random),
        "weight": torch.ones(2, 3),
    }

    def filtered(b):
        along_y, along_x = b["low_pass"][:, :1], b["low_pass"][:, 1:]
        return along_y @ b["x0"] @ along_x.transpose(-1, -2)

    found = turned(batch, turn)
    expected = turned(batch | {"x0": filtered(batch)}, turn)["x0"]
    torch.testing.assert_close(filtered(found), expected)
    assert (turn == 0) == torch.equal(found["x0"], batch["x0"])


def test_batches_are_turned_on_request(scene_files):
    scene = load_scene(SceneFile.parse(scene_files[0]))

    class One(torch.utils.data.Dataset):
        def __getitem__(self, index):
            rng = np.random.default_rng(index)
            return cut_patches(draw_pair(scene, rng, SMALL), rng, SMALL)

    options = {"batch": 2, "draws": 2, "workers": 0}
    plain, moved = (
        list(itertools.islice(batches(One(), 0, **options, turn=turn), 8)) for turn in (False, True)
    )
    assert not all(torch.equal(a["x0"], b["x0"]) for a, b in zip(plain, moved, strict=True))
    for a, b in zip(plain, moved, strict=True):
        ways = [turned(a, way)["x0"] for way in range(8)]
        assert any(torch.equal(way, b["x0"]) for way in ways)


def test_adaptation_is_rehearsed_on_a_coarser_scene():
    _, _, cube = pair(128, 96, 4)
    statistics = pair_statistics(
        Degradation(4).down(cube), cube[:3], Degradation(4), np.linspace(400, 1000, 12), None
    )
    valid = np.ones(cube.shape[1:], bool)
    valid[:3] = False
    known = WaldPair(Degradation(4).down(cube), cube[:3], cube, statistics)
    coarser, usable = _coarser(known, valid)
    assert coarser.reference.shape == (12, 64, 48)
    assert (coarser.statistics.ratio, coarser.lr.shape) == (4, (12, 16, 12))
    np.testing.assert_allclose(coarser.reference[:, 0, 0], cube[:, :2, :2].mean((1, 2)), rtol=1e-5)
    assert not usable[:2].any()
    assert usable[2:].all()
