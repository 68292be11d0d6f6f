"""Every example runs from anywhere and leaves what it says in the folder given."""

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
LEAVES = {
    "fuse_pair": {"hsi.tif", "msi.tif", "reference.tif", "fused.tif"},
    "own_sensor": {"my_camera.csv", "my_camera", "nominal"},
    "simulate_and_evaluate": {"local_regression.json", "emrdiff.json", "evaluation.png"},
}


def test_every_example_is_tested():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(LEAVES)


@pytest.mark.parametrize("name", sorted(LEAVES))
def test_example_runs(name, tmp_path, monkeypatch, capsys):
    pytest.importorskip("tensorly")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name, "made"])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert {path.name for path in (tmp_path / "made").iterdir()} >= LEAVES[name]
    assert {path.name for path in tmp_path.iterdir()} == {"made"}
    assert capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(LEAVES))
def test_an_example_tells_what_it_takes_and_makes_nothing(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit):
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert "folder" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_examples_are_short():
    for path in EXAMPLES.glob("*.py"):
        assert len(path.read_text().splitlines()) <= 40, path.name
