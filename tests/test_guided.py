"""The guided filter: what is linear in the guide stays, what a mixture cannot be goes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import smooth_noise

from emrdiff_geo.methods import _guided
from emrdiff_geo.methods._guided import guided_filter


def guide(bands=3, shape=(40, 52), seed=0):
    rng = np.random.default_rng(seed)
    image = np.stack([smooth_noise(rng, shape) for _ in range(bands)])
    return (image - image.mean()) / image.std()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 100), bands=st.integers(1, 5), radius=st.integers(1, 9))
def test_what_is_linear_in_the_guide_stays(seed, bands, radius):
    z = guide(bands, seed=seed)
    slopes = np.random.default_rng(seed).standard_normal((2, bands)).astype(np.float32)
    image = np.tensordot(slopes, z, axes=1) + 5
    filtered = guided_filter(image, z, radius)
    assert filtered.dtype == np.float32
    assert np.abs(filtered - image).max() < 0.02 * image.std()


def test_an_edge_becomes_the_mixture_of_its_sides():
    # A pixel in three is half of the left and half of the right side; a function of its colour
    # alone takes it for something else.
    left = np.clip(np.arange(31) - 15, -1, 1)[None, None].repeat(31, axis=1) * -0.5 + 0.5
    z = np.concatenate([left, 1 - left]).astype(np.float32)
    truth = 3 * z[:1] - 1
    wrong = truth + 2 * (z[:1] == 0.5)
    filtered = guided_filter(wrong.astype(np.float32), z, 4)
    before, after = (np.abs(image - truth)[0, :, 15].mean() for image in (wrong, filtered))
    assert after < 0.4 * before


@pytest.mark.parametrize("held", [1, 60_000])
def test_strips_leave_no_trace(monkeypatch, held):
    z = guide(4)
    image = np.random.default_rng(1).standard_normal((5, *z.shape[1:])).astype(np.float32)
    whole = guided_filter(image, z, 3)
    monkeypatch.setattr(_guided, "HELD", held)
    np.testing.assert_allclose(guided_filter(image, z, 3), whole, atol=1e-5)


def test_a_pixel_sees_twice_the_radius():
    z = guide(2)
    image = np.zeros((1, *z.shape[1:]), np.float32)
    changed = image.copy()
    changed[0, 20, 20] = 1
    moved = np.abs(guided_filter(changed, z, 2)[0] - guided_filter(image, z, 2)[0])
    rows, cols = np.nonzero(moved > 1e-9)  # running sums leave rounding errors
    assert len(rows)
    assert np.abs(rows - 20).max() <= 4
    assert np.abs(cols - 20).max() <= 4
