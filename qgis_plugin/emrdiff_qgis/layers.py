"""From layers to files that another program can open."""

from __future__ import annotations

import os

from qgis.core import QgsProject, QgsProviderRegistry, QgsRasterLayer

from .texts import tr


class NotAFileError(Exception):
    """The layer cannot be given to the engine; the message says why and what to do."""


def file_of(layer: QgsRasterLayer) -> str:
    """Absolute path of the file that a layer shows.

    A layer's source may be relative to the project, and carry options after a ``|``.

    Raises
    ------
    NotAFileError
        If the layer is no file on this computer.
    """
    if layer.providerType() != "gdal":
        raise NotAFileError(
            tr(
                "The layer {} is not a file but comes from the provider {}: export it as GeoTIFF "
                "and take that."
            ).format(layer.name(), layer.providerType())
        )
    parts = QgsProviderRegistry.instance().decodeUri("gdal", layer.source())
    path = parts.get("path") or layer.source().partition("|")[0]
    if parts.get("layerName") or parts.get("vsiPrefix"):
        raise NotAFileError(_inside(layer))
    found = next((p for p in _places(path) if os.path.exists(p)), None)
    if found is None:
        raise NotAFileError(_inside(layer))
    return found


def _places(path: str) -> list[str]:
    home = QgsProject.instance().homePath()
    inside = [os.path.join(home, path)] if home else []
    return [os.path.abspath(p) for p in (path, *inside)]


def _inside(layer: QgsRasterLayer) -> str:
    return tr(
        "The layer {} ({}) is no file on this computer, or a part of one: export it as GeoTIFF "
        "and take that."
    ).format(layer.name(), layer.source())
