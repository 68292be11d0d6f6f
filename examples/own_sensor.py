"""Bands of a sensor of your own, from a table or as Gaussians: python own_sensor.py [FOLDER]."""

import argparse
from pathlib import Path

import emrdiff_geo
from emrdiff_geo.demo import indian_pines
from emrdiff_geo.spectra.sensors import SpectralResponse

# First column: wavelength; then one column a band: relative response, in any scale.
TABLE = """wavelength_nm,green,red,nir
500,0.0,0.0,0.0
540,1.0,0.0,0.0
620,0.0,0.7,0.0
680,0.0,1.0,0.0
720,0.0,0.0,0.2
800,0.0,0.0,1.0
900,0.0,0.0,0.0
"""


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "my_camera.csv"
    table.write_text(TABLE)
    measured = emrdiff_geo.load_response(table)
    nominal = SpectralResponse.gaussian([560, 660, 820], fwhm=[60, 60, 120], name="nominal")

    scene = indian_pines().isel(y=slice(64), x=slice(64))
    for response in (measured, nominal):
        pair = emrdiff_geo.simulate(scene, ratio=4, response=response)
        out = emrdiff_geo.write_pair(pair, folder / response.name, overwrite=True)
        centres = ", ".join(f"{c:.0f}" for c in response.centers_nm)
        print(f"{response.name}: bands at {centres} nm, pair in {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("example-output"))
    main(parser.parse_args().folder)
