import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from emrdiff_geo.errors import GridError, InputError, OutputError
from emrdiff_geo.evaluation.evaluate import evaluate
from emrdiff_geo.evaluation.report import comparison_figure, evaluation_figure, save_figure

RATIO = 4
WAVELENGTH = np.array([450, 470, 550, 560, 650, 660, 800, 1600.0])
NORTH_UP = Affine(10, 0, 300_000, 0, -10, 5_800_000)


def located(values, affine=NORTH_UP, wavelength=None):
    box = GeoBox(values.shape[1:], affine, "EPSG:32633")
    coords = {} if wavelength is None else {"wavelength": ("band", wavelength)}
    return xr.DataArray(values, dims=("band", "y", "x"), coords={**xr_coords(box), **coords})


@pytest.fixture(scope="module")
def scene():
    """Result, reference, HSI, MSI."""
    rng = np.random.default_rng(0)
    truth = 1 + np.cumsum(np.cumsum(rng.normal(size=(8, 40, 32)), 1), 2) / 100
    truth = truth.astype(np.float32)
    hsi = truth.reshape(8, 10, 4, 8, 4).mean((2, 4))
    result = truth + 0.02 * rng.normal(size=truth.shape).astype(np.float32)
    result[:, :5, :7] = np.nan
    return (
        located(result, wavelength=WAVELENGTH),
        located(truth, wavelength=WAVELENGTH),
        located(hsi, NORTH_UP * Affine.scale(RATIO), WAVELENGTH),
        located(truth[[0, 2, 4]] * 100, wavelength=WAVELENGTH[[0, 2, 4]]),
    )


def axes_by_title(figure):
    drawn = [axis for axis in figure.axes if axis.axison and axis.get_title()]
    return {axis.get_title().split("\n")[0]: axis for axis in drawn}


def test_everything_given(scene, tmp_path):
    result, reference, hsi, msi = scene
    found = evaluate(result, reference, hsi=hsi, msi=msi)
    figure = evaluation_figure(
        result, reference, hsi=hsi, msi=msi, evaluation=found, title="A scene"
    )
    axes = axes_by_title(figure)
    pictures = ["HSI", "MSI", "result", "reference", "error"]
    spectra = [f"spectrum at {letter}" for letter in "ABCD"]
    assert list(axes) == [*pictures, *spectra, "RMSE per band"]
    # The MSI is in other units, the HSI lies under the same window.
    assert "own stretch" in axes["MSI"].get_title()
    assert axes["HSI"].get_xlim() == (0, 32)
    assert axes["HSI"].images[0].get_extent() == [0, 32, 40, 0]
    assert axes["spectrum at A"].get_xlabel() == "wavelength (nm)"
    names = [text.get_text() for text in axes["spectrum at A"].get_legend().get_texts()]
    assert names == ["HSI pixel", "reference", "result"]
    path = save_figure(figure, tmp_path / "figure", dpi=40)
    assert path.suffix == ".png"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_nodata_is_neither_shown_nor_chosen(scene):
    result, reference, *_ = scene
    axes = axes_by_title(evaluation_figure(result, reference))
    assert (axes["result"].images[0].get_array()[:5, :7, 3] == 0).all()
    assert axes["error"].images[0].get_array()[:5, :7].mask.all()
    assert all(np.isfinite(line.get_ydata()).any() for line in axes["spectrum at A"].lines)


def test_without_a_reference_the_map_shows_the_inconsistency(scene, tmp_path):
    result, _, hsi, msi = scene
    found = evaluate(result, hsi=hsi, msi=msi)
    figure = evaluation_figure(result, hsi=hsi, msi=msi, evaluation=found)
    axes = axes_by_title(figure)
    assert {"HSI", "MSI", "result", "inconsistency"} <= set(axes)
    assert "reference" not in axes
    shown = axes["inconsistency"].images[0].get_array()
    assert shown.shape == (10, 8)
    assert shown.mask.sum() == 4  # coarse pixels that the nodata touches
    assert "correlation with the HSI per band" in axes
    save_figure(figure, tmp_path / "figure.png", dpi=40)


@pytest.mark.parametrize("bands", [1, 2, 8])
def test_plain_arrays_will_do(scene, tmp_path, bands):
    result, reference = (image.values[:bands] for image in scene[:2])
    figure = evaluation_figure(result, reference, error="sam")
    axes = axes_by_title(figure)
    assert axes["spectrum at A"].get_xlabel() == "band"
    save_figure(figure, tmp_path / "figure.png", dpi=40)
    save_figure(evaluation_figure(result), tmp_path / "figure.png", dpi=40)


def test_large_scenes_are_averaged_down(scene):
    result, reference, hsi, msi = scene
    figure = evaluation_figure(result, reference, hsi=hsi, msi=msi, max_side=10)
    axes = axes_by_title(figure)
    assert axes["result"].images[0].get_array().shape[:2] == (10, 8)
    assert axes["result"].images[0].get_extent() == [0, 32, 40, 0]


def test_a_scene_of_nodata_alone_draws(tmp_path):
    nothing = np.full((4, 16, 16), np.nan, np.float32)
    save_figure(evaluation_figure(nothing, nothing), tmp_path / "figure.png", dpi=40)


def test_comparison_shares_one_scale(scene, tmp_path):
    result, reference, hsi, _ = scene
    results = {"good": result, "worse": reference + 0.3, "window": result[:, 8:, 8:]}
    figure = comparison_figure(
        results,
        reference,
        hsi=hsi,
        scores={"good": {"PSNR": 40.123, "SAM": 1.5}},
        title="Methods",
    )
    axes = axes_by_title(figure)
    assert {"HSI", "reference", *results} <= set(axes)
    assert "40.12 dB" in axes["good"].get_title()
    limits = {image.get_clim() for axis in figure.axes for image in axis.images if image.colorbar}
    assert len(limits) == 1
    save_figure(figure, tmp_path / "figure.png", dpi=40)
    with pytest.raises(InputError, match="one or more"):
        comparison_figure({}, reference)
    with pytest.raises(GridError, match="same window"):
        comparison_figure({"array": result.values[:, 1:]}, reference)


def test_a_figure_that_cannot_be_written_says_so(scene, tmp_path):
    figure = evaluation_figure(scene[0])
    with pytest.raises(OutputError, match="cannot be written"):
        save_figure(figure, tmp_path / "missing" / "figure.png")
    with pytest.raises(OutputError, match="cannot be written"):
        save_figure(figure, tmp_path / "figure.nonsense")


def test_figures_leave_pyplot_alone():
    code = (
        "import sys, numpy as np; from emrdiff_geo.evaluation import report; "
        "assert 'matplotlib' not in sys.modules; "
        "report.evaluation_figure(np.ones((3, 8, 8))); "
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
