"""Build the plugin's zip, and check it against the rules of the QGIS plugin repository.

    python qgis_plugin/package.py --out dist [--repository URL --email ADDRESS]

Nothing but the standard library, so that it runs before anything is installed. The scans for
insecure code and for secrets are run by ``make plugin``, on the same files.
"""

from __future__ import annotations

import argparse
import ast
import configparser
import io
import re
import sys
import zipfile
from pathlib import Path, PurePosixPath

NAME = "emrdiff_qgis"
FOLDER = Path(__file__).parent / NAME
SUFFIXES = {".py", ".svg", ".html", ".txt", ""}
#: Qt comes by qgis.PyQt; Processing is a part of QGIS.
ALLOWED_IMPORTS = {"qgis", "osgeo", "processing"}
LEAST_FIELDS = (
    "name",
    "description",
    "about",
    "version",
    "author",
    "qgisMinimumVersion",
    "qgisMaximumVersion",
    "hasProcessingProvider",
    "license",
    "icon",
    "tags",
)
#: Those that the repository asks for as well, and that only who publishes can give.
UPLOAD_FIELDS = ("email", "homepage", "tracker", "repository")
_LARGEST_BYTES = 1_000_000
_LICENSE_START = "GNU GENERAL PUBLIC LICENSE"


def files() -> dict[str, bytes]:
    """Content of each file of the plugin, by its path in the zip."""
    found = {}
    for path in sorted(FOLDER.rglob("*")):
        relative = path.relative_to(FOLDER)
        hidden = any(part.startswith((".", "__pycache__")) for part in relative.parts)
        if path.is_file() and not hidden:
            found[f"{NAME}/{relative.as_posix()}"] = path.read_bytes()
    return found


def with_addresses(content: dict[str, bytes], repository: str, email: str) -> dict[str, bytes]:
    """Fill in where the source lies and who answers, which the source itself cannot know."""
    name = f"{NAME}/metadata.txt"
    text = content[name].decode("utf-8")
    root = repository.rstrip("/")
    values = {"email": email, "homepage": root, "repository": root}
    values["tracker"] = f"{root}/issues" if root else ""
    for field, value in values.items():
        text = re.sub(rf"(?m)^{field}=.*$", f"{field}={value}", text)
    return {**content, name: text.encode("utf-8")}


def write_zip(content: dict[str, bytes], out: Path) -> Path:
    """Write the zip: same files, same bytes."""
    version = metadata(content)["version"]
    out.mkdir(parents=True, exist_ok=True)
    target = out / f"{NAME}-{version}.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return target


def read_zip(path: Path) -> dict[str, bytes]:
    """Content of each file of a zip."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def metadata(content: dict[str, bytes]) -> configparser.SectionProxy:
    """The plugin's description, as QGIS reads it."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_file(io.StringIO(content[f"{NAME}/metadata.txt"].decode("utf-8")))
    return parser["general"]


def problems(content: dict[str, bytes], size: int) -> list[str]:
    """What the plugin repository would refuse, one sentence each."""
    found = [f"{name}: not in the folder {NAME}" for name in content if not _in_folder(name)]
    needed = [f"{NAME}/{name}" for name in ("__init__.py", "metadata.txt", "LICENSE")]
    missing = [f"{name} is missing" for name in needed if name not in content]
    if missing:
        return found + missing
    found += _metadata_problems(content)
    if _LICENSE_START not in content[f"{NAME}/LICENSE"].decode("utf-8")[:200]:
        found.append("LICENSE is not the GNU General Public License")
    for name, data in content.items():
        found += _file_problems(name, data)
    if size > _LARGEST_BYTES:
        found.append(f"the zip has {size} bytes, more than {_LARGEST_BYTES}")
    return found


def missing_for_upload(content: dict[str, bytes]) -> list[str]:
    """Fields of the description that only who publishes can fill."""
    described = metadata(content)
    return [name for name in UPLOAD_FIELDS if not described.get(name)]


def _in_folder(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return parts[0] == NAME and ".." not in parts and not name.startswith("/")


def _metadata_problems(content: dict[str, bytes]) -> list[str]:
    described = metadata(content)
    found = [f"metadata.txt: no {name}" for name in LEAST_FIELDS if not described.get(name)]
    if not re.fullmatch(r"\d+\.\d+(\.\d+)?", described.get("version", "")):
        found.append("metadata.txt: version is not of the form 1.2.3")
    if "plugin" in described.get("name", "").lower():
        found.append("metadata.txt: the name says 'plugin', which it need not")
    if f"{NAME}/{described.get('icon', '')}" not in content:
        found.append("metadata.txt: the icon is not in the zip")
    return found


def _file_problems(name: str, data: bytes) -> list[str]:
    path = PurePosixPath(name)
    if path.suffix not in SUFFIXES or (not path.suffix and path.name != "LICENSE"):
        return [f"{name}: files of this kind do not belong in the zip"]
    if any(part.startswith(".") or part == "__pycache__" for part in path.parts):
        return [f"{name}: hidden or a cache"]
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return [f"{name}: not text"]
    found = [f"{name}: holds a zero byte"] if "\0" in text else []
    if path.suffix == ".py":
        foreign = sorted(imports(text) - ALLOWED_IMPORTS - set(sys.stdlib_module_names))
        found += [f"{name}: imports {module}" for module in foreign]
    return found


def imports(source: str) -> set[str]:
    """Top-level names of the modules that a file imports from elsewhere."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
    return found


def main(arguments: list[str] | None = None) -> int:
    """Build, check, and tell; the exit code says whether all rules are kept."""
    parser = argparse.ArgumentParser(description="Build and check the QGIS plugin's zip.")
    parser.add_argument("--out", type=Path, default=Path("dist"), help="folder for the zip")
    parser.add_argument("--repository", default="", help="address of the source code")
    parser.add_argument("--email", default="", help="of who publishes")
    options = parser.parse_args(arguments)
    content = with_addresses(files(), options.repository, options.email)
    target = write_zip(content, options.out)
    found = problems(read_zip(target), target.stat().st_size)
    for problem in found:
        print(f"{target.name}: {problem}", file=sys.stderr)
    print(f"{target} ({target.stat().st_size / 1000:.0f} kB, {len(content)} files)")
    missing = missing_for_upload(content)
    if missing:
        print(
            f"It can be installed from the file. For the plugin repository {', '.join(missing)} are"
            " missing: make plugin REPOSITORY=https://... EMAIL=..."
        )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
