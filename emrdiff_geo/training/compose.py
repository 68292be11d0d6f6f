"""Scenes composed from a spectral library over the texture of a real image.

Thirteen small scenes show few kinds of ground. A composed scene keeps what is hard to invent, the
shapes, mixtures and shading of a real image, and takes its spectra from measured materials: the
image is divided softly into classes, every class gets two spectra of one kind of material, and
the image's own brightness shades them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from scipy.cluster.vq import kmeans, vq
from scipy.special import expit

from ..errors import InputError
from ..scene.nodata import fill_invalid

#: Kinds of material that a library is divided into; each is drawn as often as any other.
KINDS = 40
#: Largest edge of a composed scene, pixels.
EDGE = 256


@dataclass(frozen=True)
class SpectralLibrary:
    """Spectra of materials.

    Attributes
    ----------
    spectra : ndarray
        ``(n, L)`` float32 reflectance 0..1.
    wavelength_nm, fwhm_nm : ndarray
        ``(L,)`` nm.
    kind : ndarray
        ``(n,)`` int: spectra of a similar shape have the same.
    """

    spectra: np.ndarray
    wavelength_nm: np.ndarray
    fwhm_nm: np.ndarray
    kind: np.ndarray

    @classmethod
    def of(cls, spectra: np.ndarray, wavelength_nm: np.ndarray) -> SpectralLibrary:
        """Sort spectra into kinds by their shape."""
        sound = np.isfinite(spectra).all(axis=1) & (spectra.max(axis=1) > 0.02)
        spectra = np.clip(spectra[sound], 0, 1.2).astype(np.float32)
        if len(spectra) < 2:
            raise InputError("a spectral library needs at least two spectra without gaps")
        shape = spectra / np.linalg.norm(spectra, axis=1, keepdims=True)
        centres, _ = kmeans(shape, min(KINDS, len(spectra)), iter=1, rng=np.random.default_rng(0))
        kind, _ = vq(shape, centres)
        gaps = np.diff(wavelength_nm)
        return cls(spectra, wavelength_nm, np.full(len(wavelength_nm), np.median(gaps)), kind)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Two spectra ``(2, L)`` of one kind."""
        of_kind = np.flatnonzero(self.kind == rng.choice(np.unique(self.kind)))
        return self.spectra[rng.choice(of_kind, 2)]


@cache
def read_library(path: str) -> SpectralLibrary:
    """Read an ENVI spectral library, ``NAME.sli`` with its ``NAME.sli.hdr`` or ``NAME.hdr``.

    Raises
    ------
    InputError
        If it is no such library.
    """
    from ..spectra.spectral import wavelengths_nm

    file = Path(path)
    headers = [file.with_name(file.name + ".hdr"), file.with_suffix(".hdr")]
    header = next((h for h in headers if h.is_file()), None)
    if header is None or not file.is_file():
        raise InputError(f"{file.name} is no ENVI spectral library with a header beside it")
    text = header.read_text(encoding="utf-8", errors="replace")
    fields = dict(re.findall(r"^\s*([\w ]+?)\s*=\s*(\{[^}]*\}|[^\n]*)", text, re.MULTILINE))
    try:
        shape = int(fields["lines"]), int(fields["samples"])
        kind = {"4": "f4", "5": "f8"}[fields["data type"].strip()]
        order = "<" if fields.get("byte order", "0").strip() == "0" else ">"
        values = [float(v) for v in fields["wavelength"].strip("{} \n").split(",")]
        spectra = np.fromfile(file, order + kind).reshape(shape)
    except (KeyError, ValueError):
        raise InputError(
            f"{header.name} does not describe a library of float spectra with wavelengths: "
            "export it from ENVI or Python's spectral once more"
        ) from None
    units = fields.get("wavelength units", "").strip() or None
    return SpectralLibrary.of(spectra, wavelengths_nm(np.array(values), units))


def compose(cube: np.ndarray, library: SpectralLibrary, rng: np.random.Generator) -> np.ndarray:
    """Lay materials over the texture of an image.

    Parameters
    ----------
    cube : ndarray
        ``(B, y, x)`` float32, any linear units; NaN is nodata.
    library : SpectralLibrary
        Of ``L`` bands.
    rng : numpy Generator
        Where the scene, its classes and materials come from.

    Returns
    -------
    ndarray
        ``(L, y', x')`` float32 reflectance, edges of at most `EDGE`.
    """
    top, left = (int(rng.integers(0, max(n - EDGE, 0) + 1)) for n in cube.shape[1:])
    cube, _ = fill_invalid(cube[:, top : top + EDGE, left : left + EDGE])
    features, brightness = _features(cube)
    members = _classes(features, rng)
    share = expit(rng.normal(0, 1.5) + rng.normal(0, 1) * features[:, -1:])
    weights = np.concatenate([members * share, members * (1 - share)], axis=1)
    drawn = np.stack([library.draw(rng) for _ in range(members.shape[1])])
    shading = _shading(brightness, members, rng)
    spectra = (weights * shading[:, None]) @ np.concatenate([drawn[:, 0], drawn[:, 1]])
    return np.ascontiguousarray(spectra.T.reshape(-1, *cube.shape[1:]), np.float32)


def _features(cube: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leading principal components ``(n, k)`` of unit variance, and the brightness ``(n,)``."""
    pixels = cube.reshape(len(cube), -1).T
    centred = pixels - pixels.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    count = min(4, len(values))
    scores = centred @ vectors[:, -count:][:, ::-1]
    spread = np.maximum(scores.std(axis=0), 1e-9 * max(float(np.abs(pixels).max()), 1e-30))
    return scores / spread, np.maximum(pixels.mean(axis=1), 0)


def _classes(features: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Soft membership ``(n, c)`` in classes around some pixels."""
    count = int(rng.integers(4, 16))
    centres = features[rng.choice(len(features), count)]
    distance = ((features[:, None] - centres) ** 2).sum(axis=2)
    softness = np.exp(rng.uniform(np.log(0.05), np.log(0.5))) * np.median(distance.min(axis=1))
    distance = distance - distance.min(axis=1, keepdims=True)
    members = np.exp(-distance / max(float(softness), 1e-9))
    return members / members.sum(axis=1, keepdims=True)


def _shading(brightness: np.ndarray, members: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brightness of every pixel ``(n,)`` relative to its class."""
    mean = (members * brightness[:, None]).sum(axis=0) / np.maximum(members.sum(axis=0), 1e-9)
    relative = brightness / np.maximum(members @ mean, 1e-6 * max(float(brightness.max()), 1e-30))
    return np.clip(relative, 0.05, 3.0) ** rng.uniform(0.3, 1.0)
