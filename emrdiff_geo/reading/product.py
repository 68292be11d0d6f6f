"""Products whose bands are described in a metadata file beside the image: EnMAP and DESIS.

The names end in ``-SPECTRAL_IMAGE.TIF`` and ``-METADATA.XML``; the image itself says nothing of its
wavelengths.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from ..errors import InputError
from ..spectra.wavelengths import Place

log = logging.getLogger(__name__)

_IMAGE = re.compile(r"(?P<product>.*[-_.])SPECTRAL_IMAGE(_COG)?\.(TIFF?|BSQ|BIL|BIP|JP2)", re.I)
_METADATA = re.compile(r"(?P<product>.*[-_.])METADATA\.XML", re.I)
_CENTRE, _WIDTHS = "wavelengthCenterOfBand", ("FWHMOfBand", "wavelengthWidthOfBand")


def image_of(file: Path) -> Path:
    """The image of a product whose metadata file is given; any other file itself.

    Raises
    ------
    InputError
        If it is not there.
    """
    if _METADATA.fullmatch(file.name) is None:
        return file
    for image in _beside(file, _METADATA, _IMAGE):
        return image
    raise InputError(f"{file.name} has no SPECTRAL_IMAGE beside it: put both in one folder.")


def place_of_product(path: str, count: int) -> Place | None:
    """What the metadata file of an image says of its bands; None where there is none.

    Parameters
    ----------
    path : str
        Of the image.
    count : int
        Number of its bands; where the metadata are of another number they are ignored, with a
        warning.
    """
    for file in _beside(Path(path), _IMAGE, _METADATA):
        try:
            bands = list(_bands(file))
        except (OSError, ElementTree.ParseError, LookupError, ValueError) as error:
            log.warning("%s cannot be read (%s): wavelengths are not known.", file.name, error)
            return None
        if len(bands) == count:
            centres, widths = zip(*bands, strict=True)
            return Place(centres, ["nm"] * count, widths, ["nm"] * count)
        log.warning(
            "%s describes %d bands and the image has %d: wavelengths are not known.",
            file.name,
            len(bands),
            count,
        )
    return None


def _beside(file: Path, of: re.Pattern[str], other: re.Pattern[str]) -> Iterator[Path]:
    """Files of a folder that belong to the same product."""
    found = of.fullmatch(file.name)
    if found is None or not file.is_file():
        return
    for path in sorted(file.parent.iterdir()):
        same = other.fullmatch(path.name)
        if same is not None and same["product"] == found["product"]:
            yield path


def _bands(file: Path) -> Iterator[tuple[str | None, str | None]]:
    """Centre and width of the bands, in the order of the file."""
    for element in ElementTree.parse(file).iter():
        known = {child.tag.rpartition("}")[2]: child.text for child in element}
        if _CENTRE in known:
            yield known[_CENTRE], next((known[w] for w in _WIDTHS if w in known), None)
