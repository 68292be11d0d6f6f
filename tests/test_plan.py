"""A plan is known from headers, says the same everywhere, and comes back from JSON."""

import json

import dask.array as da
import numpy as np
import pytest
import zarr
from scenes import pair

from emrdiff_geo.errors import InputError, MethodError, OutputError
from emrdiff_geo.fusion import calibrated, fuse, fuse_to_file, plan_fusion
from emrdiff_geo.run.plan import FusionPlan

OPTIONS = {"method": "regression", "tile": 48}


@pytest.fixture(scope="module")
def scene():
    return pair(96, 128, 4)[:2]


def test_a_plan_reads_no_pixel(scene):
    def fail(block):
        raise AssertionError("a pixel was read")

    lazy = [
        image.copy(data={"image": da.from_array(image.image.values).map_blocks(fail, meta=0.0)})
        for image in scene
    ]
    assert len(plan_fusion(*lazy, **OPTIONS).tiles) == 6


def test_a_plan_comes_back_from_json(scene):
    plan = plan_fusion(*scene, **OPTIONS)
    again = FusionPlan.from_json(plan.to_json())
    assert again == plan
    assert again.fingerprint == plan.fingerprint == plan_fusion(*scene, **OPTIONS).fingerprint
    assert list(again.tiles) == list(plan.tiles)


def test_what_changes_the_result_changes_the_fingerprint(scene):
    plan = plan_fusion(*scene, **OPTIONS)
    for change in ({"tile": 64}, {"psf": "area"}, {"overlap": 8}, {"method": "bicubic"}):
        assert plan_fusion(*scene, **{**OPTIONS, **change}).fingerprint != plan.fingerprint
    same = plan_fusion(*scene, **OPTIONS, memory="1GB", force=True)
    assert same.fingerprint == plan.fingerprint


def test_a_plan_that_was_changed_is_refused(scene):
    values = json.loads(plan_fusion(*scene, **OPTIONS).to_json())
    for wrong in ({**values, "ratio": 8}, {**values, "version": 99}, {"ratio": 4}, [1]):
        with pytest.raises(InputError, match="emrdiff plan"):
            FusionPlan.from_json(json.dumps(wrong))


def test_the_options_of_a_plan_do_what_it_says(scene, tmp_path):
    plan = plan_fusion(*scene, method="regression", memory="300MB")
    out = fuse_to_file(*scene, tmp_path / "out.zarr", **plan.options)
    image = zarr.open_group(out)["image"]
    assert image.chunks[1:] == tuple(c[0] for c in plan.tiles.chunks)
    assert image.shape == (plan.result["bands"], *plan.result["shape"])


def test_a_plan_with_uncertainty_can_be_followed(scene, tmp_path):
    chosen = {"samples": 2, "device": "cpu", "steps": 2}
    plan = plan_fusion(*scene, **chosen, uncertainty=True)
    without = plan_fusion(*scene, **chosen)
    assert plan.fingerprint != without.fingerprint
    assert plan.disk["zarr"]["result"] == 2 * without.disk["zarr"]["result"]
    assert FusionPlan.from_json(plan.to_json()) == plan
    sigma = tmp_path / "sigma.zarr"
    fuse_to_file(*scene, tmp_path / "out.zarr", uncertainty=sigma, **plan.options)
    assert sigma.exists()


def test_a_plan_knows_how_values_are_stored(scene, tmp_path):
    stored = {"dtype": "int16", "scale": 1e-4, "offset": 0.0}
    plan, plain = plan_fusion(*scene, **OPTIONS, **stored), plan_fusion(*scene, **OPTIONS)
    assert plan.stored == stored
    assert plan.fingerprint != plain.fingerprint
    for kind, needed in plain.disk.items():
        for what, size in needed.items():
            assert plan.disk[kind][what] == pytest.approx(size / 2, abs=1)
    assert FusionPlan.from_json(plan.to_json()) == plan
    out = fuse_to_file(*scene, tmp_path / "out.zarr", **plan.options, **plan.stored)
    assert zarr.open_group(out)["image"].dtype == np.int16
    with pytest.raises(OutputError, match="int16 needs a scale"):
        plan_fusion(*scene, **OPTIONS, dtype="int16")


@pytest.mark.parametrize(
    "options",
    [{"uncertainty": True}, {"samples": 0}, {"samples": 2, "method": "regression"}],
)
def test_what_fuse_refuses_cannot_be_planned(scene, options):
    with pytest.raises(MethodError, match="samples"):
        plan_fusion(*scene, **options)


def test_an_estimate_has_all_stages(scene):
    seconds = calibrated(*scene, **OPTIONS, dtype="int16", scale=1e-4).seconds
    assert set(seconds) == {"statistics", "fuse", "write", "total"}
    assert all(value >= 0 for value in seconds.values())


def test_a_lazy_result_is_a_small_graph(scene):
    image = fuse(*[i.chunk({"y": 32, "x": 32}) for i in scene], **OPTIONS).image.data
    assert len(dict(image.__dask_graph__())) <= 2 * np.prod(image.numblocks)
