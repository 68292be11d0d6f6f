"""The pipeline from datasets to a lazy result or a file."""

import json

import dask
import numpy as np
import pytest
import rasterio
import torch
import xarray as xr
from scenes import WAVELENGTHS, dataset, pair, reference_cube, simulated
from scipy import ndimage

from emrdiff_geo.errors import EmrdiffError, GridError, InputError, MethodError, OutputError
from emrdiff_geo.fusion import FusionOptions, ProgressEvent, fuse, fuse_to_file, plan_fusion
from emrdiff_geo.metadata import Provenance
from emrdiff_geo.methods import METHODS
from emrdiff_geo.methods.state import universal_channels
from emrdiff_geo.model.bafunet import BAFUNet, NetworkConfig
from emrdiff_geo.model.weights import ModelConfig, save_weights
from emrdiff_geo.reading.readers import open_hsi, open_msi
from emrdiff_geo.run.recorded import read_provenance
from emrdiff_geo.spectra.nodes import NODES_NM
from emrdiff_geo.writing.sinks import write_dataset


@pytest.fixture(scope="module")
def scene():
    return pair(96, 128, 4)


@pytest.mark.parametrize("method", METHODS)
def test_result_is_the_hsi_on_the_grid_of_the_msi(scene, method):
    hsi, msi, cube = scene
    result = fuse(hsi, msi, method=method, device="cpu")
    image = result["image"]
    assert image.dims == ("band", "y", "x")
    assert image.chunks is not None
    assert image.shape == cube.shape
    np.testing.assert_array_equal(image["wavelength"], hsi["wavelength"])
    for axis in "yx":
        np.testing.assert_allclose(image[axis], msi[axis])
    assert image.odc.geobox == msi["image"].odc.geobox
    assert image.rio.crs.to_epsg() == 32633
    values = image.values
    assert values.dtype == np.float32
    error = np.sqrt(np.mean((values - cube) ** 2))
    assert error < (0.2 if method == "bicubic" else 0.05) * cube.std()


def test_provenance_names_what_makes_the_result(scene):
    hsi, msi, _ = scene
    found = json.loads(fuse(hsi, msi, seed=7, device="cpu").attrs["emrdiff_provenance"])
    assert found["method"] == "emrdiff"
    assert found["seed"] == 7
    assert found["ratio"] == 4
    assert len(found["weights_digest"]) == 16
    assert found["parameters"]["steps"] == 2
    assert "seed" not in json.loads(fuse(hsi, msi, method="bicubic").attrs["emrdiff_provenance"])


def test_same_seed_same_bytes_on_every_scheduler(scene):
    hsi, msi, _ = scene
    lazy = fuse(hsi, msi, tile=48, device="cpu")["image"]
    with dask.config.set(scheduler="synchronous"):
        first = lazy.values
    with dask.config.set(scheduler="threads", num_workers=2):
        second = fuse(hsi.chunk(y=7), msi.chunk(x=50), tile=48, device="cpu")["image"].values
    np.testing.assert_array_equal(first, second)
    other = fuse(hsi, msi, tile=48, seed=1, device="cpu")["image"].values
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("method", METHODS)
def test_tiles_agree_with_the_whole(method):
    hsi, msi, _ = pair(160, 192, 4)
    whole = fuse(hsi, msi, method=method, tile=256, device="cpu")["image"].values
    tiles = fuse(hsi, msi, method=method, tile=64, device="cpu")["image"].values
    prior = fuse(hsi, msi, method="bicubic", tile=256)["image"].values
    scale = np.sqrt(np.mean((whole - prior) ** 2)) if method != "bicubic" else whole.std()
    assert np.sqrt(np.mean((whole - tiles) ** 2)) < 1e-3 * scale


def test_slicing_computes_only_the_tiles_it_touches(scene, monkeypatch):
    hsi, msi, _ = scene
    from emrdiff_geo.run.pipeline import Run

    lazy = fuse(hsi, msi, method="bicubic", tile=32)["image"]
    fused = []
    tile = Run.tile
    monkeypatch.setattr(Run, "tile", lambda self, i, j: fused.append((i, j)) or tile(self, i, j))
    lazy[:, 33:40, 70:80].compute()
    assert fused == [(1, 2)]


def test_nodata_stays_nodata_and_does_not_spread(scene):
    hsi, msi, cube = scene
    clean = fuse(hsi, msi, method="local_regression")["image"].values
    holed_hsi, holed_msi = hsi.copy(deep=True), msi.copy(deep=True)
    holed_hsi["image"][:, 4:8, 10:14] = np.nan
    holed_msi["image"][:, 60:70, 5:20] = np.nan
    holed_hsi["image"][6] = np.nan
    result = fuse(holed_hsi, holed_msi, method="local_regression")["image"]
    assert not result["good_band"][6]
    values = result.values
    assert np.isnan(values[6]).all()
    hole = np.zeros(cube.shape[1:], bool)
    hole[16:32, 40:56] = True
    hole[60:70, 5:20] = True
    np.testing.assert_array_equal(np.isnan(np.delete(values, 6, 0)).any(axis=0), hole)
    kept = np.delete(values - clean, 6, 0)[:, ~hole]
    # Statistics change a little, values beside a hole somewhat; nothing is garbage.
    assert np.sqrt(np.mean(kept**2)) < 0.02 * cube.std()
    assert np.abs(kept).max() < 0.5 * cube.std()


@pytest.mark.parametrize("method", ["gaussian_process", "local_regression"])
@pytest.mark.parametrize("of", ["hsi", "msi"])
def test_the_filling_of_nodata_is_not_taken_for_an_observation(method, of):
    hsi, msi, cube = pair()
    holed, hole = (hsi, np.s_[:, 8:14, 10:16]) if of == "hsi" else (msi, np.s_[:, 32:56, 40:64])
    holed["image"][hole] = np.nan
    values = fuse(hsi, msi, method=method)["image"].values
    away = ndimage.distance_transform_edt(np.isfinite(values).all(axis=0))
    beside = (away > 0) & (away <= 4)
    error = np.sqrt(np.mean(np.square((values - cube)[:, beside])))
    # The scene is linear in the MSI: only where an HSI pixel's PSF reaches into a hole of the MSI
    # is something not known. With the nearest pixel for all that is missing: about 1 and 0.6 %.
    assert error < (0.0001 if of == "hsi" else 0.005) * cube.mean()


def test_the_self_check_keeps_weights_that_know_nothing_from_doing_harm(tmp_path):
    hsi, msi, cube = pair(192, 192, 4)
    channels, guide = universal_channels()
    network = NetworkConfig(
        channels, guide, channels, 8, pool="none", head=True, gate=True, time_scalars=3
    )
    config = ModelConfig("universal", network)
    torch.manual_seed(0)
    model = BAFUNet(network)
    torch.nn.init.constant_(model.gate, 0.1)
    for head in model.heads:
        torch.nn.init.normal_(head.weight, std=0.5)
    save_weights(tmp_path / "mad.safetensors", model.state_dict(), config)
    floor = fuse(hsi, msi, method="local_regression")["image"].values

    def error(**options):
        options |= {"weights": str(tmp_path / "mad.safetensors"), "device": "cpu"}
        result = fuse(hsi, msi, **options)
        kept = json.loads(result.attrs["emrdiff_provenance"])["parameters"]["kept"]
        return np.sqrt(np.mean((result["image"].values - cube) ** 2)), kept

    limit = np.sqrt(np.mean((floor - cube) ** 2))
    harm, kept = error(self_check=False)
    assert harm > 1.05 * limit
    assert kept == []
    safe, kept = error()
    assert safe < 1.02 * limit
    assert len(kept) == len(NODES_NM)


def test_data_arrays_and_arrays_without_crs_work_too(scene):
    hsi, msi, cube = scene
    result = fuse(hsi["image"], msi["image"], method="regression")
    assert result["image"].shape == cube.shape
    plain = [d["image"].drop_vars(["spatial_ref", "y", "x"]) for d in (hsi, msi)]
    for array in plain:
        array.attrs.pop("grid_mapping", None)
    bare = fuse(*plain, method="regression")["image"]
    assert "spatial_ref" not in bare.coords
    arrays = fuse(hsi["image"].values, msi["image"].data, method="regression")["image"]
    np.testing.assert_array_equal(arrays.values, bare.values)
    with pytest.raises(InputError, match=r"shape \(24, 32\): it has to be \(band, y, x\)"):
        fuse(hsi["image"].values[0], msi)
    np.testing.assert_allclose(bare.values, result["image"].values, rtol=1e-6)


def test_without_wavelengths_the_error_names_three_ways_out(scene):
    hsi, msi, _ = scene
    bare = hsi.drop_vars("wavelength")
    with pytest.raises(MethodError, match=r"gaussian_process"):
        fuse(bare, msi)
    named = fuse(bare, msi, wavelengths=(430, 900), device="cpu")["image"]
    np.testing.assert_allclose(named["wavelength"], hsi["wavelength"])
    with pytest.raises(InputError, match="itself"):
        fuse(hsi, msi, wavelengths=(430, 900))


def test_files_carry_grid_wavelengths_and_provenance(scene, tmp_path):
    hsi, msi, _ = scene
    expected = fuse(hsi, msi, method="regression", tile=64)["image"].values
    events = []
    tif = fuse_to_file(
        hsi, msi, tmp_path / "out.tif", method="regression", tile=64, progress=events.append
    )
    zarr = fuse_to_file(hsi, msi, tmp_path / "out.zarr", method="regression", tile=64)
    with rasterio.open(tif) as file:
        np.testing.assert_array_equal(file.read(), expected)
        assert file.transform == msi["image"].odc.geobox.affine
        assert float(file.tags(3)["wavelength"]) == pytest.approx(float(hsi["wavelength"][2]), 1e-4)
    store = xr.open_zarr(zarr, decode_coords="all")
    np.testing.assert_array_equal(store["image"].values, expected)
    assert store["image"].odc.geobox == msi["image"].odc.geobox
    np.testing.assert_allclose(open_hsi(tif)["wavelength"], hsi["wavelength"], atol=0.01)
    assert events[0] == ProgressEvent("statistics", 0, 1, "measuring the scene")
    assert [e.done for e in events if e.stage == "fuse"] == [0, 1, 2, 3, 4]


def test_a_result_in_degrees_is_placed_like_its_msi(tmp_path):
    cube = reference_cube(48, 48)
    lr, hr, _ = simulated(cube, 4)
    degrees = {"crs": "EPSG:4326", "corner": (13.0, 52.0)}
    hsi, msi = dataset(lr, 4e-4, WAVELENGTHS, **degrees), dataset(hr, 1e-4, **degrees)
    fused = fuse(hsi, msi, method="regression")
    assert set(fused.sizes) == {"band", "y", "x"}
    assert fused["image"].odc.geobox == msi["image"].odc.geobox
    with rasterio.open(write_dataset(fused, tmp_path / "out.tif")) as file:
        assert file.crs.to_epsg() == 4326
        assert file.transform.almost_equals(msi["image"].odc.geobox.affine, 1e-12)


def test_an_existing_file_is_kept_and_a_failed_run_leaves_nothing(scene, tmp_path):
    hsi, msi, _ = scene
    out = tmp_path / "out.tif"
    out.write_bytes(b"precious")
    with pytest.raises(OutputError, match="overwrite"):
        fuse_to_file(hsi, msi, out, method="bicubic")

    def stop(event):
        if event.stage == "fuse" and event.done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fuse_to_file(hsi, msi, out, method="bicubic", tile=48, overwrite=True, progress=stop)
    assert out.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("suffix", ["tif", "zarr"])
def test_an_input_is_never_replaced_by_the_result(scene, tmp_path, suffix):
    hsi, msi, _ = scene
    kept = write_dataset(msi, tmp_path / f"msi.{suffix}")
    options = {"method": "bicubic", "overwrite": True}
    with pytest.raises(OutputError, match="is an input"):
        fuse_to_file(hsi, kept, kept, **options)
    with pytest.raises(OutputError, match="is an input"):
        fuse_to_file(hsi, str(kept), tmp_path / "." / kept.name, **options)
    sigma = {"method": "emrdiff", "samples": 2, "uncertainty": kept, "overwrite": True}
    with pytest.raises(OutputError, match="is an input"):
        fuse_to_file(hsi, kept, tmp_path / "out.tif", **sigma)
    assert open_msi(kept).sizes["band"] == 4


def test_an_image_that_xarray_has_opened_is_an_input_too(scene, tmp_path):
    hsi, msi, _ = scene
    kept = write_dataset(msi, tmp_path / "msi.zarr")
    with pytest.raises(OutputError, match="is an input"):
        fuse_to_file(hsi, xr.open_zarr(kept), kept, method="bicubic", overwrite=True)


def test_a_lazy_result_says_of_its_bands_what_a_file_says(scene, tmp_path):
    hsi, msi, _ = scene
    hsi = hsi.copy(deep=True)
    hsi["image"][3] = np.nan
    fused = fuse(hsi, msi, method="bicubic")
    kept = xr.open_zarr(fuse_to_file(hsi, msi, tmp_path / "out.zarr", method="bicubic"))
    assert not kept["good_band"][3]
    names = {"band", "wavelength", "fwhm", "good_band"} & set(kept.coords)
    assert {"band", "wavelength", "good_band"} <= names == names & set(fused.coords)
    for name in names:
        np.testing.assert_array_equal(fused[name], kept[name])
        assert fused[name].attrs == kept[name].attrs
        assert fused[name].attrs["long_name"]


@pytest.mark.parametrize("suffix", ["tif", "zarr"])
def test_a_lazy_result_that_is_written_tells_how_it_was_made(scene, tmp_path, suffix):
    hsi, msi, _ = scene
    fused = fuse(hsi, msi, method="bicubic")
    made = read_provenance(write_dataset(fused, tmp_path / f"out.{suffix}"))
    assert made == Provenance.from_json(fused.attrs["emrdiff_provenance"])
    other = Provenance("mine")
    path = write_dataset(fused, tmp_path / f"other.{suffix}", provenance=other)
    assert read_provenance(path) == other


@pytest.mark.parametrize("suffix", ["tif", "zarr"])
def test_a_dataset_does_not_replace_the_file_that_it_reads(scene, tmp_path, suffix):
    kept = write_dataset(scene[1], tmp_path / f"msi.{suffix}")
    with pytest.raises(OutputError, match="is an input"):
        write_dataset(open_msi(kept), kept, overwrite=True)


def test_what_is_computed_from_an_input_does_not_replace_it_either(scene, tmp_path):
    hsi, msi, _ = scene
    kept = write_dataset(msi, tmp_path / "msi.tif")
    scaled = open_msi(kept)["image"] * 1.0
    with pytest.raises(OutputError, match="is an input"):
        fuse_to_file(hsi, scaled, kept, method="bicubic", overwrite=True)
    with pytest.raises(OutputError, match="is an input"):
        write_dataset(scaled.to_dataset(name="image"), kept, overwrite=True)


def test_plan_reads_no_pixel(scene):
    hsi, msi, _ = scene

    def explode(block):
        raise AssertionError("a pixel was read")

    lazy = [
        d.assign(
            image=d["image"].copy(data=d["image"].chunk().data.map_blocks(explode, dtype="f4"))
        )
        for d in (hsi, msi)
    ]
    plan = plan_fusion(*lazy, tile=64).describe()
    assert plan["ratio"] == 4
    assert plan["tiles"]["count"] == 4
    assert plan["result"]["shape"] == [96, 128]
    json.dumps(plan)


def test_a_pair_that_does_not_overlap_is_refused(scene):
    hsi, msi, _ = scene
    far = dataset(hsi["image"].values, 40.0)
    far = far.assign_coords(x=far["x"] + 1e5)
    with pytest.raises(GridError):
        fuse(far, msi)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ratio": float("nan")}, "ratio=nan is not a whole number"),
        ({"ratio": 4.5}, "ratio=4.5 is not"),
        ({"tile": "64"}, "tile='64' is not"),
        ({"seed": None}, "seed=None is not"),
        ({"mehtod": "bicubic"}, "no option mehtod: did you mean method"),
        ({"zebra": 1}, "choose from method, weights"),
        ({"wavelengths": 400}, "wavelengths=400 is no range in nm"),
        ({"wavelengths": (2500, 400)}, "pass one such as"),
        ({"psf": "magic"}, "no psf 'magic': use one of auto, gaussian"),
        ({"psf": ["area"]}, "no psf"),
        ({"device": "gpu", "method": "bicubic"}, "no device 'gpu': use auto, cpu or cuda"),
        ({"device": None}, "no device None"),
        ({"memory": "much"}, "no amount of memory"),
        ({"memory": -1}, "no amount of memory"),
    ],
)
def test_options_that_are_none_are_told_before_anything_is_opened(options, words):
    for ask in (fuse, plan_fusion):
        with pytest.raises(InputError, match=words):
            ask("no_such_hsi.tif", "no_such_msi.tif", **options)


def test_a_range_of_wavelengths_may_come_out_of_json():
    assert FusionOptions(wavelengths=[400, 2500]) == FusionOptions(wavelengths=(400.0, 2500.0))


def test_options_of_files_can_be_misspelt_too(scene, tmp_path):
    with pytest.raises(InputError, match="did you mean overwrite"):
        fuse_to_file(*scene[:2], tmp_path / "out.tif", overwite=True)


def test_whole_numbers_of_any_type_are_taken(scene):
    hsi, msi, _ = scene
    options = {"seed": 3, "ratio": 4, "tile": 64, "steps": 2}
    plain = fuse(hsi, msi, **options, device="cpu")
    others = {"seed": np.int64(3), "ratio": 4.0, "tile": np.float32(64), "steps": np.int8(2)}
    found = fuse(hsi, msi, **others, device="cpu")
    assert found.attrs == plain.attrs
    np.testing.assert_array_equal(found["image"], plain["image"])


def test_every_error_is_one_of_ours(scene):
    hsi, msi, _ = scene
    for options in ({"psf": "magic"}, {"method": "magic"}, {"tile": 3}, {"ratio": 1}):
        with pytest.raises(EmrdiffError):
            fuse(hsi, msi, **options)
