"""Products whose metadata file describes the bands."""

import logging

import numpy as np
import pytest
from reader_files import CENTERS, cube, edit, tags_nm, write

from emrdiff_geo.errors import InputError
from emrdiff_geo.reading.readers import open_hsi

WIDTHS = np.linspace(6.5, 10, len(CENTERS))
PRODUCT = "ENMAP01-____L2A-DT0000000001_20220724T104526Z_008_V010302-"


def metadata(
    folder, centres=CENTERS, names=("bandID", "FWHMOfBand"), file=f"{PRODUCT}METADATA.XML"
):
    band, width = names
    bands = "".join(
        f"<{band} number='{i}'><wavelengthCenterOfBand>{c}</wavelengthCenterOfBand>"
        f"<{width}>{w}</{width}><GainOfBand>1e-4</GainOfBand></{band}>"
        for i, (c, w) in enumerate(zip(centres, WIDTHS, strict=False), 1)
    )
    # Elsewhere such a file has elements of that name that tell nothing of the bands.
    text = f"<level_X><x><{band} number='1'/></x><specific><b>{bands}</b></specific></level_X>"
    (folder / file).write_text(text)
    return folder / file


def image(folder, name=f"{PRODUCT}SPECTRAL_IMAGE.TIF"):
    return write(folder / name, cube(len(CENTERS)))


@pytest.mark.parametrize("given", ["image", "metadata"])
def test_enmap(tmp_path, given):
    files = {"image": image(tmp_path), "metadata": metadata(tmp_path)}
    metadata(tmp_path, CENTERS[::-1], file="ENMAP01-another-METADATA.XML")
    hsi = open_hsi(files[given])
    np.testing.assert_allclose(hsi.wavelength, CENTERS)
    np.testing.assert_allclose(hsi.fwhm, WIDTHS)
    assert hsi.attrs["source"] == files["image"].name
    assert hsi["image"].shape == (len(CENTERS), 6, 7)


def test_desis(tmp_path):
    path = image(tmp_path, "DESIS-HSI-L2A-DT0001-SPECTRAL_IMAGE.tif")
    names = "band", "wavelengthWidthOfBand"
    metadata(tmp_path, names=names, file="DESIS-HSI-L2A-DT0001-METADATA.xml")
    hsi = open_hsi(path)
    np.testing.assert_allclose(hsi.wavelength, CENTERS)
    np.testing.assert_allclose(hsi.fwhm, WIDTHS)


def test_what_the_image_says_itself_comes_first(tmp_path):
    path = image(tmp_path)
    with edit(path) as out:
        tags_nm(out)
    metadata(tmp_path, np.array(CENTERS) + 100)
    np.testing.assert_allclose(open_hsi(path).wavelength, CENTERS)


@pytest.mark.parametrize(
    ("write_it", "said"),
    [
        (lambda folder: metadata(folder, CENTERS[:-1]), "describes 4 bands and the image has 5"),
        (lambda folder: metadata(folder).write_text("<level_X><spec"), "cannot be read"),
        (
            lambda folder: metadata(folder).write_text("<?xml version='1.0' encoding='foo'?><x/>"),
            "cannot be read",
        ),
    ],
)
def test_metadata_that_do_not_fit_are_ignored_and_told(tmp_path, caplog, write_it, said):
    path = image(tmp_path)
    write_it(tmp_path)
    with caplog.at_level(logging.WARNING):
        hsi = open_hsi(path)
    assert "wavelength" not in hsi.coords
    assert said in caplog.text


def test_without_metadata_there_are_no_wavelengths(tmp_path):
    assert "wavelength" not in open_hsi(image(tmp_path)).coords


def test_metadata_without_an_image(tmp_path):
    with pytest.raises(InputError, match="has no SPECTRAL_IMAGE beside it"):
        open_hsi(metadata(tmp_path))
