"""The plan of a fusion: all that is known of it before a pixel is read, as JSON and back.

A plan names grids, tiles, margins, options and what memory and disk they will need. It is made
from headers alone, and the same images and options give the same plan, with the same
fingerprint, anywhere.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from ..errors import InputError
from ..grids.pair import Pair
from ..grids.tiling import TilePlan
from ..writing.cog import values_in_blocks
from .memory import Fit, Projection
from .options import NO_EFFECT

VERSION = 1


@dataclass(frozen=True)
class FusionPlan:
    """What a fusion would do.

    Attributes
    ----------
    method : str
    options : dict
        Those of `fuse_to_file`, with the tile and the overlap that were chosen; a file for the
        uncertainty is named beside them.
    ratio : int
        HSI pixel over MSI pixel.
    hsi, msi, result : dict
        ``bands`` and ``shape`` of each; of the result also ``crs`` (WKT) and ``transform``, None
        without a CRS, and whether it has an ``uncertainty``; of the HSI also whether it is
        ``resampled``.
    tiles : TilePlan
        Cores, which are also the chunks of the result, and the windows that are read for them.
    memory : Projection
        Projected peaks in bytes.
    stored : dict
        How values are stored: ``dtype``, ``scale`` and ``offset`` of `fuse_to_file`.
    disk : dict
        Bytes at most, as if nothing could be compressed: ``result`` and ``temporary``, by the kind
        of the result.
    seconds : dict or None
        Estimated time by stage, from a calibration.
    notes : tuple of str
        What will be done about the grids.
    """

    method: str
    options: dict[str, Any]
    ratio: int
    hsi: dict[str, Any]
    msi: dict[str, Any]
    result: dict[str, Any]
    tiles: TilePlan
    memory: Projection
    stored: dict[str, Any]
    disk: dict[str, dict[str, int]]
    seconds: dict[str, float] | None = None
    notes: tuple[str, ...] = field(default=())

    @classmethod
    def of(
        cls,
        pair: Pair,
        options: dict[str, Any],
        tiles: TilePlan,
        fit: Fit,
        stored: dict[str, Any],
    ) -> FusionPlan:
        """Plan of a pair with resolved options."""
        height, width = pair.shape
        target = pair.target
        result = {
            "bands": pair.n_hsi,
            "shape": [height, width],
            "crs": None if target is None else str(target.crs),
            "transform": None if target is None else list(target.affine[:6]),
        }
        options = {**options, "tile": tiles.tile, "overlap": tiles.halo}
        if uncertain := options.pop("uncertainty"):
            result["uncertainty"] = True
        pixel = pair.n_hsi * np.dtype(stored["dtype"]).itemsize
        files = 2 if uncertain else 1
        size, in_blocks = (
            files * pixel * n for n in (height * width, values_in_blocks(height, width))
        )
        return cls(
            method=str(options["method"]),
            options=json.loads(json.dumps(options)),
            ratio=pair.ratio,
            hsi={
                "bands": pair.n_hsi,
                "shape": list(pair.lr_shape),
                "resampled": pair.resampled,
            },
            msi={"bands": pair.n_msi, "shape": list(pair.hr_shape)},
            result=result,
            tiles=tiles,
            memory=fit.projection,
            stored=stored,
            # A GeoTIFF is put together without compression and copied into its final order.
            disk={
                "tif": {"result": in_blocks, "temporary": 2 * in_blocks},
                "zarr": {"result": size, "temporary": 0},
            },
            notes=pair.notes,
        )

    @property
    def fingerprint(self) -> str:
        """Digest of what decides the result and is known by now: grids, tiles and options.

        It knows nothing of pixels, weights and versions: what goes on with ``--resume`` is compared
        by `fingerprint.fingerprint`, which does.
        """
        values = self.to_dict()
        options = {k: v for k, v in values["options"].items() if k not in NO_EFFECT}
        decisive = [
            options,
            *(values[k] for k in ("ratio", "hsi", "msi", "result", "tiles", "stored")),
        ]
        text = json.dumps(decisive, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Plain types, JSON-able."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        own = asdict(self.tiles)
        derived = {"count": len(self.tiles), "window": list(self.tiles.window_shape)}
        tiles = {k: list(v) if isinstance(v, tuple) else v for k, v in own.items()} | derived
        return {
            "version": VERSION,
            **values,
            "tiles": tiles,
            "memory": self.memory.to_dict(),
            "notes": list(self.notes),
        }

    def describe(self) -> dict[str, Any]:
        """As `to_dict`, with the fingerprint."""
        return {**self.to_dict(), "fingerprint": self.fingerprint}

    def to_json(self) -> str:
        """The plan as JSON text."""
        return json.dumps(self.describe(), indent=2)

    @classmethod
    def from_json(cls, text: str) -> FusionPlan:
        """Read `to_json` back.

        Raises
        ------
        InputError
            If it is no plan, or was changed.
        """
        try:
            values = json.loads(text)
            if values.pop("version") != VERSION:
                raise ValueError("of another version")
            told = values.pop("fingerprint")
            tiles = {f.name: _tuple(values["tiles"][f.name]) for f in fields(TilePlan)}
            memory = {f.name: values["memory"][f.name] for f in fields(Projection)}
            values |= {"tiles": TilePlan(**tiles), "memory": Projection(**memory)}
            plan = cls(**{**values, "notes": tuple(values["notes"])})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"this is no plan ({error}): make one with 'emrdiff plan --json'"
            ) from None
        if plan.fingerprint != told:
            raise InputError("the plan was changed by hand: make it anew with 'emrdiff plan'")
        return plan


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
