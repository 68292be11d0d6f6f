"""Enumerations whose place differs between the versions of QGIS.

QGIS 4 keeps only scoped names, and some enumerations that were nested in a class have moved. Where
a class still offers an old name it is taken from there.
"""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsProcessingParameterDefinition,
    QgsProcessingParameterFile,
    QgsProcessingParameterNumber,
    QgsRasterMinMaxOrigin,
)


def _member(owner: Any, enumeration: str, name: str) -> Any:
    scoped = getattr(owner, enumeration, owner)
    return getattr(scoped if hasattr(scoped, name) else owner, name)


ADVANCED = _member(QgsProcessingParameterDefinition, "Flag", "FlagAdvanced")
FOLDER = _member(QgsProcessingParameterFile, "Behavior", "Folder")
INTEGER = _member(QgsProcessingParameterNumber, "Type", "Integer")
DOUBLE = _member(QgsProcessingParameterNumber, "Type", "Double")
CUMULATIVE_CUT = _member(QgsRasterMinMaxOrigin, "Limits", "CumulativeCut")
