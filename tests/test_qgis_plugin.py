"""The plugin's zip, by the rules of the QGIS plugin repository; QGIS is not needed for it."""

import ast
import importlib.util
import zipfile
from pathlib import Path

import pytest

import emrdiff_geo

ROOT = Path(__file__).parents[1]
NAME = "emrdiff_qgis"


@pytest.fixture(scope="module")
def package():
    spec = importlib.util.spec_from_file_location("package", ROOT / "qgis_plugin" / "package.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_zip_keeps_the_rules(package, tmp_path, capsys):
    assert package.main(["--out", str(tmp_path)]) == 0
    (made,) = tmp_path.iterdir()
    assert made.name == f"{NAME}-{emrdiff_geo.__version__}.zip"
    assert made.stat().st_size < 200_000
    told = capsys.readouterr()
    assert told.err == ""
    assert "repository are missing" in told.out


def test_the_zip_does_not_depend_on_the_clock(package, tmp_path):
    first = package.write_zip(package.files(), tmp_path / "a").read_bytes()
    assert first == package.write_zip(package.files(), tmp_path / "b").read_bytes()


def test_addresses_are_filled_in_for_the_repository(package, tmp_path):
    content = package.with_addresses(package.files(), "https://host.example/us/it/", "a@b.example")
    assert package.missing_for_upload(content) == []
    described = package.metadata(content)
    assert described["tracker"] == "https://host.example/us/it/issues"
    assert described["repository"] == "https://host.example/us/it"


def test_the_description_is_what_qgis_wants(package):
    described = package.metadata(package.files())
    assert described["hasProcessingProvider"] == "yes"
    assert described["qgisMinimumVersion"] == "3.22"
    assert described["qgisMaximumVersion"] == "4.99"
    assert described["license"] == "GPL-2.0-or-later"
    assert described["version"] == emrdiff_geo.__version__


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("elsewhere/a.py", b"", "not in the folder"),
        (f"{NAME}/a.so", b"", "files of this kind"),
        (f"{NAME}/program", b"", "files of this kind"),
        (f"{NAME}/__pycache__/a.py", b"", "hidden or a cache"),
        (f"{NAME}/.git/a.txt", b"", "hidden or a cache"),
        (f"{NAME}/a.txt", b"\xff\xfe", "not text"),
        (f"{NAME}/a.py", b"import numpy", "imports numpy"),
        (f"{NAME}/a.py", b"from PyQt5.QtCore import QObject", "imports PyQt5"),
        (f"{NAME}/metadata.txt", b"[general]\nname=x", "no version"),
        (f"{NAME}/LICENSE", b"all rights reserved", "not the GNU"),
    ],
)
def test_what_the_repository_refuses_is_found(package, name, data, problem):
    found = package.problems({**package.files(), name: data}, 1000)
    assert any(problem in sentence for sentence in found)


def test_a_zip_that_is_too_large_or_has_no_license_is_found(package):
    content = package.files()
    assert "more than" in package.problems(content, 10**7)[0]
    del content[f"{NAME}/LICENSE"]
    assert package.problems(content, 1000) == [f"{NAME}/LICENSE is missing"]


def test_the_code_is_for_the_python_of_qgis_3_22(package):
    for name, data in package.files().items():
        if name.endswith(".py"):
            ast.parse(data, name, feature_version=(3, 9))


def test_files_in_the_zip_are_not_executable(package, tmp_path):
    with zipfile.ZipFile(package.write_zip(package.files(), tmp_path)) as archive:
        modes = {entry.external_attr >> 16 & 0o777 for entry in archive.infolist()}
    assert modes == {0o644}
