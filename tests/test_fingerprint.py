import numpy as np

from emrdiff_geo.alignment.witness import Witness
from emrdiff_geo.writing.differences import differences

PIXELS = np.arange(48, dtype=np.float32).reshape(1, 6, 8)


def watched(pixels, windows):
    witness = Witness(lambda rows, cols: pixels[:, rows, cols])
    for rows, cols in windows:
        np.testing.assert_array_equal(witness(rows, cols), pixels[:, rows, cols])
    return witness.digest


def test_a_witness_knows_the_pixels_whatever_their_order():
    windows = [(slice(0, 3), slice(0, 8)), (slice(3, 6), slice(0, 8))]
    first = watched(PIXELS, windows)
    assert first == watched(PIXELS.copy(), windows[::-1])
    assert first == watched(PIXELS, windows + windows)
    changed = PIXELS.copy()
    changed[0, 5, 7] += 1e-3
    assert first != watched(changed, windows)
    assert first != watched(PIXELS[:, ::-1], windows)


def test_differences_name_causes_and_not_what_follows_from_them():
    before = {"method": "regression", "seed": None, "psf": "area", "hsi": "a", "grid": "x"}
    assert differences(before, dict(before)) == ""
    assert differences(before, {**before, "hsi": "b"}) == "other pixels in the HSI"
    now = {**before, "method": "emrdiff", "seed": 0, "hsi": "b", "weights": "123"}
    assert differences(before, now) == "method regression instead of emrdiff"
    assert differences(before, {**before, "psf": "paper", "torch": "2.9"}) == (
        "psf area instead of paper and torch none instead of 2.9"
    )
    assert differences(before, {**before, "psf": "x" * 50}) == "another psf"
    assert differences(before, {**before, "grid": "y"}) == "another grid"
