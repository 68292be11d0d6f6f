"""Fuse a hyperspectral and a multispectral file: python fuse_pair.py [FOLDER]."""

import argparse
from pathlib import Path

import emrdiff_geo
from emrdiff_geo.demo import indian_pines


def make_files(folder: Path) -> None:
    """Write hsi.tif (80 m) and msi.tif (20 m), which stand for two files of your own."""
    scene = indian_pines().isel(y=slice(64), x=slice(64))
    pair = emrdiff_geo.simulate(scene, ratio=4, response="sentinel2a:B02,B03,B04,B08")
    emrdiff_geo.write_pair(pair, folder, overwrite=True)


def main(folder: Path) -> None:
    make_files(folder)
    hsi = emrdiff_geo.open_hsi(folder / "hsi.tif")
    msi = emrdiff_geo.open_msi(folder / "msi.tif")

    # A lazy Dataset: only the tiles that a selection touches are fused.
    fused = hsi.emrdiff.fuse(msi, seed=1)
    red = fused.image.isel(band=int(abs(fused.wavelength - 660).argmin("band")))
    print(f"{dict(fused.sizes)}, mean at {float(red.wavelength):.0f} nm: {float(red.mean()):.0f}")

    # The whole scene, tile by tile, into a cloud-optimised GeoTIFF; .zarr works as well.
    out = hsi.emrdiff.fuse_to_file(msi, folder / "fused.tif", seed=1, overwrite=True)
    print(f"wrote {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("example-output"))
    main(parser.parse_args().folder)
