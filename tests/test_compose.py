"""Composed scenes: materials of a library over real texture."""

import numpy as np
import pytest
from scenes import reference_cube

from emrdiff_geo.errors import InputError
from emrdiff_geo.training.compose import SpectralLibrary, compose, read_library
from emrdiff_geo.training.draws import DrawConfig
from emrdiff_geo.training.scenes import DrawDataset, SceneFile

WAVELENGTHS = np.arange(400, 1000, 20.0)


def spectra(n=30):
    rng = np.random.default_rng(1)
    slopes = rng.uniform(-1, 1, (n, 1)) * np.linspace(-0.3, 0.3, len(WAVELENGTHS))
    return rng.uniform(0.35, 0.6, (n, 1)) + slopes


@pytest.fixture
def library_file(tmp_path):
    path = tmp_path / "materials.sli"
    spectra().astype("<f4").tofile(path)
    values = " , ".join(str(w / 1000) for w in WAVELENGTHS)
    (tmp_path / "materials.sli.hdr").write_text(
        f"ENVI\nsamples = {len(WAVELENGTHS)}\nlines = 30\nbands = 1\ndata type = 4\n"
        f"byte order = 0\nspectra names = {{ a , b }}\nwavelength units = Micrometers\n"
        f"wavelength = {{ {values} }}\n"
    )
    return path


def test_a_library_is_read(library_file):
    library = read_library(str(library_file))
    np.testing.assert_allclose(library.wavelength_nm, WAVELENGTHS)
    np.testing.assert_allclose(library.spectra, spectra(), atol=1e-6)


def test_pixels_are_shaded_mixtures_of_the_materials(library_file):
    library = read_library(str(library_file))
    texture = reference_cube(60, 50, 5)
    texture[:, :5, :5] = np.nan
    cube = compose(texture, library, np.random.default_rng(3))
    assert cube.shape == (len(WAVELENGTHS), 60, 50)
    assert np.isfinite(cube).all()
    assert cube.min() >= 0
    # Non-negative mixtures of straight lines are straight lines.
    assert np.abs(np.diff(cube, 2, axis=0)).max() < 1e-5
    again = compose(texture, library, np.random.default_rng(3))
    np.testing.assert_array_equal(cube, again)
    assert not np.array_equal(cube, compose(texture, library, np.random.default_rng(4)))


def test_a_flat_image_gives_a_flat_scene():
    library = SpectralLibrary.of(spectra(), WAVELENGTHS)
    cube = compose(np.ones((3, 20, 20), np.float32), library, np.random.default_rng(0))
    assert np.ptp(cube, axis=(1, 2)).max() < 1e-5


def test_draws_come_from_composed_scenes(library_file, tmp_path):
    np.savez(tmp_path / "scene.npz", cube=reference_cube(100, 100, 4).transpose(1, 2, 0))
    file = SceneFile.parse(f"{tmp_path / 'scene.npz'}@2000-2400")
    config = DrawConfig(ratios=(4,), patch=32, patches=1, composed=1.0, recolour=0.0)
    covered = DrawDataset([file], config, 0, str(library_file))[0].weight[0] > 0
    alone = DrawDataset([file], config, 0)[0].weight[0] > 0
    assert covered[:5].all()
    assert not alone[:5].any()


@pytest.mark.parametrize("content", ["", "samples = 3\nlines = 1\ndata type = 2\n"])
def test_what_is_no_library_is_named(tmp_path, content):
    path = tmp_path / "x.sli"
    path.write_bytes(b"1234")
    (tmp_path / "x.hdr").write_text(content)
    with pytest.raises(InputError, match=r"x\.hdr"):
        read_library(str(path))
    with pytest.raises(InputError, match="two spectra"):
        SpectralLibrary.of(np.full((3, 4), np.nan), np.arange(4.0))
