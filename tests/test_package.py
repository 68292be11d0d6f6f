"""What a user and an installer see of the package."""

import ast
import configparser
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

import emrdiff_geo

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "emrdiff_geo"


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


@pytest.mark.parametrize("name", emrdiff_geo.__all__)
def test_public_names_are_functions_with_docstrings(name):
    found = getattr(emrdiff_geo, name)
    assert callable(found)
    assert found.__name__ == name
    assert found.__doc__
    assert name in dir(emrdiff_geo)


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="nonsense"):
        _ = emrdiff_geo.nonsense


def test_import_registers_the_accessor_and_is_light():
    code = (
        "import sys, xarray, emrdiff_geo;"
        "assert hasattr(xarray.Dataset, 'emrdiff') and hasattr(xarray.DataArray, 'emrdiff');"
        "print(*{'torch', 'rasterio', 'matplotlib', 'scipy'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_all_data_files_are_packaged(setup):
    patterns = setup["options.package_data"]["emrdiff_geo"].split()
    files = [p for p in PACKAGE.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")]
    names = {path.relative_to(PACKAGE).as_posix() for path in files}
    assert "py.typed" in names
    left_out = {n for n in names if not any(fnmatch(n, p) for p in patterns)}
    assert not left_out


def test_all_packages_are_found():
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert all((folder / "__init__.py").is_file() for folder in folders)


def imported(pattern: str) -> dict[str, set[str]]:
    """Modules of other distributions that each file imports, by lines that match."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        code = re.sub(r'""".*?"""', "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        names = set(re.findall(pattern + r"(?:import|from) (\w+)", code, re.MULTILINE))
        found[str(path.relative_to(PACKAGE))] = names - sys.stdlib_module_names - {"emrdiff_geo"}
    return found


def modules_of(requirements: str) -> set[str]:
    names = {re.split(r"[^\w.-]", line.strip())[0] for line in requirements.split()}
    # The one distribution that is not called as its module.
    return {"odc" if name == "odc-geo" else name.replace("-", "_") for name in names}


def test_what_is_imported_at_once_is_required(setup):
    required = modules_of(setup["options"]["install_requires"])
    for file, names in imported(r"^").items():
        assert names <= required, file


def test_what_is_imported_later_is_required_or_an_extra(setup):
    extras = " ".join(text for _, text in setup["options.extras_require"].items())
    known = modules_of(setup["options"]["install_requires"] + extras)
    for file, names in imported(r"^\s+").items():
        assert names <= known, file


#: Each imports only those before it.
ORDER = (
    *(
        "errors",
        "weightfiles",
        "system",
        "metadata",
        "spectra",
        "reading",
        "grids",
        "degradation",
        "scene",
        "model",
    ),
    *("methods", "alignment", "writing", "run", "fusion", "evaluation", "training"),
    *("accessor", "demo", "doctor", "cli"),
)


def imports_within(path: Path) -> Iterator[str]:
    """Packages and modules of the first level that a file imports, at once or later."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            full = (*base, *(node.module or "").split(".")) if node.module else base
            names = [full[1]] if len(full) > 1 else [alias.name for alias in node.names]
            yield from (name for name in names if (PACKAGE / name).exists() or name in ORDER)


def test_imports_go_one_way():
    parts = {path.stem if path.is_file() else path.name for path in PACKAGE.iterdir()}
    assert parts - {"__init__", "__main__", "__pycache__", "py", "data", "weights"} == set(ORDER)
    for place, part in enumerate(ORDER):
        folder = PACKAGE / part
        for path in folder.rglob("*.py") if folder.is_dir() else [folder.with_suffix(".py")]:
            later = set(imports_within(path)) & set(ORDER[place + 1 :])
            assert not later, f"{path.relative_to(ROOT)} imports {later}"


def test_neither_geography_nor_model_knows_the_other():
    foreign = {
        "model": {"xarray", "rasterio", "odc", "pyproj", "rioxarray"},
        "methods": {"xarray", "rasterio", "odc", "pyproj", "rioxarray"},
        "scene": {"xarray", "rasterio", "odc", "pyproj", "rioxarray", "torch"},
        "grids": {"torch"},
        "alignment": {"torch"},
        "writing": {"torch"},
        "cli": {"torch"},
    }
    for part, names in foreign.items():
        for path in (PACKAGE / part).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            found = set(re.findall(r"^\s*(?:import|from) (\w+)", text, re.MULTILINE))
            assert not found & names, f"{path.relative_to(ROOT)} imports {found & names}"


def test_pyproject_holds_the_build_system_only():
    import tomllib

    found = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(found) == {"build-system"}


def test_linux_gets_a_cpu_build_of_torch():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    linux = [line for line in lines if 'sys_platform == "linux"' in line]
    assert len(linux) == 1
    assert linux[0].startswith("torch==")
    assert "+cpu" in linux[0]


def test_readme_links_and_pictures_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    assert targets
    for target in targets:
        assert (ROOT / target).exists(), target
    figure = ROOT / "docs" / "figure.png"
    assert figure.stat().st_size < 400_000
