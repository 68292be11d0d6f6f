"""From layers to files, and from results to layers in natural colours."""

import os
from pathlib import Path

import numpy as np
import pairs
import pytest
from qgis.core import QgsProcessingException, QgsProject, QgsRasterLayer

NM = np.linspace(400.0, 2400.0, 41)  # every 50 nm


@pytest.fixture
def cube(tmp_path) -> str:
    values = np.random.default_rng(0).random((41, 20, 20))
    return pairs.write(tmp_path / "cube.tif", values, 10.0, NM)


def test_the_file_of_a_layer_is_absolute(provider, pair, monkeypatch):
    from emrdiff_qgis.layers import file_of

    folder = Path(pair[0]).parent
    monkeypatch.chdir(folder)
    assert file_of(QgsRasterLayer("hsi.tif", "relative", "gdal")) == pair[0]
    assert file_of(QgsRasterLayer("./hsi.tif|option:NUM_THREADS=2", "options", "gdal")) == pair[0]


def test_a_source_that_is_relative_to_the_project_is_found(provider, pair, monkeypatch):
    from emrdiff_qgis.layers import file_of

    project = QgsProject.instance()
    layer = QgsRasterLayer(pair[0], "layer", "gdal")
    layer.setDataSource("hsi.tif", "layer", "gdal")
    project.setPresetHomePath(str(Path(pair[0]).parent))
    try:
        assert file_of(layer) == pair[0]
    finally:
        project.setPresetHomePath("")


def test_what_is_no_file_is_refused_in_a_sentence(provider, tmp_path, pair):
    from emrdiff_qgis.layers import NotAFileError, file_of

    web = QgsRasterLayer("type=xyz&url=file:///nowhere/{z}/{x}/{y}.png", "tiles", "wms")
    with pytest.raises(NotAFileError, match=r"tiles .*provider wms: export it as GeoTIFF"):
        file_of(web)
    gone = QgsRasterLayer(str(tmp_path / "gone.tif"), "gone", "gdal")
    with pytest.raises(NotAFileError, match=r"gone .*export it as GeoTIFF"):
        file_of(gone)


def test_bad_values_are_refused_before_anything_runs(fake, pair, tmp_path):
    from qgis.core import QgsApplication, QgsProcessingContext

    fake("good")
    registry = QgsApplication.processingRegistry()
    context = QgsProcessingContext()

    def refusal(name: str, **values) -> str:
        found = registry.createAlgorithmById(f"emrdiff:{name}")
        valid, message = found.checkParameterValues(values, context)
        return "" if valid else message

    output = str(tmp_path / "o.tif")
    good = {"HSI": pair[0], "MSI": pair[1], "OUTPUT": output, "METHOD": "emrdiff"}
    assert refusal("fuse", **good) == ""
    assert "write it as 400-2500" in refusal("fuse", **good, WAVELENGTHS="blue")
    assert refusal("fuse", **{**good, "METHOD": "magic"})
    assert refusal("fuse", **{**good, "STEPS": 1})
    assert refusal("fuse", **{**good, "HSI": "/nowhere.tif"})
    report = str(tmp_path / "r.html")
    assert "nothing to compare" in refusal("evaluate", FUSED=pair[0], OUTPUT=report)
    assert "ratio" in refusal("evaluate", FUSED=pair[0], REFERENCE=pair[0], OUTPUT=report)
    assert "neither" in refusal("install", SOURCE=str(tmp_path), TORCH="cpu")


def test_a_result_must_be_a_geotiff(fake, feedback, pair, tmp_path):
    import processing

    fake("good")
    values = {"HSI": pair[0], "MSI": pair[1], "OUTPUT": str(tmp_path / "fused.jp2")}
    with pytest.raises(QgsProcessingException, match=r"end in \.tif"):
        processing.run("emrdiff:fuse", values, feedback=feedback)


def test_bands_are_chosen_by_wavelength(provider, cube, tmp_path):
    from emrdiff_qgis.style import natural_bands, wavelengths_nm

    assert natural_bands(wavelengths_nm(cube)) == (6, 4, 2)
    values = np.ones((3, 4, 4))
    in_um = pairs.write(tmp_path / "um.tif", values, 10.0, (0.45, 0.55, 0.65), "um")
    assert natural_bands(wavelengths_nm(in_um)) == (3, 2, 1)
    infrared = pairs.write(tmp_path / "ir.tif", values, 10.0, (1000, 1600, 2200))
    assert natural_bands(wavelengths_nm(infrared)) is None
    assert natural_bands(wavelengths_nm(pairs.write(tmp_path / "n.tif", values, 10.0))) is None
    assert natural_bands([None, 450.0, 550.0, None, 650.0]) == (5, 3, 2)


def test_a_style_beside_the_file_serves_every_way_of_opening_it(provider, cube):
    from emrdiff_qgis.style import style_path, write_style

    assert write_style(cube)
    assert os.path.getsize(style_path(cube)) < 20_000
    layer = QgsRasterLayer(cube, "again", "gdal")
    shown = layer.renderer()
    assert (shown.redBand(), shown.greenBand(), shown.blueBand()) == (6, 4, 2)
    contrast = shown.redContrastEnhancement()
    assert 0 < contrast.minimumValue() < contrast.maximumValue() < 1


def test_a_stale_style_goes_away(provider, tmp_path):
    from emrdiff_qgis.style import style_path, write_style

    path = pairs.write(tmp_path / "grey.tif", np.ones((3, 4, 4)), 10.0)
    style_path(path).write_text("of another image")
    assert not write_style(path)
    assert not style_path(path).exists()


def test_a_result_is_loaded_in_natural_colours(fake, feedback, pair, tmp_path, qgis_new_project):
    import processing

    fake("good")
    output = str(tmp_path / "fused.tif")
    values = {"HSI": pair[0], "MSI": pair[1], "METHOD": "bicubic", "OUTPUT": output}
    processing.runAndLoadResults("emrdiff:fuse", values, feedback=feedback)
    (layer,) = QgsProject.instance().mapLayers().values()
    assert layer.source() == output
    assert layer.crs().authid() == "EPSG:32633"
    shown = layer.renderer()
    assert shown.type() == "multibandcolor"
    # 650, 550 and 450 nm among 490, 560, 665 and 840.
    assert (shown.redBand(), shown.greenBand(), shown.blueBand()) == (3, 2, 1)
    QgsProject.instance().clear()
