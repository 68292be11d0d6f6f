"""Wavelengths, widths and bad bands from every place where files keep them."""

import numpy as np
import pytest
from rasterio.crs import CRS
from reader_files import CENTERS, cube, descriptions_nm, edit, tags_nm, write

from emrdiff_geo.errors import InputError, SpectralError
from emrdiff_geo.reading.readers import as_image, open_hsi, open_msi
from emrdiff_geo.run.planning import open_images


def tags_um(out):
    for i, c in enumerate(CENTERS, 1):
        out.update_tags(i, wavelength=str(c / 1e3), wavelength_units="Micrometers", fwhm="0.0105")


def tags_without_units(out):
    for i, c in enumerate(CENTERS, 1):
        out.update_tags(i, wavelength=str(c / 1e3), fwhm="0.0105")


def imagery_domain(out):
    for i, c in enumerate(CENTERS, 1):
        tags = {"CENTRAL_WAVELENGTH_UM": str(c / 1e3), "FWHM_UM": "0.0105"}
        out.update_tags(i, ns="IMAGERY", **tags)


def rounded_imagery_beside_exact_tags(out):
    tags_nm(out)
    for i, c in enumerate(CENTERS, 1):
        out.update_tags(i, ns="IMAGERY", CENTRAL_WAVELENGTH_UM=f"{c / 1e3:.2f}")


def envi_domain(out):
    values = ", ".join(str(c / 1e3) for c in CENTERS)
    widths = ", ".join(["0.0105"] * 5)
    tags = {"wavelength": f"{{{values}}}", "fwhm": f"{{{widths}}}"}
    out.update_tags(ns="ENVI", wavelength_units="Micrometers", **tags)


def dataset_list(out):
    widths = ", ".join(["10.5"] * 5)
    out.update_tags(wavelength=", ".join(map(str, CENTERS)), fwhm=f"{{{widths}}}")


def band_entries(out):
    out.update_tags(**{f"Band_{i}": f"Band {i} ({c} Nanometers)" for i, c in enumerate(CENTERS, 1)})


def descriptions_um(out):
    out.descriptions = [f"{c / 1e3} Micrometers" for c in CENTERS]


def descriptions_with_names(out):
    out.descriptions = [f"band {i} ({c} Nanometers)" for i, c in enumerate(CENTERS, 12)]


@pytest.mark.parametrize(
    ("place", "fwhm"),
    [
        (tags_nm, True),
        (tags_um, True),
        (tags_without_units, True),
        (imagery_domain, True),
        (rounded_imagery_beside_exact_tags, True),
        (envi_domain, True),
        (dataset_list, True),
        (band_entries, False),
        (descriptions_nm, False),
        (descriptions_um, False),
        (descriptions_with_names, False),
    ],
)
def test_wavelengths_from_each_place(tmp_path, place, fwhm):
    path = write(tmp_path / "a.tif")
    with edit(path) as out:
        place(out)
    scene = open_hsi(path)
    np.testing.assert_allclose(scene.wavelength, CENTERS)
    attrs = scene.wavelength.attrs
    assert (attrs["units"], attrs["standard_name"]) == ("nm", "radiation_wavelength")
    assert scene.good_band.all()
    assert ("fwhm" in scene.coords) == fwhm
    if fwhm:
        np.testing.assert_allclose(scene.fwhm, 10.5)


def test_no_wavelengths_no_coordinate(tmp_path):
    scene = open_hsi(write(tmp_path / "a.tif"))
    assert set(scene.coords) == {"band", "good_band", "y", "x", "spatial_ref"}
    assert scene.attrs == {"source": "a.tif"}
    np.testing.assert_array_equal(scene.band, [1, 2, 3, 4, 5])


def test_band_without_wavelength_is_bad_in_an_hsi(tmp_path, caplog):
    path = write(tmp_path / "a.tif")
    with edit(path) as out:
        tags_nm(out)
        out.update_tags(3, wavelength="0")
    scene = open_hsi(path)
    np.testing.assert_array_equal(scene.good_band, [True, True, False, True, True])
    assert np.isnan(scene.wavelength[2])
    assert [r.message for r in caplog.records] == ["a.tif: no wavelength for band 3, left out"]
    assert open_msi(path).good_band.all()
    as_image(scene)
    assert len(caplog.records) == 1


def test_places_complete_each_other(tmp_path):
    path = write(tmp_path / "a.tif")
    with edit(path) as out:
        out.descriptions = [f"{c} nm" for c in CENTERS[:3]] + ["nir", "swir"]
        out.update_tags(4, wavelength="0.85")
        out.update_tags(5, wavelength="1.61")
    np.testing.assert_allclose(open_hsi(path).wavelength, CENTERS)


def test_given_wavelengths_win(tmp_path):
    path = write(tmp_path / "a.tif")
    with edit(path) as out:
        tags_nm(out)
        out.update_tags(1, wavelength="9999999")
    with pytest.raises(SpectralError, match="wavelengths="):
        open_hsi(path, wavelengths=[1, 2, 3, 4, 5])
    mine = np.array([0.4, 0.5, 0.6, 0.7, 0.8])
    scene = open_hsi(path, wavelengths=mine, fwhm=12)
    np.testing.assert_allclose(scene.wavelength, mine * 1e3)
    np.testing.assert_allclose(scene.fwhm, 12)
    with pytest.raises(InputError, match=r"a.tif has 5 bands but wavelengths= has 3"):
        open_hsi(path, wavelengths=[400, 500, 600])


def band_numbers(out):
    for i in out.indexes:
        out.update_tags(i, wavelength=str(i), wavelength_units="Index")


def wavenumbers(out):
    for i, c in enumerate(CENTERS, 1):
        out.update_tags(i, wavelength=str(1e7 / c), wavelength_units="Wavenumber")


def wavenumbers_in_two_places(out):
    wavenumbers(out)
    numbers = ",".join(str(1e7 / c) for c in CENTERS)
    out.update_tags(ns="ENVI", wavelength=f"{{{numbers}}}", wavelength_units="Wavenumber")


def pixel_size(out):
    out.set_band_description(1, "coastal 30 um")


@pytest.mark.parametrize(
    "place", [band_numbers, wavenumbers, wavenumbers_in_two_places, pixel_size]
)
def test_figures_that_are_no_wavelengths_are_ignored(tmp_path, place, caplog):
    path = write(tmp_path / "a.tif")
    with edit(path) as out:
        place(out)
    assert "wavelength" not in open_msi(path).coords
    assert caplog.text.count("a.tif: what it says of its bands is ignored") == 1
    np.testing.assert_allclose(open_hsi(path, wavelengths=CENTERS).wavelength, CENTERS)
    scene = open_images(path, path, (450, 2450))[0]
    np.testing.assert_allclose(scene.wavelength[[0, -1]], [450, 2450])


def test_another_place_stands_in_for_figures_that_are_no_wavelengths(tmp_path):
    path = write(tmp_path / "a.tif")
    with edit(path) as out:
        band_numbers(out)
        descriptions_nm(out)
    np.testing.assert_allclose(open_hsi(path).wavelength, CENTERS)


HEADER = """wavelength units = Nanometers
wavelength = {450.5, 550, 650, 850, 1610}
fwhm = {10.5, 10.5, 10.5,
 10.5, 10.5}
bbl = {1, 0, 1, 1, 0}
data ignore value = 8
reflectance scale factor = 10000
"""


def write_envi(folder):
    path = write(folder / "scene.img", driver="ENVI")
    with (folder / "scene.hdr").open("a") as header:
        header.write(HEADER)
    return path


@pytest.mark.parametrize("name", ["scene.img", "scene.hdr"])
def test_envi_header(tmp_path, name):
    write_envi(tmp_path)
    scene = open_hsi(tmp_path / name)
    np.testing.assert_allclose(scene.wavelength, CENTERS)
    np.testing.assert_allclose(scene.fwhm, 10.5)
    np.testing.assert_array_equal(scene.good_band, [True, False, True, True, False])
    expected = cube().astype("f4")
    expected[expected == 8] = np.nan
    np.testing.assert_allclose(scene.image, expected / 1e4, rtol=1e-6)
    assert scene.rio.crs == CRS.from_epsg(32633)


def test_cut_off_envi_file(tmp_path):
    path = write_envi(tmp_path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="200 of the 420 bytes"):
        open_hsi(path)
