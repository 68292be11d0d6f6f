import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emrdiff_geo.errors import MethodError
from emrdiff_geo.grids.tiling import TilePlan


@st.composite
def plans(draw):
    ratio = draw(st.integers(2, 9))
    lr = [draw(st.integers(1, 40)) for _ in "yx"]
    frame = tuple(n * ratio for n in lr)
    offset = tuple(draw(st.integers(0, min(ratio - 1, n - 1))) for n in frame)
    target = tuple(draw(st.integers(1, n - o)) for n, o in zip(frame, offset, strict=True))
    return TilePlan(
        target, offset, frame, ratio, draw(st.integers(16, 96)), draw(st.integers(0, 40))
    )


@settings(deadline=None, max_examples=150)
@given(plans())
def test_cores_tile_the_target_and_windows_are_aligned_and_constant(plan):
    covered = np.zeros(plan.target, int)
    for tile in plan:
        (rows, cols), (top, left) = tile.window, tile.origin
        covered[tile.core[0].as_slice(), tile.core[1].as_slice()] += 1
        assert (len(rows), len(cols)) == plan.window_shape
        assert top % plan.ratio == left % plan.ratio == 0
        assert len(rows) % plan.ratio == len(cols) % plan.ratio == 0
        for span, inner, core, offset, size in zip(
            tile.window, tile.inner, tile.core, plan.offset, plan.frame, strict=True
        ):
            assert 0 <= span.start < span.stop <= size
            # The inner slice of the window is the core, in frame coordinates.
            assert span.start + inner.start == core.start + offset
            assert inner.stop - inner.start == len(core)
            # The halo is kept on both sides, but for the scene's own borders.
            assert inner.start >= min(plan.halo, core.start + offset)
            assert span.stop - (core.stop + offset) >= min(plan.halo, size - core.stop - offset)
    assert (covered == 1).all()
    assert len(list(plan)) == len(plan)
    assert tuple(sum(c) for c in plan.chunks) == plan.target


def test_a_scene_smaller_than_a_tile_is_one_tile():
    plan = TilePlan((30, 20), (0, 0), (32, 20), 4, 256, 32)
    assert len(plan) == 1
    assert plan.window_shape == (32, 20)


def test_impossible_tiles_are_refused():
    with pytest.raises(MethodError, match="at least 16"):
        TilePlan((30, 20), (0, 0), (32, 20), 4, 8, 32)
