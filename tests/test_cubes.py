"""Benchmark cubes of NumPy and MATLAB."""

import pickle

import numpy as np
import pytest
from reader_files import CENTERS, cube

from emrdiff_geo.errors import InputError
from emrdiff_geo.reading.readers import open_hsi


def npz(path, hwb, wavelength):
    np.savez_compressed(path.with_suffix(".npz"), cube=hwb, wl=wavelength)
    return path.with_suffix(".npz")


def mat5(path, hwb, wavelength):
    from scipy.io import savemat

    savemat(path.with_suffix(".mat"), {"anything": hwb, "Wavelengths": wavelength})
    return path.with_suffix(".mat")


def mat73(path, hwb, wavelength):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path.with_suffix(".mat"), "w", userblock_size=512) as file:
        file["anything"], file["wavelength"] = hwb.T, wavelength[:, None]
    return path.with_suffix(".mat")


@pytest.mark.parametrize("save", [npz, mat5, mat73])
def test_cubes(tmp_path, save):
    data = cube()
    path = save(tmp_path / "a", np.moveaxis(data, 0, -1), np.array(CENTERS) / 1e3)
    scene = open_hsi(path, chunks=4)
    np.testing.assert_array_equal(scene.image, data)
    assert scene.image.dtype == np.float32
    assert scene.image.chunks == ((5,), (4, 2), (4, 3))
    np.testing.assert_allclose(scene.wavelength, CENTERS)
    assert "spatial_ref" not in scene.coords


def test_npy_is_bands_first_and_lazy(tmp_path):
    data = cube()
    np.save(tmp_path / "a.npy", data)
    scene = open_hsi(tmp_path / "a.npy")
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(scene)).image, data)


def test_variable_chooses_a_cube(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, a=np.zeros((3, 3, 5)), b=np.zeros((3, 3, 5)))
    assert open_hsi(path, variable="b").sizes["band"] == 5
    with pytest.raises(InputError, match="choose variable= from a 3 x 3 x 5, b"):
        open_hsi(path, variable="c")


def test_several_cubes_need_a_choice(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.zeros((3, 3, 5)), b=np.zeros((3, 3, 5)))
    with pytest.raises(InputError, match=r"several cubes \(a 3 x 3 x 5, b"):
        open_hsi(tmp_path / "a.npz")
