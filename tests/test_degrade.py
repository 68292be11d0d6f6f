import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published_protocol import bicubic_down, blur

from emrdiff_geo.degradation import degrade, taps
from emrdiff_geo.degradation.degrade import Degradation, bicubic_up
from emrdiff_geo.errors import InputError

GOLDEN = Path(__file__).parent / "data" / "emrdiff_golden.npz"
PSFS = ["paper", "gaussian", "area", (0.1, 0.4, 0.4, 0.1)]


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as arrays:
        return {key[8:]: arrays[key] for key in arrays.files if key.startswith("degrade/")}


def test_blur_reproduces_the_published_protocol(golden):
    np.testing.assert_allclose(blur(golden["image"]), golden["blurred"], atol=1e-6, rtol=0)


def test_bicubic_reproduces_the_published_protocol(golden):
    low = bicubic_down(golden["blurred"], 8)
    np.testing.assert_allclose(low, golden["low"], atol=1e-5, rtol=0)
    up = bicubic_up(golden["low"], 8)
    np.testing.assert_allclose(up, golden["bicubic_up8"], atol=1e-5, rtol=0)


def test_paper_psf_is_blur_and_bicubic_in_one(golden):
    low = Degradation(8, "paper").down(golden["image"])
    np.testing.assert_allclose(low, golden["low"], atol=1e-5, rtol=0)


def test_kernel_3x3_is_symmetric_and_sums_to_one():
    kernel = np.outer(degrade._gaussian_3(), degrade._gaussian_3())
    assert kernel.shape == (3, 3)
    assert kernel.sum() == pytest.approx(1)
    assert kernel[1, 1] / kernel[0, 1] == pytest.approx(np.exp(1 / 8))
    assert kernel[0, 1] / kernel[0, 0] == pytest.approx(np.exp(1 / 8))


@settings(deadline=None, max_examples=40)
@given(
    ratio=st.integers(1, 9),
    n=st.integers(1, 12),
    psf=st.sampled_from(["paper", "gaussian", "area"]),
    mtf=st.floats(0.01, 0.9),
)
def test_constants_and_symmetry_survive(ratio, n, psf, mtf):
    operator = Degradation(ratio, psf, mtf=mtf)
    down, up = operator.matrix_down(n), operator.matrix_up(n)
    assert down.shape == (n, n * ratio)
    assert up.shape == (n * ratio, n)
    np.testing.assert_allclose(down.sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(up.sum(1), 1, atol=1e-12)
    # No shift: seen from the other end every operator is the same.
    np.testing.assert_allclose(down, down[::-1, ::-1], atol=1e-12)
    np.testing.assert_allclose(up, up[::-1, ::-1], atol=1e-12)


@pytest.mark.parametrize("ratio", [2, 3, 5, 8])
@pytest.mark.parametrize("mtf", [0.1, 0.3, 0.6])
def test_gaussian_has_the_mtf_asked_for(ratio, mtf):
    row = Degradation(ratio, "gaussian", mtf=mtf).matrix_down(41)[20]
    distance = np.arange(row.size) - (20.5 * ratio - 0.5)
    assert np.sum(row * np.cos(np.pi * distance / ratio)) == pytest.approx(mtf, abs=0.01)


def test_fwhm_per_axis():
    operator = Degradation(4, fwhm=(1.0, 2.0))
    assert operator.sigma[1] == pytest.approx(2 * operator.sigma[0])
    assert operator.sigma[0] == pytest.approx(4 / 2.3548, rel=1e-4)
    image = np.random.default_rng(0).random((32, 32))
    expected = operator.matrix_down(8, axis=0) @ image @ operator.matrix_down(8, axis=1).T
    np.testing.assert_allclose(operator.down(image), expected, atol=1e-12)
    assert np.abs(expected - Degradation(4, fwhm=(2.0, 1.0)).down(image)).max() > 1e-3


def test_area_is_the_block_mean():
    image = np.arange(2 * 6 * 9, dtype=float).reshape(2, 6, 9)
    expected = image.reshape(2, 2, 3, 3, 3).mean((2, 4))
    np.testing.assert_allclose(Degradation(3, "area").down(image), expected)


def test_a_ramp_comes_back_inside():
    image = np.add.outer(np.arange(64.0), 2 * np.arange(64.0))
    for psf in ("paper", "gaussian", "area"):
        operator = Degradation(4, psf)
        inside = slice(24, -24)
        result = operator.up(operator.down(image))
        np.testing.assert_allclose(result[inside, inside], image[inside, inside], atol=1e-9)


@pytest.mark.parametrize("psf", PSFS)
def test_long_axes_are_worked_in_blocks_with_the_same_result(monkeypatch, psf):
    image = np.random.default_rng(1).random((2, 80, 48))
    operator = Degradation(4, psf)
    low, fine, again = operator.down(image), operator.up(image), operator.seen_again(image)
    np.testing.assert_allclose(again, operator.down(operator.up(image)), atol=1e-12)
    monkeypatch.setattr(taps, "DENSE_LIMIT", 8)
    monkeypatch.setattr(taps, "BLOCK", 7)
    np.testing.assert_allclose(operator.seen_again(image), again, atol=1e-12)
    np.testing.assert_allclose(operator.down(image), low, atol=1e-12)
    np.testing.assert_allclose(operator.up(image), fine, atol=1e-12)


@pytest.mark.parametrize("psf", PSFS)
def test_reach_is_the_halo_that_makes_a_window_exact(psf):
    image = np.random.default_rng(2).random((96, 96))
    operator = Degradation(4, psf)
    halo = operator.reach
    low = operator.down(image)
    top, bottom = 9 - halo, 14 + halo
    window = operator.down(image[4 * top : 4 * bottom])[halo:-halo]
    np.testing.assert_allclose(window, low[9:14], atol=1e-12)
    fine = operator.up(low)
    window = operator.up(low[top:bottom])[4 * halo : -4 * halo]
    np.testing.assert_allclose(window, fine[36:56], atol=1e-12)


def test_dtype_is_kept_and_integers_become_floats():
    operator = Degradation(2)
    assert operator.down(np.ones((4, 4), np.float32)).dtype == np.float32
    assert operator.up(np.ones((4, 4), np.float64)).dtype == np.float64
    assert operator.down(np.ones((4, 4), np.uint16)).dtype == np.float64
    assert operator.matrix_down(3, dtype=np.float32).dtype == np.float32


def test_frozen_hashable_picklable():
    operator = Degradation(4, [0.25, 0.25, 0.25, 0.25], fwhm=[1, 1.5])
    copy = pickle.loads(pickle.dumps(operator))
    assert copy == operator
    assert hash(copy) == hash(operator)
    assert operator.matrix_down(5) is copy.matrix_down(5)
    with pytest.raises(ValueError, match="read-only"):
        operator.matrix_down(5)[0, 0] = 1


def test_masked_equals_plain_where_all_is_valid():
    image = np.random.default_rng(3).random((3, 24, 24))
    operator = Degradation(4)
    np.testing.assert_allclose(operator.down_masked(image), operator.down(image), atol=1e-12)


def test_nodata_does_not_bleed():
    image = np.full((2, 32, 32), 7.0, np.float32)
    image[:, :14] = np.nan
    image[1, 28, 28] = np.nan  # in one band alone
    operator = Degradation(4)
    low = operator.down_masked(image)
    assert low.dtype == np.float32
    assert np.isnan(low[:, :3]).all()
    np.testing.assert_allclose(low[:, 4:], 7, rtol=1e-6)


def test_garbage_under_the_mask_is_not_read():
    image = np.ones((8, 8))
    image[2, 2] = 1e30
    valid = image < 2
    np.testing.assert_allclose(Degradation(2).down_masked(image, valid), 1)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"ratio": 0}, "whole number"),
        ({"ratio": 2.5}, "whole number"),
        ({"ratio": 4, "psf": "lens"}, "gaussian, paper, area"),
        ({"ratio": 4, "psf": (1.0, 1.0, 1.0)}, "even number"),
        ({"ratio": 3, "psf": (1.0, 1.0)}, "odd number"),
        ({"ratio": 4, "psf": (1.0, np.nan)}, "finite"),
        ({"ratio": 4, "mtf": 1.0}, "MTF"),
        ({"ratio": 4, "mtf": (0.3, 0.3, 0.3)}, "MTF"),
        ({"ratio": 4, "fwhm": 0.0}, "FWHM"),
    ],
)
def test_bad_parameters_name_the_cure(kwargs, words):
    with pytest.raises(InputError, match=words):
        Degradation(**kwargs)


def test_bad_sizes_and_names_name_the_cure():
    with pytest.raises(InputError, match="multiple of the ratio 4"):
        Degradation(4).down(np.zeros((9, 8)))
    with pytest.raises(InputError, match="cubic or linear"):
        Degradation(4).up(np.zeros((9, 8)), "sinc")
