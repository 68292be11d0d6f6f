"""How good are the methods on a scene of yours? python simulate_and_evaluate.py [FOLDER]."""

import argparse
from pathlib import Path

import emrdiff_geo
from emrdiff_geo.demo import indian_pines
from emrdiff_geo.evaluation.report import evaluation_figure, save_figure
from emrdiff_geo.methods import METHODS


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # The image itself is the reference; degrading it gives a pair whose fusion can be judged.
    scene = indian_pines().isel(y=slice(64), x=slice(64))
    pair = emrdiff_geo.simulate(scene, ratio=4, response="landsat8:B2,B3,B4,B5,B6,B7")

    found = {}
    for name in METHODS:
        fused = pair.hsi.emrdiff.fuse(pair.msi, method=name).load()
        found[name] = fused.emrdiff.evaluate(pair.reference, ratio=4)
        metrics = found[name].metrics
        print(f"{name:17} {metrics['PSNR']:6.2f} dB   SAM {metrics['SAM']:5.2f} degrees")
        (folder / f"{name}.json").write_text(found[name].to_json())

    figure = evaluation_figure(
        fused, pair.reference, hsi=pair.hsi, msi=pair.msi, evaluation=found[name], title=name
    )
    print(f"wrote {save_figure(figure, folder / 'evaluation.png')}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("example-output"))
    main(parser.parse_args().folder)
