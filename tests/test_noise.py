import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from emrdiff_geo.methods.noise import pixel_noise

corner = st.tuples(st.integers(-100, 300), st.integers(-100, 300))
size = st.tuples(st.integers(1, 90), st.integers(1, 90))


@settings(deadline=None, max_examples=40)
@given(corner, size, st.integers(0, 2**63), st.integers(0, 9))
def test_a_window_sees_the_noise_of_the_scene(origin, shape, seed, step):
    whole_origin = (origin[0] - 7, origin[1] - 5)
    whole = pixel_noise(seed, step, whole_origin, (shape[0] + 20, shape[1] + 20), 3)
    window = pixel_noise(seed, step, origin, shape, 3)
    np.testing.assert_array_equal(window, whole[:, 7 : 7 + shape[0], 5 : 5 + shape[1]])


def test_channels_do_not_depend_on_how_many_follow():
    few = pixel_noise(1, 2, (10, 20), (70, 70), 2)
    many = pixel_noise(1, 2, (10, 20), (70, 70), 5)
    np.testing.assert_array_equal(few, many[:2])


def test_seed_and_step_give_other_noise_and_it_is_standard_normal():
    base = pixel_noise(0, 0, (0, 0), (256, 256), 4)
    for other in (
        pixel_noise(1, 0, (0, 0), (256, 256), 4),
        pixel_noise(0, 1, (0, 0), (256, 256), 4),
    ):
        assert abs(np.corrcoef(base.ravel(), other.ravel())[0, 1]) < 0.01
    assert abs(base.mean()) < 0.01
    assert abs(base.std() - 1) < 0.01
    # Neighbouring cells of 64 pixels share nothing.
    assert abs(np.corrcoef(base[0, :64, :64].ravel(), base[0, :64, 64:128].ravel())[0, 1]) < 0.06


def test_the_stream_is_fixed():
    # Results name their seed: these numbers may never change.
    values = pixel_noise(42, 3, (-1, 63), (2, 2), 1)[0]
    expected = [
        [0.07710696756839752, -0.029247578233480453],
        [1.6715847253799438, -0.7464256286621094],
    ]
    np.testing.assert_array_equal(values, np.array(expected, np.float32))
