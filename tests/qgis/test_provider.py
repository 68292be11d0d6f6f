"""What the toolbox shows."""

import re
from pathlib import Path

import pytest
from qgis.core import QgsApplication, QgsProcessingParameterDefinition
from qgis.PyQt.QtCore import QUrl

IDS = ["adapt", "check", "evaluate", "fuse", "install", "simulate"]


def algorithm(name: str):
    return QgsApplication.processingRegistry().createAlgorithmById(f"emrdiff:{name}")


def test_the_ids_stay_as_they_are(provider):
    assert sorted(a.name() for a in provider.algorithms()) == IDS
    assert provider.id() == "emrdiff"
    assert not provider.icon().isNull()
    assert provider.defaultRasterFileExtension() == "tif"


def test_fuse_has_its_parameters(provider):
    found = algorithm("fuse")  # it owns the definitions
    names = {p.name(): p for p in found.parameterDefinitions()}
    assert list(names)[:4] == ["HSI", "MSI", "METHOD", "WEIGHTS"]
    advanced = {
        n
        for n, p in names.items()
        if p.flags() & QgsProcessingParameterDefinition.Flag.FlagAdvanced
    }
    expected = {"STEPS", "SAMPLES", "SEED", "TILE", "OVERLAP", "MEMORY", "DEVICE", "COREGISTER"}
    assert expected <= advanced
    assert names["METHOD"].usesStaticStrings()
    assert names["METHOD"].defaultValue() == "emrdiff"
    optional = QgsProcessingParameterDefinition.Flag.FlagOptional
    assert names["WEIGHTS"].flags() & optional
    assert names["UNCERTAINTY"].flags() & optional
    assert not names["UNCERTAINTY"].createByDefault()
    assert not names["OUTPUT"].flags() & optional


@pytest.mark.parametrize("name", IDS)
def test_each_has_help_picture_url_tags_and_icon(provider, name):
    found = algorithm(name)
    help_text = found.shortHelpString()
    picture = QUrl(re.search(r'src="([^"]+)"', help_text).group(1)).toLocalFile()
    assert Path(picture).is_file()
    assert len(re.sub("<[^>]*>", "", help_text)) > 100
    url = QUrl(found.helpUrl())
    page = Path(url.toLocalFile()).read_text(encoding="utf-8")
    assert f'<h2 id="{url.fragment()}">' in page
    assert len(found.tags()) > 4
    assert not found.icon().isNull()
    assert found.displayName()
    assert found.shortDescription()


@pytest.mark.parametrize("name", IDS)
def test_each_makes_fresh_copies_that_may_run_in_the_background(provider, name):
    found = algorithm(name)
    assert found.create() is not found
    assert not found.flags() & found.Flag.FlagNoThreading


def test_the_evaluation_is_a_page_for_the_results_viewer(provider):
    found = algorithm("evaluate")
    outputs = {o.name(): o.type() for o in found.outputDefinitions()}
    assert outputs["OUTPUT"] == "outputHtml"
    for name in ("PSNR", "MPSNR", "SSIM", "SAM", "ERGAS", "RMSE", "SPECTRAL_CORRELATION"):
        assert outputs[name] == "outputNumber"


def test_the_provider_has_a_setting_for_the_engine(provider):
    from processing.core.ProcessingConfig import ProcessingConfig

    assert ProcessingConfig.getSetting("EMRDIFF_PYTHON") == ""
    assert ProcessingConfig.settings["EMRDIFF_PYTHON"].group == "EMR-Diff"


def test_choices_are_those_of_the_engine(provider, engine):
    import json
    import subprocess

    from emrdiff_qgis.algorithms.fuse import METHODS
    from emrdiff_qgis.algorithms.simulate import RESPONSES

    command = [engine, "-I", "-m", "emrdiff_geo", "methods", "--json"]
    found = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    assert sorted(METHODS) == sorted(found["methods"])
    assert sorted(RESPONSES) == sorted(found["responses"])
