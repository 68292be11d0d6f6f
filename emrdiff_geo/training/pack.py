"""Training scenes packed for another machine: few files of bounded size, readable without GDAL.

    python -m emrdiff_geo.training.pack SCENES... --out FOLDER [--mib 55]

writes ``pack-000.safetensors`` and so on, which stand wherever scenes do: ``emrdiff train
FOLDER/pack-*.safetensors``. Values are kept as 16-bit whole numbers between the least and the
largest of a scene, 107 dB below its range; wavelengths and widths go with them. A scene that is
too large for one file is cut along y.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ..errors import EmrdiffError, InputError
from .draws import TrainingScene

#: Largest piece in MiB.
PIECE_MIB = 55.0
#: Stands for nodata.
NODATA = np.iinfo(np.uint16).max
SUFFIX = ".safetensors"


def pack(scenes: Sequence[TrainingScene], out: Path, mib: float = PIECE_MIB) -> list[Path]:
    """Write scenes into as few files as their size allows, in their order.

    Parameters
    ----------
    scenes : sequence of TrainingScene
    out : Path
        Folder; made if need be. Packs that lie there already are not overwritten.
    mib : float
        Largest size of a file, MiB.

    Returns
    -------
    list of Path

    Raises
    ------
    InputError
        If one row of a scene is larger than a file may be, or the folder holds packs.
    """
    out.mkdir(parents=True, exist_ok=True)
    if any(out.glob(f"pack-*{SUFFIX}")):
        raise InputError(f"{out} holds packs already: name another folder")
    # The header names every tensor; it stays far below this.
    room = int(mib * 2**20) - 2**16
    written: list[Path] = []
    tensors: dict[str, np.ndarray] = {}
    about: dict[str, dict] = {}
    size = 0

    def flush() -> None:
        path = out / f"pack-{len(written):03d}{SUFFIX}"
        save_file(tensors, path, metadata={"scenes": json.dumps(about)})
        written.append(path)

    for scene in (part for whole in scenes for part in _parts(whole, room)):
        if size + 2 * scene.cube.size > room and tensors:
            flush()
            tensors, about, size = {}, {}, 0
        name = scene.name if scene.name not in about else f"{scene.name} {len(about)}"
        tensors[name], about[name] = _quantised(scene)
        size += 2 * scene.cube.size
    if tensors:
        flush()
    return written


def _parts(scene: TrainingScene, room: int) -> Iterator[TrainingScene]:
    """The scene, or strips of it that fit."""
    bands, height, width = scene.cube.shape
    if 2 * bands * width > room:
        raise InputError(f"one row of {scene.name} is larger than a pack may be: raise --mib")
    count = -(-2 * scene.cube.size // room)
    edges = np.linspace(0, height, count + 1).round().astype(int)
    for number, (top, bottom) in enumerate(itertools.pairwise(edges)):
        name = scene.name if count == 1 else f"{scene.name} part {number}"
        yield TrainingScene(name, scene.cube[:, top:bottom], scene.wavelength_nm, scene.fwhm_nm)


def _quantised(scene: TrainingScene) -> tuple[np.ndarray, dict]:
    cube = scene.cube
    valid = np.isfinite(cube)
    low, high = (float(f(cube[valid])) for f in (np.min, np.max))
    scale = max(high - low, np.finfo(np.float32).tiny) / (NODATA - 1)
    whole = np.round((np.where(valid, cube, low).astype(np.float64) - low) / scale)
    whole = np.where(valid, whole, NODATA).astype(np.uint16)
    about = {
        "low": low,
        "scale": scale,
        "wavelength_nm": scene.wavelength_nm.tolist(),
        "fwhm_nm": scene.fwhm_nm.tolist(),
    }
    return np.ascontiguousarray(whole), about


def packed_names(path: str | Path) -> list[str]:
    """Names of the scenes in a pack.

    Raises
    ------
    InputError
        If the file is no pack.
    """
    return list(_about(path))


def _about(path: str | Path) -> dict[str, dict]:
    try:
        with safe_open(str(path), "numpy") as file:
            return json.loads(file.metadata()["scenes"])
    except (OSError, SafetensorError, TypeError, KeyError, ValueError):
        raise InputError(
            f"{Path(path).name} is no pack of training scenes: make one with "
            "python -m emrdiff_geo.training.pack"
        ) from None


def read_packed(path: str | Path, name: str) -> TrainingScene:
    """Read one scene of a pack."""
    about = _about(path)[name]
    with safe_open(str(path), "numpy") as file:
        whole = file.get_tensor(name)
    cube = (about["low"] + about["scale"] * whole.astype(np.float64)).astype(np.float32)
    cube[whole == NODATA] = np.nan
    wavelength, fwhm = (np.array(about[k]) for k in ("wavelength_nm", "fwhm_nm"))
    return TrainingScene(name, cube, wavelength, fwhm)


def main() -> None:
    """Pack scenes from the command line."""
    from .scenes import SceneFile, load_scene

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenes", nargs="+", help="PATH or PATH@400-2500, as for emrdiff train")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--mib", type=float, default=PIECE_MIB, help="largest file, MiB")
    options = parser.parse_args()
    try:
        scenes = [load_scene(file) for file in SceneFile.parse_all(options.scenes)]
        for path in pack(scenes, options.out, options.mib):
            print(f"{path} {path.stat().st_size / 2**20:.1f} MiB")
    except EmrdiffError as error:
        parser.exit(2, f"Error: {error}\n")


if __name__ == "__main__":
    main()
