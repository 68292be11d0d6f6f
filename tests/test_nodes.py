import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emrdiff_geo.errors import SpectralError
from emrdiff_geo.spectra.nodes import NODES_NM, NodeBasis, node_indices


@settings(deadline=None, max_examples=60)
@given(st.integers(4, 300), st.floats(350, 1500), st.floats(200, 2000))
def test_any_sensor_gets_finite_bases_and_a_constant_stays_constant(count, low, span):
    basis = NodeBasis.of(np.linspace(low, low + span, count))
    assert basis.to_bands.shape == (count, len(NODES_NM))
    assert np.isfinite(basis.to_bands).all()
    assert np.isfinite(basis.to_nodes).all()
    np.testing.assert_allclose(basis.to_bands.sum(axis=1), 1, atol=1e-5)
    assert not basis.to_bands[:, ~basis.mask].any()
    assert not basis.to_nodes[~basis.mask].any()


def test_a_spectrum_on_the_nodes_comes_back_from_the_bands():
    bands = np.linspace(400, 2480, 240)
    basis = NodeBasis.of(bands)
    assert basis.mask.all()
    values = np.sin(np.arange(len(NODES_NM)))[:, None, None] * np.ones((1, 2, 3))
    np.testing.assert_allclose(basis.project(basis.evaluate(values)), values, atol=0.02)


def test_nodes_outside_the_range_are_masked():
    basis = NodeBasis.of(np.arange(400.0, 701.0, 10.0))
    nodes = np.asarray(NODES_NM)
    np.testing.assert_array_equal(basis.mask, nodes <= 700)


def test_wavelengths_far_from_all_nodes_are_an_error():
    with pytest.raises(SpectralError, match="nanometres"):
        NodeBasis.of(np.array([8000.0, 9000.0]))


def test_nearest_nodes():
    assert [NODES_NM[i] for i in node_indices([401, 2600])] == [400, 2480]
