"""What is done about a shift between the images of a pair."""

import json
import logging

import numpy as np
import pytest
from grids import lr_geobox
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_reproject
from scenes import reference_cube, shifted_pair
from test_shift import with_values

from emrdiff_geo.alignment.coregister import moved, registered_pair
from emrdiff_geo.alignment.shift import measure_shift
from emrdiff_geo.errors import GridError
from emrdiff_geo.fusion import fuse, plan_fusion
from emrdiff_geo.grids.pair import pair_scenes


def notes(caplog, level):
    return [r.getMessage() for r in caplog.records if r.levelno == level]


def test_a_small_shift_is_told_with_its_spread(caplog):
    with caplog.at_level(logging.INFO):
        pair = registered_pair(*shifted_pair(0, 0))
    assert "spread" in pair.notes[-1]
    assert pair.notes[-1] in notes(caplog, logging.INFO)
    assert not notes(caplog, logging.WARNING)


def test_half_an_hsi_pixel_is_a_warning_that_names_the_cure(caplog):
    registered_pair(*shifted_pair(2, 0))
    (warning,) = notes(caplog, logging.WARNING)
    assert "to the right of the MSI" in warning
    assert "--coregister" in warning


def test_more_than_an_hsi_pixel_is_refused_unless_forced(caplog):
    images = shifted_pair(0, -5)
    with pytest.raises(GridError, match=r"above it .* --coregister .* --force"):
        registered_pair(*images)
    pair = registered_pair(*images, force=True)
    assert pair.notes[-1].endswith("fused as they are.")
    assert notes(caplog, logging.WARNING) == [pair.notes[-1]]


def test_nested_grids_are_moved_by_whole_pixels_and_not_resampled():
    hsi, msi = shifted_pair(5, -3)
    pair = registered_pair(hsi, msi, coregister=True)
    assert not pair.resampled
    assert "moved" in pair.notes[-2]
    assert measure_shift(pair).length < 0.05
    box = hsi["image"].odc.geobox
    assert (lr_geobox(pair).affine.c - box.affine.c + 50) % 40 == 0
    assert (lr_geobox(pair).affine.f - box.affine.f + 30) % 40 == 0


def test_a_grid_in_another_crs_is_moved_the_same_way():
    hsi, msi = shifted_pair(4, 2, size=40)
    box = hsi["image"].odc.geobox
    other = GeoBox.from_bbox(box.to_crs("EPSG:32632").boundingbox, "EPSG:32632", resolution=40)
    hsi = xr_reproject(hsi["image"], other, resampling="cubic", dst_nodata=np.nan)
    hsi = dataset_on(hsi, other)
    pair = pair_scenes(hsi, msi)
    shift = measure_shift(pair)
    np.testing.assert_allclose([shift.x, shift.y], [4, 2], atol=0.2)
    left = measure_shift(pair_scenes(moved(hsi, pair, shift), msi))
    assert left.length < 0.05


def dataset_on(image, box):
    from emrdiff_geo.reading.normalise import grid_coords

    bare = image.drop_vars(["x", "y", "spatial_ref"])
    return bare.assign_coords(grid_coords(box)).to_dataset(name="image")


def test_what_cannot_be_measured_or_relied_on_is_said_and_not_refused(caplog):
    hsi, msi = shifted_pair(0, 0, size=8)
    flat = with_values(msi, lambda v: v * 0 + 7)
    assert "could not be measured" in registered_pair(hsi, flat).notes[-1]
    hsi, msi = shifted_pair(5, 0, size=12)
    assert "too few" in registered_pair(hsi, msi).notes[-1]
    assert not notes(caplog, logging.WARNING)
    registered_pair(hsi, msi, coregister=True)
    assert len(notes(caplog, logging.WARNING)) == 1


def test_distorted_pairs_are_pointed_to_arosics(caplog):
    hsi, msi = shifted_pair(0, 0, size=40)

    def torn(values):
        values[..., 80:] = np.roll(values, -9, axis=2)[..., 80:]
        return values

    pair = registered_pair(hsi, with_values(msi, torn), coregister=True)
    assert "AROSICS" in notes(caplog, logging.WARNING)[0]
    assert len([n for n in pair.notes if "moved" in n]) == 0


def without_crs(scene):
    array = scene["image"].drop_vars(["spatial_ref", "y", "x"])
    array.attrs.pop("grid_mapping", None)
    return array


def test_without_a_crs_nothing_is_measured_and_nothing_can_be_moved():
    plain = [without_crs(s) for s in shifted_pair(9, 0)]
    assert not any("lies" in note for note in registered_pair(*plain).notes)
    with pytest.raises(GridError, match="leave out --coregister"):
        registered_pair(*plain, coregister=True)


def test_coregistered_fusion_is_better_and_says_what_it_did():
    hsi, msi = shifted_pair(3, 2, size=40)
    scene = reference_cube(40 * 4 + 6, 40 * 4 + 6, 12)

    def error(**options):
        result = fuse(hsi, msi, method="regression", **options)
        image = result["image"]
        row, col = (round(abs(float(image[d][0] - msi[d][0])) / 10) for d in "yx")
        # The scene has a margin of 3, and the MSI begins 3 columns and 2 rows further in.
        top, left = 5 + row, 6 + col
        truth = scene[:, top : top + image.shape[1], left : left + image.shape[2]]
        inner = (slice(None), slice(8, -8), slice(8, -8))
        told = json.loads(result.attrs["emrdiff_provenance"])
        return np.std(image.values[inner] - truth[inner]), told

    plain, told = error()
    assert any("spread" in note for note in told["notes"])
    corrected, told = error(coregister=True)
    assert any("moved" in note for note in told["notes"])
    assert told["parameters"]["coregister"] is True
    assert corrected < 0.5 * plain


def test_the_plan_still_reads_no_pixel():
    assert plan_fusion(*shifted_pair(9, 0), coregister=True).describe()["ratio"] == 4
