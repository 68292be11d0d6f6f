"""Spectral responses by name, from CSV and as Gaussians."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emrdiff_geo.errors import SpectralError
from emrdiff_geo.spectra.sensors import SpectralResponse, load_response, sensor_names
from emrdiff_geo.spectra.spectral import gaussian_response

ENMAP_LIKE = np.concatenate([np.arange(420.0, 1000.0, 6.5), np.arange(905.0, 2450.0, 10.0)])


@pytest.mark.parametrize("name", sensor_names())
def test_every_sensor_lands_on_a_hyperspectral_range(name):
    response = load_response(name)
    weights, kept = response.on_bands(ENMAP_LIKE, drop_uncovered=True)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert (weights >= 0).all()
    # Wide camera bands are cut at the ends of the range; the others keep their centre.
    tolerance = 8 if name != "nikon_d700" else 30
    np.testing.assert_allclose(weights @ ENMAP_LIKE, response.centers_nm[kept], atol=tolerance)


def test_issue_names_exist():
    wanted = {"nikon_d700", "sentinel2a", "sentinel2b", "landsat8", "landsat9"}
    assert wanted <= set(sensor_names())
    assert load_response("Sentinel-2A").name == "sentinel2a"


def test_published_centres_of_sentinel2a():
    response = load_response("sentinel2a")
    assert response.band_names[7:9] == ("B08", "B8A")
    centres = dict(zip(response.band_names, response.centers_nm, strict=True))
    widths = dict(zip(response.band_names, response.fwhm_nm, strict=True))
    published = {"B02": 492.4, "B04": 664.6, "B05": 704.1, "B8A": 864.7, "B11": 1613.7}
    for band, centre in published.items():
        assert centres[band] == pytest.approx(centre, abs=0.5)
    assert widths["B02"] == pytest.approx(65, abs=2)


def test_nikon_on_the_protocol_bands_is_the_table_itself():
    response = load_response("nikon_d700")
    for bands in (np.arange(400.0, 701.0, 10.0), np.arange(400.0, 701.0, 10.0) + 0.01):
        weights = response.on_bands(bands)
        assert weights.shape == (3, 31)
        np.testing.assert_allclose(weights, response.response, atol=2e-5)
    assert weights[1, 13] == pytest.approx(0.10345, abs=1e-5)


def test_bands_are_selected_by_any_spelling():
    whole = load_response("sentinel2a")
    response = whole.select(["8", "b2", "B8a"])
    assert response.band_names == ("B08", "B02", "B8A")
    assert load_response("sentinel2b:B02,B03").band_names == ("B02", "B03")
    with pytest.raises(SpectralError, match="choose from B01, B02"):
        whole.select(["B99"])


def test_panchromatic_bands_come_only_when_asked_for():
    assert "B8" not in load_response("landsat8").band_names
    assert load_response("landsat8:B8").band_names == ("B8",)


def test_uncovered_bands_are_named_or_dropped():
    response, vnir = load_response("sentinel2a:B02,B04,B11"), np.arange(400.0, 1000.0, 5.0)
    with pytest.raises(SpectralError, match="sentinel2a B11"):
        response.on_bands(vnir)
    weights, kept = response.on_bands(vnir, drop_uncovered=True)
    assert weights.shape == (2, vnir.size)
    np.testing.assert_array_equal(kept, [0, 1])
    with pytest.raises(SpectralError, match="do not cover"):
        response.select(["B11"]).on_bands(vnir, drop_uncovered=True)


@settings(deadline=None)
@given(st.floats(450, 2300), st.floats(15, 150), st.floats(4, 15))
def test_tabulated_and_closed_gaussians_agree(center, width, band_width):
    bands = np.arange(380.0, 2500.0, 7.0)
    fwhm = np.full(bands.size, band_width)
    table = SpectralResponse.gaussian([center], [width])
    np.testing.assert_allclose(
        table.on_bands(bands, fwhm), gaussian_response([center], [width], bands, fwhm), atol=2e-3
    )
    assert table.centers_nm[0] == pytest.approx(center, abs=0.5)
    assert table.fwhm_nm[0] == pytest.approx(width, rel=0.02)


def test_gaussians_in_micrometres():
    response = SpectralResponse.gaussian([0.49, 0.56], 0.04, ["blue", "green"])
    np.testing.assert_allclose(response.centers_nm, [490, 560], atol=0.1)
    np.testing.assert_allclose(response.fwhm_nm, 40, rtol=0.02)


@pytest.mark.parametrize(
    ("header", "scale", "separator"),
    [
        ("wavelength_nm", 1, ","),
        ("Wavelength (um)", 1e-3, ";"),
        ("wl", 1e-3, "\t"),
        ("wavelength", 1, ","),
    ],
)
def test_user_csv(tmp_path, header, scale, separator):
    rows = [[500 * scale, 0, 1], [510 * scale, 1, 0.5], [520 * scale, 0, 0]]
    lines = ["# a comment", separator.join([header, "a", "b"])]
    lines += [separator.join(str(v) for v in row) for row in rows]
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(lines))
    response = load_response(path)
    assert response.name == "mine"
    assert response.band_names == ("a", "b")
    np.testing.assert_allclose(response.wavelength_nm, [500, 510, 520])
    np.testing.assert_allclose(response.response, [[0, 1, 0], [1, 0.5, 0]])


@pytest.mark.parametrize(
    "text", ["", "wl,a\n", "wl,a\n500,x\n510,1\n", "wl\n500\n", "wl,a\n500,0\n510,0\n"]
)
def test_bad_csv_is_one_spectral_error(tmp_path, text):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(SpectralError, match="bad"):
        load_response(path)


def test_unknown_names():
    with pytest.raises(SpectralError, match="did you mean nikon_d700"):
        load_response("nikon")
    with pytest.raises(SpectralError, match="cannot be read"):
        load_response("absent.csv")


def test_missing_pyrsr_names_the_cure(monkeypatch):
    from emrdiff_geo.spectra import sensors

    monkeypatch.setitem(sys.modules, "pyrsr", None)
    with pytest.raises(SpectralError, match="pip install pyrsr"):
        sensors._load_agency("landsat9")


def test_tables_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        load_response("nikon_d700").response[0, 0] = 1
