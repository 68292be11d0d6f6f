"""The check of the installation."""

import json

import pytest

from emrdiff_geo import doctor


@pytest.fixture(scope="module")
def healthy():
    return doctor.diagnose({})


def test_it_names_versions_formats_devices_and_weights(healthy):
    facts = healthy.facts
    assert healthy.ok
    assert facts["libraries"]["numpy"]
    assert facts["raster formats"]["GTiff"] is True
    assert facts["torch"]["cuda available"] in (True, False)
    assert "digest" in facts["weights"]["universal"]
    assert facts["machine"]["cores"] >= 1


def test_it_can_be_read_by_programs_and_people(healthy):
    assert json.loads(json.dumps(healthy.to_dict()))["ok"] is True
    assert "All essentials work." in healthy.text()


@pytest.mark.parametrize("name", ["PROJ_LIB", "PROJ_DATA", "GDAL_DATA", "PYTHONPATH"])
def test_variables_of_other_installations_are_warned_of(name):
    found = doctor.Diagnosis()
    doctor._environment(found, {name: "/somewhere/else"})
    (finding,) = found.findings
    assert name in finding.problem
    assert finding.cure == f"unset {name}"
    assert found.ok


def test_a_broken_library_is_a_finding_and_no_crash(monkeypatch):
    def broken(found):
        raise RuntimeError("no such symbol")

    monkeypatch.setattr(doctor, "_torch", broken)
    found = doctor.diagnose({})
    assert not found.ok
    assert any("no such symbol" in f.problem and f.level == "error" for f in found.findings)
    assert "error: torch" in found.text()


def test_damaged_weights_are_found(monkeypatch, tmp_path):
    (tmp_path / "universal.safetensors").write_bytes(b"nothing")
    (tmp_path / "universal.json").write_text("{}")
    monkeypatch.setattr("emrdiff_geo.weightfiles.SHIPPED", tmp_path)
    found = doctor.Diagnosis()
    assert doctor._weights(found) == {}
    assert "damaged" in found.findings[0].problem
    assert not found.ok


def test_a_build_without_weights_is_only_warned_of(monkeypatch, tmp_path):
    monkeypatch.setattr("emrdiff_geo.weightfiles.SHIPPED", tmp_path)
    found = doctor.Diagnosis()
    assert doctor._weights(found) == {}
    assert found.ok
    assert "gaussian_process" in found.findings[0].cure


def test_a_missing_library_is_an_error_with_the_command_that_cures_it(monkeypatch):
    monkeypatch.setattr(doctor, "_LIBRARIES", ("no-such-library",))
    found = doctor.Diagnosis()
    assert doctor._libraries(found) == {"no-such-library": None}
    assert found.findings[0].cure == "pip install no-such-library"
    assert not found.ok


def test_the_limit_of_a_nested_container_counts(tmp_path, monkeypatch):
    from emrdiff_geo.system import machine

    monkeypatch.setattr(machine, "_limits", lambda: [tmp_path / "none", tmp_path / "memory.max"])
    (tmp_path / "memory.max").write_text("max\n")
    whole = machine.memory_bytes()
    (tmp_path / "memory.max").write_text("123456789\n")
    assert machine.memory_bytes() == 123456789
    assert whole is None or whole > 123456789
    assert machine.cores() >= 1
