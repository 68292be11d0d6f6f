"""The demonstration, on a part of its scene and with little adaptation."""

import sys
from functools import partial

import numpy as np
import pytest
from pyproj import Transformer
from rich.console import Console

from emrdiff_geo import demo, open_hsi, training
from emrdiff_geo.errors import InputError, OutputError
from emrdiff_geo.methods import METHODS

pytest.importorskip("tensorly")

STAGES = ["simulate", "adapt", "fuse", "write"]


def test_scene_has_wavelengths_and_a_grid():
    scene = demo.indian_pines()
    assert scene.image.dims == ("band", "y", "x")
    assert scene.image.shape == (200, 145, 145)
    assert scene.image.dtype == np.float32
    assert scene.odc.geobox.crs.to_epsg() == 32616
    assert scene.odc.geobox.resolution.x == 20
    wavelength = scene.wavelength.values
    assert 395 < wavelength.min() < wavelength.max() < 2505
    # Only where one spectrometer takes over from the next do centres go back.
    assert (np.diff(wavelength) < 0).sum() == 2


def test_scene_lies_north_west_of_lafayette():
    transform = Transformer.from_crs("EPSG:32616", "EPSG:4326", always_xy=True).transform
    box = demo.indian_pines().odc.geobox.extent.boundingbox
    west, south, east, north = *transform(box.left, box.bottom), *transform(box.right, box.top)
    assert -87.1 < west < east < -86.9
    assert 40.4 < south < north < 40.5


def test_missing_package_is_told_with_the_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorly.datasets", None)
    with pytest.raises(InputError, match=r"emrdiff-geo\[demo\]"):
        demo.indian_pines()


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    # As if a demo had run before: its files are replaced, others stay.
    for name in ("fused.tif", "adapted.safetensors", "comparison.png"):
        (out / name).write_text("old")
    events = []
    with pytest.MonkeyPatch.context() as patch:
        whole = demo.indian_pines()
        patch.setattr(demo, "indian_pines", lambda: whole.isel(band=slice(None, None, 10)))
        # Steps and not minutes, so that the test does the same work everywhere.
        patch.setattr(training, "adapt", partial(training.adapt, steps=2))
        result = demo.run_demo(out, minutes=1, progress=events.append)
    return out, result, events


def test_all_methods_are_compared(found):
    _, result, _ = found
    scores = result["scores"]
    assert set(scores) == {*METHODS, demo.ADAPTED}
    assert scores["local_regression"]["PSNR"] > scores["bicubic"]["PSNR"] + 3
    assert result["best"] == max(scores, key=lambda name: scores[name]["PSNR"])
    assert all(np.isfinite(list(row.values())).all() for row in scores.values())


def test_files_lie_where_it_says(found):
    out, result, _ = found
    ours = {"pair", "adapted.safetensors", "adapted.json", "fused.tif", "comparison.png"}
    assert {path.name for path in out.iterdir()} == ours | {"spectra.png", "notes.txt"}
    fused = open_hsi(result["files"]["result"])
    assert fused.image.shape == (20, 144, 144)
    assert fused.odc.geobox.crs.to_epsg() == 32616
    assert (out / "notes.txt").read_text() == "mine"


def test_progress_goes_through_all_stages(found):
    _, _, events = found
    assert list(dict.fromkeys(event.stage for event in events)) == STAGES
    for stage in STAGES:
        mine = [event for event in events if event.stage == stage]
        assert mine[-1].done == mine[-1].total > 0
        assert [event.done for event in mine] == sorted(event.done for event in mine)


def test_table_and_closing_lines(found):
    _, result, _ = found
    console = Console(width=100)
    with console.capture() as captured:
        console.print(demo.scores_table(result["scores"], result["best"]))
    text = captured.get()
    assert all(name in text for name in result["scores"])
    lines = "\n".join(demo.closing_lines(result))
    assert all(path in lines for path in result["files"].values())


def test_by_default_nothing_is_trained(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        whole = demo.indian_pines()
        patch.setattr(demo, "indian_pines", lambda: whole.isel(band=slice(None, None, 20)))
        result = demo.run_demo(tmp_path)
    assert set(result["scores"]) == set(METHODS)
    assert not list(tmp_path.glob("*.safetensors"))
    assert not any("Adaptation" in line for line in demo.closing_lines(result))


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="another folder"):
        demo.run_demo(tmp_path / "file")
