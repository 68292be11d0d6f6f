"""Training scenes from files, and the patches of their draws."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from ..errors import InputError, SpectralError
from ..spectra.spectral import complete_fwhm, wavelengths_by_rank
from .compose import compose, read_library
from .draws import DrawConfig, Patches, TrainingScene, cut_patches, draw_pair
from .pack import SUFFIX, packed_names, read_packed


@dataclass(frozen=True)
class SceneFile:
    """A file to train on, and the range its bands are spread over if it names no wavelengths.

    Attributes
    ----------
    path : str
        Anything that `open_hsi` opens.
    range_nm : (float, float) or None
        Range in nm.
    packed : str or None
        Name of the scene in a pack, see `pack`.
    """

    path: str
    range_nm: tuple[float, float] | None = None
    packed: str | None = None

    @classmethod
    def parse(cls, text: str) -> SceneFile:
        """Parse ``PATH`` or ``PATH@400-2500``."""
        path, at, span = text.rpartition("@")
        if not at or Path(text).exists():
            return cls(text)
        try:
            low, high = (float(v) for v in span.split("-"))
        except ValueError:
            raise InputError(
                f"'{text}' is neither a file nor PATH@FROM-TO: write a range of wavelengths in nm, "
                "as in scene.npz@400-2500"
            ) from None
        return cls(path, (low, high))

    @classmethod
    def parse_all(cls, texts: Iterable[str]) -> list[SceneFile]:
        """As `parse`, for many; a pack gives all of its scenes."""
        files: list[SceneFile] = []
        for text in texts:
            if text.endswith(SUFFIX):
                files += [cls(text, packed=name) for name in packed_names(text)]
            else:
                files.append(cls.parse(text))
        return files

    @property
    def name(self) -> str:
        """Of the scene, for logs and cards."""
        return self.packed or Path(self.path).stem


@lru_cache(maxsize=256)
def load_scene(file: SceneFile) -> TrainingScene:
    """Read a scene; bands without any data are left out.

    Raises
    ------
    InputError, SpectralError
        If it cannot be read, has no valid pixel, no wavelengths and no range for them, or both.
    """
    from ..reading.readers import open_hsi

    if file.packed is not None:
        return read_packed(file.path, file.packed)
    image = open_hsi(file.path)["image"]
    cube = np.asarray(image.values, np.float32)
    filled = np.isfinite(cube).mean(axis=(1, 2))
    keep = filled >= 0.5 * max(filled.max(), 1e-9)
    if "good_band" in image.coords:
        keep &= image["good_band"].values
    if not keep.any() or not filled.any():
        raise InputError(f"{Path(file.path).name} has no valid pixel: leave it out of the training")
    wavelength = _wavelengths(image, len(cube), file)
    fwhm = complete_fwhm(wavelength, image["fwhm"].values if "fwhm" in image.coords else None)
    keep &= np.isfinite(wavelength)
    order = np.flatnonzero(keep)[np.argsort(wavelength[keep], kind="stable")]
    return TrainingScene(file.name, cube[order], wavelength[order], fwhm[order])


def _wavelengths(image, bands: int, file: SceneFile) -> np.ndarray:
    name = Path(file.path).name
    if "wavelength" in image.coords:
        if file.range_nm is not None:
            raise InputError(f"{name} names its wavelengths itself: leave out the range behind @")
        return np.asarray(image["wavelength"].values, float)
    if file.range_nm is None:
        raise SpectralError(
            f"{name} names no wavelengths: add the range that its bands cover, as in "
            f"{name}@400-2500"
        )
    return wavelengths_by_rank(bands, file.range_nm)


class DrawDataset(torch.utils.data.Dataset):
    """Patches by number of draw; picklable, and the same number always gives the same patches."""

    def __init__(
        self, files: list[SceneFile], config: DrawConfig, seed: int, library: str | None = None
    ) -> None:
        self.files, self.config, self.seed, self.library = files, config, seed, library

    def __getitem__(self, index: int) -> Patches:
        rng = np.random.default_rng((self.seed, index))
        scene = load_scene(self.files[int(rng.integers(len(self.files)))])
        if self.library and rng.random() < self.config.composed:
            library = read_library(self.library)
            cube = compose(scene.cube, library, rng)
            name = f"{scene.name} composed"
            scene = TrainingScene(name, cube, library.wavelength_nm, library.fwhm_nm)
        return cut_patches(draw_pair(scene, rng, self.config), rng, self.config)
