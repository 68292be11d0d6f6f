"""The result's means over the HSI's own pixels are the HSI."""

import numpy as np
import pytest
from scenes import dataset, reference_cube, simulated

from emrdiff_geo.evaluation import evaluate
from emrdiff_geo.fusion import fuse
from emrdiff_geo.readers import open_hsi
from emrdiff_geo.sources import ArraySource, ResampledSource

NM = np.linspace(430.0, 900.0, 12)


def averaged(fused, hsi):
    """Exact area means of a result on the HSI's grid, NaN where it does not cover half a pixel."""
    grids = fused["image"].odc.geobox, hsi["image"].odc.geobox
    source = ResampledSource(ArraySource(fused["image"].values), *grids)
    return source.read(slice(None), slice(None))


def inner_difference(fused, hsi):
    difference = (averaged(fused, hsi) - hsi["image"].values)[:, 1:-1, 1:-1]
    return np.sqrt(np.nanmean(difference**2)) / hsi["image"].values.std()


@pytest.fixture(scope="module")
def odd_pair():
    """An HSI of 43 m over an MSI of 10 m: no whole ratio, another origin."""
    cube = reference_cube(160, 160)
    _, hr, _ = simulated(cube, 4)
    fine = dataset(cube, 10.0)
    msi = dataset(hr, 10.0, [490, 560, 665, 840])
    shape = dataset(np.zeros((1, 37, 37), np.float32), 43.0)["image"].odc.geobox
    source = ResampledSource(ArraySource(cube), fine["image"].odc.geobox, shape)
    return dataset(source.read(slice(None), slice(None)), 43.0, NM), msi, cube


@pytest.mark.parametrize("method", ["bicubic", "local_regression"])
def test_a_resampled_hsi_is_met_on_its_own_pixels(odd_pair, method, monkeypatch):
    hsi, msi, _ = odd_pair
    assert inner_difference(fuse(hsi, msi, method=method), hsi) < 0.01
    monkeypatch.setattr("emrdiff_geo.pipeline.agree_with_hsi", lambda fused, *rest: fused)
    assert inner_difference(fuse(hsi, msi, method=method), hsi) > 0.02


def test_it_brings_the_result_nearer_to_the_truth(odd_pair, monkeypatch):
    hsi, msi, cube = odd_pair

    def error():
        fused = fuse(hsi, msi, method="local_regression")["image"].values
        height, width = fused.shape[1:]
        return np.sqrt(np.nanmean((fused - cube[:, :height, :width]) ** 2))

    after = error()
    monkeypatch.setattr("emrdiff_geo.pipeline.agree_with_hsi", lambda fused, *rest: fused)
    assert after < error()


def test_nodata_does_no_harm_to_what_lies_beside_it(odd_pair, monkeypatch):
    hsi, msi, cube = odd_pair
    holed = hsi.copy(deep=True)
    holed["image"][:, 10:14, 10:14] = np.nan

    def worst():
        fused = fuse(holed, msi, method="local_regression")["image"].values
        height, width = fused.shape[1:]
        assert np.isnan(fused).any()
        return np.nanmax(np.abs(fused - cube[:, :height, :width]))

    after = worst()
    monkeypatch.setattr("emrdiff_geo.pipeline.agree_with_hsi", lambda fused, *rest: fused)
    assert after < worst()


def test_evaluation_measures_on_the_hsi_s_own_pixels(odd_pair):
    hsi, msi, _ = odd_pair
    fused = fuse(hsi, msi, method="local_regression").compute()
    found = evaluate(fused, hsi=hsi, msi=msi).to_dict()["consistency"]["spectral"]
    assert found["correlation"] > 0.999


def test_berlin_averaged_back_is_the_enmap_image(shared_data):
    hsi = open_hsi(shared_data / "georef" / "berlin_enmapsim244_30m.tif")
    msi = shared_data / "georef" / "berlin_hymap4_3m6.tif"
    fused = fuse(hsi, msi, method="local_regression")
    back, wanted = (a[:, 1:-1, 1:-1] for a in (averaged(fused, hsi), hsi["image"].values))
    valid = np.isfinite(back).all(axis=0)
    correlation = [np.corrcoef(b[valid], w[valid])[0, 1] for b, w in zip(back, wanted, strict=True)]
    assert len(correlation) == 244
    # The worst band is the noisiest: its noise is left out.
    assert min(correlation) > 0.98
    assert np.median(correlation) > 0.998
