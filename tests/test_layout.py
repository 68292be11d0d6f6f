import os
from types import SimpleNamespace

import numpy as np
import odc.geo.xr  # noqa: F401
import pytest
import rioxarray  # noqa: F401
from hypothesis import given, settings
from hypothesis import strategies as st
from sink_scene import SHAPE, make_grid

from emrdiff_geo.errors import OutputError
from emrdiff_geo.writing.layout import encode, raster_layout
from emrdiff_geo.writing.sinks import open_sink


@given(
    values=st.lists(st.floats(-4, 4, width=32) | st.just(float("nan")), min_size=1, max_size=20),
    nodata=st.sampled_from([-32768, 0, 32767]),
)
@settings(max_examples=60, deadline=None)
def test_int16_never_turns_a_value_into_nodata_or_back(values, nodata):
    layout = raster_layout((1, 1, 1), None, 1, None, "int16", nodata, 1e-4, 0.0, None)
    stored, clipped = encode(values, layout)
    np.testing.assert_array_equal(stored == nodata, np.isnan(values))
    known = np.array(values)[~np.isnan(values)]
    assert clipped == bool(np.any(np.rint(np.abs(known) * 1e4 + (known > 0)) > 32768))
    if not clipped:
        back = stored[~np.isnan(values)] * 1e-4
        np.testing.assert_allclose(back, known, atol=1.6e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"geobox": make_grid(shape=(1, 5, 5))}, "grid"),
        ({"chunks": 0}, "positive"),
        ({"dtype": "uint8"}, "float32 or int16"),
        ({"dtype": "int16"}, "needs a scale"),
        ({"dtype": "int16", "scale": -1.0}, "positive"),
        ({"dtype": "int16", "scale": 1.0, "nodata": 1e6}, "whole number"),
        ({"dtype": "int16", "scale": 1.0, "nodata": float("nan")}, "whole number"),
        ({"scale": 0.1}, "int16 only"),
        ({"bands": SimpleNamespace(wavelength_nm=[1.0], fwhm_nm=None, good=None)}, "one a band"),
    ],
)
def test_arguments_that_do_not_fit_are_errors(tmp_path, options, message):
    with pytest.raises(OutputError, match=message):
        open_sink(tmp_path / "out.tif", SHAPE, **options)
    assert os.listdir(tmp_path) == []
