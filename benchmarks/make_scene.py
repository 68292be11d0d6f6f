"""Make a pair of the size of Chikusei: ``python -m benchmarks.make_scene FOLDER``.

An agricultural scene with a river, roads and settlements, in 128 bands from 363 to 1018 nm. Every
pixel is a pure function of its place, so that the files are written window by window and a
scene of any height needs the same memory. HSI and MSI come from the same spectra: the HSI through
the PSF of `Degradation`, the MSI through four Gaussian bands. A corner and some patches have no
data.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.windows import Window

from emrdiff_geo.degradation.degrade import Degradation
from emrdiff_geo.methods.noise import pixel_noise
from emrdiff_geo.spectra.spectral import gaussian_response

CHIKUSEI = (2517, 2335, 128)
MSI_NM, MSI_FWHM_NM = (490, 560, 665, 842), (65, 35, 30, 115)
NODATA = -9999
PIXEL_M = 2.5
#: Noise of the sensors in units of reflectance x 10^4.
NOISE = 8.0
_STEP = 512
_PARCEL = (52, 38)


@dataclass(frozen=True)
class Scene:
    """Spectra of a scene; see the module."""

    height: int = CHIKUSEI[0]
    width: int = CHIKUSEI[1]
    bands: int = CHIKUSEI[2]
    seed: int = 0

    @property
    def wavelength_nm(self) -> np.ndarray:
        """``(bands,)`` centres."""
        return np.linspace(363.0, 1018.0, self.bands)

    def cube(self, rows: slice, cols: slice) -> np.ndarray:
        """``(bands, h, w)`` float32 reflectance x 10^4 of a window; it may reach outside."""
        origin = rows.start, cols.start
        shape = rows.stop - rows.start, cols.stop - cols.start
        weights = self._abundances(origin, shape)
        spectra = _spectra(self.wavelength_nm)
        light = 1 + 0.08 * self._texture(90, origin, shape, (2, 6, 40))
        cube = np.tensordot(spectra.T, weights * light, axes=1)
        return np.maximum(10_000 * cube, 10).astype(np.float32)

    def valid(self, rows: slice, cols: slice) -> np.ndarray:
        """``(h, w)`` bool: a cut corner and patches of clouds are nodata."""
        y, x = np.mgrid[rows, cols]
        clouds = self._texture(91, (rows.start, cols.start), y.shape, (160, 320)) > 2.3
        return ~clouds & (y + 2 * x > 300)

    def _texture(
        self, step: int, origin: tuple[int, int], shape: tuple[int, int], scales: tuple[int, ...]
    ) -> np.ndarray:
        """Sum of interpolated lattices of normal numbers, of about unit variance."""
        layers = [_lattice(self.seed, 100 * step + k, origin, shape, k) for k in scales]
        return sum(layers) / np.sqrt(len(layers) * 0.45)

    def _abundances(self, origin: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
        """``(materials, h, w)``: parcels of one crop, bare patches in them, roads and a river."""
        warp = [self._texture(k, origin, shape, (64, 200)) for k in (1, 2)]
        y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
        y, x = y + origin[0] + 10 * warp[0], x + origin[1] + 10 * warp[1]
        u, v = (0.94 * y + 0.34 * x) / _PARCEL[0], (0.94 * x - 0.34 * y) / _PARCEL[1]
        cell_u, cell_v = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
        kind = _hash(cell_u, cell_v) % 7
        weights = np.zeros((8, *shape), np.float32)
        np.put_along_axis(weights, kind[None], 1, axis=0)
        bare = _smoothstep(0.4 + 0.5 * self._texture(3, origin, shape, (3, 9, 30)))
        weights *= 1 - 0.6 * bare
        weights[1] += 0.6 * bare
        road = np.minimum(u - cell_u, v - cell_v) < 0.07
        weights[:, road] *= 0.15
        weights[5, road] += 0.85
        bank = self.width / 2 + 180 * np.sin(y / 420) - x
        river = _smoothstep((26 - np.abs(bank)) / 6)
        weights *= 1 - river
        weights[7] += river
        return weights / weights.sum(axis=0)


def _smoothstep(x: np.ndarray) -> np.ndarray:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def _hash(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    mixed = (a * 73856093 ^ b * 19349663) & 0xFFFFFFFF
    return (mixed * 2654435761 >> 13) & 0x7FFF


def _lattice(
    seed: int, step: int, origin: tuple[int, int], shape: tuple[int, int], scale: int
) -> np.ndarray:
    """Normal numbers on every `scale`-th pixel, linearly interpolated."""
    first = [o // scale for o in origin]
    count = [(o + n) // scale - f + 2 for o, n, f in zip(origin, shape, first, strict=True)]
    values = pixel_noise(seed, step, (first[0], first[1]), (count[0], count[1]), 1)[0]
    along = []
    for o, n, f, k in zip(origin, shape, first, count, strict=True):
        at = (np.arange(o, o + n) / scale - f)[:, None] - np.arange(k)
        along.append(np.maximum(1 - np.abs(at), 0).astype(np.float32))
    return along[0] @ values @ along[1].T


def _spectra(nm: np.ndarray) -> np.ndarray:
    """``(8, bands)`` reflectance of materials, shaped as in the literature, drawn from none."""

    def step(at: float, width: float) -> np.ndarray:
        return 1 / (1 + np.exp(-(nm - at) / width))

    def dip(at: float, width: float) -> np.ndarray:
        return np.exp(-0.5 * ((nm - at) / width) ** 2)

    def leaf(vigour: float, edge: float) -> np.ndarray:
        visible = 0.04 + 0.05 * vigour * dip(550, 32) - 0.02 * dip(672, 18) + 0.01 * dip(600, 40)
        return visible + 0.46 * vigour * step(edge, 14) * (1 - 0.06 * dip(970, 25))

    rising = (nm - 363) / 655
    soil = 0.06 + 0.26 * rising**0.8 - 0.03 * dip(490, 40) - 0.02 * dip(870, 60)
    dry = 0.08 + 0.35 * rising - 0.03 * dip(675, 20)
    water = 0.02 + 0.06 * dip(560, 70) + 0.01 * dip(700, 20)
    roof = 0.07 + 0.22 * step(590, 18) - 0.04 * dip(870, 50)
    return np.stack(
        [
            leaf(1.0, 718),
            soil,
            leaf(0.62, 708),
            dry,
            leaf(0.82, 724),
            0.10 + 0.04 * rising,
            roof,
            water,
        ]
    )


def make_pair(folder: Path, scene: Scene, ratio: int = 8) -> tuple[Path, Path]:
    """Write ``hsi.tif`` and ``msi.tif``, int16 with nodata, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    lr_shape = -(-scene.height // ratio), -(-scene.width // ratio)
    paths = folder / "hsi.tif", folder / "msi.tif"
    hsi = _create(paths[0], scene.bands, lr_shape, PIXEL_M * ratio)
    msi = _create(paths[1], len(MSI_NM), (scene.height, scene.width), PIXEL_M)
    _describe(hsi, scene.wavelength_nm, np.full(scene.bands, 5.5))
    _describe(msi, np.array(MSI_NM, float), np.array(MSI_FWHM_NM, float))
    with hsi, msi:
        for window in _windows(lr_shape, _STEP // ratio):
            _write(scene, ratio, window, hsi, msi)
    return paths


def _create(path: Path, count: int, shape: tuple[int, int], pixel: float) -> rasterio.DatasetBase:
    return rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=count,
        height=shape[0],
        width=shape[1],
        dtype="int16",
        nodata=NODATA,
        crs="EPSG:32654",
        transform=Affine(pixel, 0, 424000.0, 0, -pixel, 4017000.0),
        tiled=True,
        blockxsize=256 if shape[1] > 512 else 64,
        blockysize=256 if shape[1] > 512 else 64,
        interleave="band" if count < 16 else "pixel",
        compress="zstd",
        predictor=2,
        bigtiff="if_safer",
    )


def _describe(file: rasterio.DatasetBase, nm: np.ndarray, fwhm: np.ndarray) -> None:
    for band, (centre, width) in enumerate(zip(nm, fwhm, strict=True), 1):
        file.update_tags(band, wavelength=f"{centre:.2f}", fwhm=f"{width:.2f}")
        file.update_tags(band, wavelength_units="nm")


def _windows(shape: tuple[int, int], step: int):
    for row in range(0, shape[0], step):
        for col in range(0, shape[1], step):
            yield row, min(row + step, shape[0]), col, min(col + step, shape[1])


def _write(scene: Scene, ratio: int, window, hsi, msi) -> None:
    """One window of both files; the HSI sees past the window's border as the scene goes on."""
    top, bottom, left, right = window
    degradation = Degradation(ratio)
    reach = degradation.reach
    rows, cols = (
        slice((a - reach) * ratio, (b + reach) * ratio) for a, b in ((top, bottom), (left, right))
    )
    cube, valid = scene.cube(rows, cols), scene.valid(rows, cols)
    inner = (..., slice(reach, -reach), slice(reach, -reach))
    lr = degradation.down(cube)[inner]
    lr += NOISE * pixel_noise(scene.seed, 1, (top, left), lr.shape[1:], len(lr))
    seen = degradation.down(valid.astype(np.float32))[inner] > 0.999
    stored = np.where(seen, np.rint(lr), NODATA).astype(np.int16)
    hsi.write(stored, window=Window(left, top, right - left, bottom - top))
    margin = reach * ratio
    fine = (..., slice(margin, -margin), slice(margin, -margin))
    at = top * ratio, left * ratio
    response = gaussian_response(MSI_NM, MSI_FWHM_NM, scene.wavelength_nm)
    image = np.tensordot(response.astype(np.float32), cube[fine], axes=1)
    image += NOISE * pixel_noise(scene.seed, 2, at, image.shape[1:], len(image))
    height, width = (
        min(n, size - o) for n, size, o in zip(image.shape[1:], msi.shape, at, strict=True)
    )
    stored = np.where(valid[fine], np.rint(image), NODATA).astype(np.int16)
    msi.write(stored[:, :height, :width], window=Window(at[1], at[0], width, height))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--height", type=int, default=CHIKUSEI[0])
    parser.add_argument("--width", type=int, default=CHIKUSEI[1])
    parser.add_argument("--bands", type=int, default=CHIKUSEI[2])
    parser.add_argument("--ratio", type=int, default=8)
    args = parser.parse_args()
    for path in make_pair(args.folder, Scene(args.height, args.width, args.bands), args.ratio):
        print(path)


if __name__ == "__main__":
    main()
