"""Where an image is: paths, ENVI headers, and what GDAL calls one variable of a file."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import InputError
from .product import image_of

#: What the data file of an ENVI header usually ends in, likely ones first.
_ENVI_DATA = ("", ".img", ".dat", ".bsq", ".bil", ".bip", ".raw", ".envi", ".bin", ".rfl", ".rad")
_VARIABLE = re.compile(
    r'(NETCDF|HDF5|ZARR):(?:"(?P<quoted>[^"]+)"|(?P<bare>.+)):/{0,2}(?P<variable>[^:]+)'
)
# A single letter is a drive.
_NAME_OF_GDAL = re.compile(r"[A-Z][A-Z0-9_]+:.")


def locate(text: str, variable: str | None) -> tuple[str, str | None, bool]:
    """Tell which file to open, for which variable, and whether it is a local one.

    Parameters
    ----------
    text : str
        A path, an ENVI header, a URL, or a name as GDAL gives it: ``NETCDF:"a.nc":refl``.
    variable : str, optional
        Comes before one that `text` names.

    Raises
    ------
    InputError
        If it is a local file that does not exist.
    """
    part = _VARIABLE.fullmatch(text)
    # In groups of a NetCDF only GDAL finds its way.
    if part and not (text.startswith("NETCDF:") and "/" in part["variable"]):
        text, variable = part["quoted"] or part["bare"], variable or part["variable"]
    if "://" in text or text.startswith("/vsi"):
        return text, variable, False
    if _NAME_OF_GDAL.match(text) and not Path(text).exists():
        return text, variable, False
    return str(_existing(Path(text))), variable, True


def _existing(file: Path) -> Path:
    """Check that a file is there; for an ENVI header or metadata give the image beside it."""
    if not file.exists():
        raise InputError(f"{file} does not exist: check the path.")
    if file.suffix.lower() != ".hdr":
        return image_of(file)
    beside = [f for f in file.parent.iterdir() if _is_data(f, file.stem)]
    if not beside:
        raise InputError(f"{file.name} is a header without its data file: put both in one folder.")
    return min(beside, key=lambda f: (_rank(f, file.stem), -f.stat().st_size, f.name))


def _is_data(file: Path, stem: str) -> bool:
    names = file.name.lower(), file.stem.lower()
    return stem.lower() in names and file.suffix.lower() != ".hdr" and file.is_file()


def _rank(file: Path, stem: str) -> int:
    suffix = "" if file.name.lower() == stem.lower() else file.suffix.lower()
    return _ENVI_DATA.index(suffix) if suffix in _ENVI_DATA else len(_ENVI_DATA)
