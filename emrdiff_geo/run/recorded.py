"""What an existing result tells of how it was made, and whether that is what is wanted now."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import rasterio
import zarr

from ..errors import OutputError
from ..metadata import PROVENANCE, Provenance, file_name
from ..writing.layout import check_stored
from ..writing.output import GEOTIFF_SUFFIXES
from ..writing.zarr_groups import IMAGE
from .options import NAMED, NO_EFFECT, FusionOptions

#: Options that do not change a result, or of which the run records what they became: the variant is
#: that of the weights.
_FREE = (*NO_EFFECT, *NAMED, "device", "uncertainty", "variant")


def read_provenance(path: str | Path) -> Provenance | None:
    """Read how a result was made.

    Parameters
    ----------
    path : path
        GeoTIFF or Zarr store that `fuse_to_file` or `write_dataset` wrote.

    Returns
    -------
    Provenance or None
        None for whatever is no such result.
    """
    try:
        if Path(path).suffix.lower() in GEOTIFF_SUFFIXES:
            with rasterio.open(path) as file:
                text = file.tags().get(PROVENANCE.upper())
        else:
            text = zarr.open_group(path, mode="r").attrs.get(PROVENANCE)
        return None if text is None else Provenance.from_json(str(text))
    except Exception:  # rasterio, zarr, json: all say that this is something else
        return None


def check_made(
    path: str | Path,
    hsi: str,
    msi: str,
    options: FusionOptions,
    *,
    uncertainty: str | Path | None = None,
    **stored: Any,
) -> None:
    """Check that an existing result is the one that is wanted.

    Parameters
    ----------
    path : path
        Of the result.
    hsi, msi : str
        Paths of the wanted inputs.
    options : FusionOptions
        The wanted options.
    uncertainty : path, optional
        Of the second file that is wanted.
    **stored
        ``dtype``, ``scale`` and ``offset`` of `fuse_to_file`, where they are given.

    Raises
    ------
    OutputError
        If it is no result, or was made or stored in another way.
    """
    check_stored(**stored)
    if read_provenance(path) is None:
        raise OutputError(f"{path} exists and is no result: choose another name.")
    found = _file_differences(path, hsi, msi, options, stored)
    if uncertainty is not None and not found:
        found = _file_differences(uncertainty, hsi, msi, options, stored)
    if found:
        raise OutputError(
            f"{path} exists, made differently ({', '.join(found)}): choose another name, or "
            "pass --overwrite."
        )


def _file_differences(
    path: str | Path, hsi: str, msi: str, options: FusionOptions, stored: Mapping[str, Any]
) -> list[str]:
    made = read_provenance(path)
    if made is None:
        return [f"without {path}"]
    return differences(made, hsi, msi, options) or stored_differences(path, stored)


def stored_differences(path: str | Path, wanted: Mapping[str, Any]) -> list[str]:
    """In what the values of a result are stored in another way than wanted, in words.

    Parameters
    ----------
    path : path
        Of a result that `read_provenance` knows.
    wanted : mapping
        ``dtype``, ``scale`` and ``offset`` of `fuse_to_file`, where they are given.
    """
    if Path(path).suffix.lower() in GEOTIFF_SUFFIXES:
        with rasterio.open(path) as file:
            dtype, scale, offset = file.dtypes[0], file.scales[0], file.offsets[0]
    else:
        image = zarr.open_group(path, mode="r")[IMAGE]
        attrs = image.attrs
        dtype, scale, offset = image.dtype, attrs.get("scale_factor", 1), attrs.get("add_offset", 0)
    if str(dtype) != (new := wanted.get("dtype", "float32")):
        return [_text("dtype", dtype, new)]
    pairs = {"scale": (scale, wanted.get("scale", 1)), "offset": (offset, wanted.get("offset", 0))}
    return [
        _text(name, f"{old:g}", f"{new:g}")
        for name, (old, new) in pairs.items()
        # Formats keep them as text.
        if not math.isclose(old, new, rel_tol=1e-9)
    ]


def differences(made: Provenance, hsi: str, msi: str, options: FusionOptions) -> list[str]:
    """In what a result differs from the one that is wanted, in words; empty if in nothing.

    Inputs are compared by their names, weights by their digest. What the wanted run leaves to the
    program (None) is not compared.

    Parameters
    ----------
    made : Provenance
        Of the result.
    hsi, msi : str
        Paths of the wanted inputs.
    options : FusionOptions
        The wanted options.
    """
    found = [
        _text("made from", old, file_name(new))
        for old, new in zip(made.inputs or ("?", "?"), (hsi, msi), strict=False)
        if not _same_file(old, file_name(new))
    ]
    if made.method != options.method:
        return [*found, _text("method", made.method, options.method)]
    wanted = {k: v for k, v in asdict(options).items() if k not in _FREE and v is not None}
    recorded = {"method": made.method, **asdict(FusionOptions()), **made.parameters}
    if options.ratio is not None:
        wanted["ratio"], recorded["ratio"] = options.ratio, made.ratio
    if made.weights_digest is None:
        # A method that learned nothing takes no steps and leaves nothing to check.
        wanted = {k: v for k, v in wanted.items() if k not in ("steps", "self_check")}
    else:
        wanted |= {"seed": options.seed, "weights": _digest(options.weights)}
        recorded |= {"seed": made.seed, "weights": made.weights_digest}
    for name, new in wanted.items():
        new = list(new) if isinstance(new, tuple) else new
        old = recorded[name]
        if old != new:
            found.append(_text(name, old, new))
    return found


def _same_file(old: str, new: str) -> bool:
    # Of an ENVI header and its data file, the data file's name is recorded.
    return old == new or (new.lower().endswith(".hdr") and Path(old).stem == Path(new).stem)


def _digest(weights: str) -> str:
    from ..weightfiles import digest, weights_path

    return digest(weights_path(weights))


def _text(name: str, old: object, new: object) -> str:
    return f"{name} {old} instead of {new}"
