"""The plugin is tested as a user gets it: installed from the zip into a profile of its own."""

from __future__ import annotations

import importlib.util
import os
import sys
import zipfile
from pathlib import Path

import fake_engine
import pairs
import pytest

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data" / "georef"
_BERLIN = ("berlin_enmapsim244_30m.tif", "berlin_hymap4_3m6.tif")
# What pytest-qgis starts reads these; `tests/qgis/run` sets them for the whole process.
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")


def _package():
    spec = importlib.util.spec_from_file_location("package", ROOT / "qgis_plugin" / "package.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def plugin_zip(tmp_path_factory) -> Path:
    """The zip, built for this run."""
    package = _package()
    return package.write_zip(package.files(), tmp_path_factory.mktemp("zip"))


@pytest.fixture(scope="session")
def plugins(plugin_zip, tmp_path_factory) -> Path:
    """Folder of plugins with ours in it, importable."""
    folder = tmp_path_factory.mktemp("plugins")
    with zipfile.ZipFile(plugin_zip) as archive:
        archive.extractall(folder)
    sys.path.insert(0, str(folder))
    return folder


@pytest.fixture(scope="session")
def provider(plugins, qgis_app, qgis_processing):
    """The provider, registered by the plugin as QGIS does it."""
    from emrdiff_qgis import classFactory
    from qgis.core import QgsApplication

    plugin = classFactory(None)
    plugin.initProcessing()
    yield QgsApplication.processingRegistry().providerById("emrdiff")
    plugin.unload()


@pytest.fixture
def feedback(provider):
    """Feedback that remembers what it was told."""
    from recorder import Recorder

    return Recorder()


@pytest.fixture
def fake(provider, tmp_path, monkeypatch):
    """Put a fake engine in place; returns its path."""

    def place(behaviour: str) -> Path:
        engine = fake_engine.make(tmp_path, behaviour)
        monkeypatch.setenv("EMRDIFF_PYTHON", str(engine))
        return engine

    return place


def _engine() -> str:
    named = os.environ.get("EMRDIFF_TEST_ENGINE") or str(ROOT / ".venv" / "bin" / "python")
    if not Path(named).is_file():
        pytest.skip(f"there is no engine in {named}: run 'make test', or set EMRDIFF_TEST_ENGINE")
    return os.path.abspath(named)


@pytest.fixture(scope="session")
def engine() -> str:
    """Python of the real engine."""
    return _engine()


@pytest.fixture
def real(provider, engine, monkeypatch) -> str:
    """The real engine in place."""
    monkeypatch.setenv("EMRDIFF_PYTHON", engine)
    return engine


@pytest.fixture(scope="session")
def pair(tmp_path_factory) -> tuple[str, str]:
    """A small generated pair."""
    return pairs.make_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="session")
def berlin() -> tuple[str, str]:
    """The real pair, which is not part of the project."""
    hsi, msi = (SHARED / name for name in _BERLIN)
    if not (hsi.is_file() and msi.is_file()):
        pytest.skip("../shared/data is absent: only the generated pair was fused, not the real one")
    return str(hsi), str(msi)
