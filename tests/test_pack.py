"""Training scenes in packs."""

import numpy as np
import pytest
from scenes import reference_cube

from emrdiff_geo.errors import InputError
from emrdiff_geo.training import pack as packing
from emrdiff_geo.training.draws import TrainingScene
from emrdiff_geo.training.pack import pack
from emrdiff_geo.training.scenes import SceneFile, load_scene


def scene(name="a", height=40, seed=0):
    cube = reference_cube(height, 30, 6, seed).astype(np.float32)
    cube[2, 3, 4] = np.nan
    return TrainingScene(name, cube, np.linspace(400, 900, 6), np.full(6, 20.0))


def packed(paths):
    return [load_scene(file) for file in SceneFile.parse_all(map(str, paths))]


def test_scenes_come_back_with_their_bands(tmp_path):
    scenes = [scene("a"), scene("b", seed=1), scene("a", seed=2)]
    found = packed(pack(scenes, tmp_path))
    assert len(found) == 3
    assert len({s.name for s in found}) == 3
    for before, after in zip(scenes, found, strict=True):
        span = np.nanmax(before.cube) - np.nanmin(before.cube)
        np.testing.assert_allclose(after.cube, before.cube, atol=span / 65000)
        np.testing.assert_array_equal(np.isnan(after.cube), np.isnan(before.cube))
        np.testing.assert_array_equal(after.wavelength_nm, before.wavelength_nm)
        np.testing.assert_array_equal(after.fwhm_nm, before.fwhm_nm)


def test_no_file_is_larger_than_asked_and_large_scenes_are_cut(tmp_path):
    large = scene("large", 900)
    paths = pack([scene("a"), large, scene("b")], tmp_path, mib=0.2)
    assert max(p.stat().st_size for p in paths) <= 0.2 * 2**20
    strips = [s.cube for s in packed(paths) if s.name.startswith("large part")]
    assert len(strips) > 1
    span = np.nanmax(large.cube) - np.nanmin(large.cube)
    np.testing.assert_allclose(np.concatenate(strips, axis=1), large.cube, atol=span / 65000)


def test_bad_packs_are_told(tmp_path):
    pack([scene()], tmp_path)
    with pytest.raises(InputError, match="another folder"):
        pack([scene()], tmp_path)
    with pytest.raises(InputError, match="raise --mib"):
        pack([scene()], tmp_path / "small", mib=0.0626)
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"no pack .* emrdiff_geo\.training\.pack"):
        SceneFile.parse_all([str(other)])


def test_from_the_command_line(tmp_path, monkeypatch, capsys):
    np.savez(tmp_path / "s.npz", cube=reference_cube(20, 20, 8).transpose(1, 2, 0))
    arguments = ["pack", f"{tmp_path}/s.npz@400-1000", "--out", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", arguments)
    packing.main()
    assert "pack-000.safetensors" in capsys.readouterr().out
    (found,) = packed((tmp_path / "out").iterdir())
    assert found.cube.shape == (8, 20, 20)
    assert found.wavelength_nm[[0, -1]].tolist() == [400, 1000]
