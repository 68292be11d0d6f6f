import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from emrdiff_geo.errors import InputError
from emrdiff_geo.evaluation import metrics
from emrdiff_geo.grids.windows import blocks

SCORE = Path(__file__).parents[2] / "shared" / "tools" / "score.py"


def scene(shape=(4, 40, 33), seed=0, noise=0.03):
    rng = np.random.default_rng(seed)
    smooth = np.cumsum(np.cumsum(rng.normal(size=shape), 1), 2)
    reference = 0.2 + (smooth - smooth.min()) / (np.ptp(smooth) or 1)
    # What an image is read as.
    images = reference + noise * rng.normal(size=shape), reference
    return tuple(image.astype(np.float32) for image in images)


def oracle(p, x, ratio):
    """The definitions again, pixel by pixel and window by window."""
    p, x = p.astype(np.float64), x.astype(np.float64)
    bands, height, width = x.shape
    pixels = [
        (i, j)
        for i in range(height)
        for j in range(width)
        if np.isfinite(p[:, i, j]).all() and np.isfinite(x[:, i, j]).all()
    ]
    P = np.array([p[:, i, j] for i, j in pixels]).T
    X = np.array([x[:, i, j] for i, j in pixels]).T
    peak = X.max()
    mse = [np.mean((P[b] / peak - X[b] / peak) ** 2) for b in range(bands)]
    angles = []
    for u, v in zip(P.T, X.T, strict=True):
        if np.linalg.norm(u) * np.linalg.norm(v) > 0:
            cosine = np.dot(u / np.linalg.norm(u), v / np.linalg.norm(v))
            angles.append(np.degrees(np.arccos(min(1, max(-1, cosine)))))
    out = {
        "PSNR": 10 * np.log10(1 / np.mean(mse)),
        "mPSNR": np.mean([10 * np.log10(1 / m) for m in mse]),
        "SAM": np.mean(angles),
        "ERGAS": 100 / ratio * np.sqrt(np.mean(mse / (X.mean(1) / peak) ** 2)),
        "RMSE": np.sqrt(np.mean((P - X) ** 2)),
        "valid": len(pixels) / (height * width),
    }
    if len(pixels) == height * width:
        line = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
        window = np.outer(line, line) / line.sum() ** 2
        values = []
        for b in range(bands):
            for i in range(5, height - 5):
                for j in range(5, width - 5):
                    u, v = (a[b, i - 5 : i + 6, j - 5 : j + 6] / peak for a in (p, x))
                    mu, mv = (window * u).sum(), (window * v).sum()
                    su, sv = (window * (u - mu) ** 2).sum(), (window * (v - mv) ** 2).sum()
                    suv = (window * (u - mu) * (v - mv)).sum()
                    values.append(
                        (2 * mu * mv + 1e-4)
                        * (2 * suv + 9e-4)
                        / ((mu**2 + mv**2 + 1e-4) * (su + sv + 9e-4))
                    )
        out["SSIM"] = np.mean(values)
    return out


def with_nodata(p, x):
    p, x = p.copy(), x.copy()
    p[:, :7, :9] = np.nan
    x[2, 15, 12] = np.nan
    return p, x


@pytest.mark.parametrize("nodata", [False, True])
def test_definitions(nodata):
    p, x = with_nodata(*scene((3, 20, 17))) if nodata else scene((3, 20, 17))
    result = metrics.score(p, x, 4)
    expected = oracle(p, x, 4)
    assert result.keys() == expected.keys()
    assert result == pytest.approx(expected, abs=1e-8, rel=1e-8)


def test_undeclared_fill_values_are_no_pixels():
    p, x = scene((3, 20, 17))
    known, filled = p.copy(), p.copy()
    known[:, :4] = np.nan
    filled[:, :4] = 9.96921e36
    assert metrics.score(filled, x, 4) == metrics.score(known, x, 4)


@pytest.mark.parametrize("case", ["plain", "nodata", "border", "float32 counts", "zero spectrum"])
def test_parity_with_the_independent_oracle(case, tmp_path):
    if not SCORE.is_file():
        pytest.skip("../shared/tools is absent: no comparison with the independent oracle")
    p, x = scene()
    border = 6 if case == "border" else 0
    if case == "nodata":
        p, x = with_nodata(p, x)
    if case == "float32 counts":
        p, x = (np.round(a * 10_000).astype(np.float32) for a in (p, x))
    if case == "zero spectrum":
        x[:, 3, 3] = 0
        p[:, 30, 30] = 0
        p[:, 31, 31] = 1e-16
    for name, array in (("p", p), ("x", x)):
        np.save(tmp_path / f"{name}.npy", array)
    call = [sys.executable, str(SCORE), str(tmp_path / "p.npy"), str(tmp_path / "x.npy")]
    done = subprocess.run(
        [*call, "--ratio", "4", "--border", str(border)], capture_output=True, check=True
    )
    expected = json.loads(done.stdout)
    result = metrics.score(p, x, 4, border, block=16)
    assert result.keys() == expected.keys()
    assert result == pytest.approx(expected, abs=1e-3)


@settings(deadline=None, max_examples=25)
@given(
    block=st.integers(1, 45),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40)),
    nodata=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_block_size_gives_the_same(block, shape, nodata, seed):
    p, x = scene(shape, seed)
    if nodata and shape[1] > 1:
        p[:, 0, :] = np.nan
    whole = metrics.score(p, x, 3)
    result = metrics.score(p, x, 3, block=max(block, min(shape[1:]) // 6, 1))
    assert result.keys() == whole.keys()
    assert result == pytest.approx(whole, rel=1e-9, nan_ok=True)


def test_blocks_may_come_in_any_order():
    p, x = scene((2, 30, 30))
    forward, backward = (metrics.ReferenceMetrics(2, 4, x.max(), ssim=False) for _ in range(2))
    windows = list(blocks((30, 30), (7, 11)))
    for accumulator, order in ((forward, windows), (backward, windows[::-1])):
        for rows, cols in order:
            accumulator.update(p[:, rows, cols], x[:, rows, cols])
    assert forward.result() == pytest.approx(backward.result(), rel=1e-12)


def test_one_band_has_no_angle():
    p, x = scene((1, 20, 20))
    result = metrics.score(p, x, 2)
    assert result["SAM"] == 0
    assert result["PSNR"] == pytest.approx(result["mPSNR"])


def test_perfect_result():
    _, x = scene()
    result = metrics.score(x, x, 2)
    assert result["PSNR"] == np.inf
    assert result["SSIM"] == pytest.approx(1)
    assert result["SAM"] == pytest.approx(0, abs=1e-5)
    assert result["RMSE"] == result["ERGAS"] == 0


def test_known_values():
    x = np.ones((2, 20, 20))
    p = x + np.array([0.1, -0.1])[:, None, None]
    result = metrics.score(p, x, 5)
    assert result["PSNR"] == pytest.approx(20)
    assert result["RMSE"] == pytest.approx(0.1)
    assert result["ERGAS"] == pytest.approx(2)
    assert result["SAM"] == pytest.approx(np.degrees(np.arctan(0.1)))


def test_a_band_of_zeros_does_not_spoil_ergas():
    p, x = scene()
    x[1] = 0
    assert np.isfinite(metrics.score(p, x, 4)["ERGAS"])


def test_per_band():
    p, x = scene()
    bands = metrics.measure(p, x, 4, block=9).per_band()
    np.testing.assert_allclose(bands["rmse"], np.sqrt(np.mean((p - x) ** 2, axis=(1, 2))))
    expected = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(p, x, strict=True)]
    np.testing.assert_allclose(bands["correlation"], expected)
    constant = metrics.measure(np.full_like(x, 0.1), x, 4).per_band()
    assert np.isnan(constant["correlation"]).all()


def test_moments_stay_exact_on_a_large_offset():
    rng = np.random.default_rng(5)
    a = 1e7 + rng.normal(size=(1, 4000))
    b = a + rng.normal(size=(1, 4000))
    moments = metrics.PairMoments(1)
    for part in range(0, 4000, 100):
        moments.update(a[:, part : part + 100], b[:, part : part + 100])
    assert moments.correlation[0] == pytest.approx(np.corrcoef(a[0], b[0])[0, 1], rel=1e-9)


@pytest.mark.parametrize("form", ["dataset", "transposed", "dask"])
def test_takes_what_users_have(form):
    p, x = scene()
    image = xr.DataArray(p, dims=("band", "y", "x"))
    if form == "dataset":
        image = image.to_dataset(name="image")
    elif form == "transposed":
        image = image.transpose("y", "x", "band")
    else:
        image = image.chunk({"y": 13, "x": 13})
    assert metrics.score(image, x, 4) == pytest.approx(metrics.score(p, x, 4))


def test_dask_chunks_are_not_cut():
    image = xr.DataArray(np.zeros((100, 900, 900), np.float32), dims=("band", "y", "x"))
    source = metrics.as_readable(image.chunk({"y": 64, "x": 128}))
    side = metrics.block_side(source)
    assert side[0] % 64 == side[1] % 128 == 0


@pytest.mark.parametrize(
    ("fused", "reference", "options", "words"),
    [
        (np.ones((2, 9, 9)), np.ones((3, 9, 9)), {}, "same bands"),
        (np.ones((2, 9, 9)), np.ones((2, 9, 9)), {"border": 5}, "leaves nothing"),
        (np.ones((2, 9, 9)), np.full((2, 9, 9), np.nan), {}, "nodata"),
        (np.ones((2, 9, 9)), np.zeros((2, 9, 9)), {}, "above 0"),
        (np.ones((2, 9, 9)), np.ones((2, 9, 9)), {"block": 0}, "1 or more"),
        (np.ones((9, 9)), np.ones((9, 9)), {}, "band, y, x"),
    ],
)
def test_bad_input_names_the_cure(fused, reference, options, words):
    with pytest.raises(InputError, match=words):
        metrics.score(fused, reference, 4, **options)


def test_spectral_angle_of_nothing_is_nan():
    a = np.array([[1.0, 0.0], [0.0, 0.0]])
    b = np.array([[0.0, 1.0], [2.0, 0.0]])
    np.testing.assert_allclose(metrics.spectral_angle(a, b), [90, np.nan])
