"""Files of every format, damaged ones, and the real scenes."""

import shutil

import numpy as np
import pytest
import rasterio
import xarray as xr
from reader_files import CENTERS, NORTH_UP, ROTATED, cube, edit, tags_nm, write

from emrdiff_geo.errors import InputError
from emrdiff_geo.reading.readers import open_hsi, open_msi


def absent(folder):
    return folder / "absent.tif"


def a_folder(folder):
    return folder


def text(folder):
    (folder / "a.tif").write_text("no image")
    return folder / "a.tif"


def cut_tiff(folder):
    path = write(folder / "a.tif", cube(5, 300, 300))
    path.write_bytes(path.read_bytes()[:20000])
    return path


def complex_tiff(folder):
    return write(folder / "a.tif", cube(dtype="complex64"))


def lone_header(folder):
    (folder / "a.hdr").write_text("ENVI\n")
    return folder / "a.hdr"


def broken_npz(folder):
    (folder / "a.npz").write_bytes(b"PK\x03\x04 no")
    return folder / "a.npz"


def pickled_npy(folder):
    np.save(folder / "a.npy", np.array([{}, []], dtype=object))
    return folder / "a.npy"


def flat_npz(folder):
    np.savez(folder / "a.npz", a=np.zeros((3, 3)))
    return folder / "a.npz"


def broken_mat(folder):
    (folder / "a.mat").write_bytes(b"MATLAB 5.0" + bytes(600))
    return folder / "a.mat"


def empty_zarr(folder):
    (folder / "a.zarr").mkdir()
    return folder / "a.zarr"


def broken_netcdf(folder):
    (folder / "a.nc").write_bytes(b"CDF\x01" + bytes(20))
    return folder / "a.nc"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "says"),
    [
        (absent, "does not exist: check"),
        (a_folder, "is a folder"),
        (text, "cannot be read"),
        (cut_tiff, "cannot be read"),
        (complex_tiff, "complex numbers"),
        (lone_header, "without its data file"),
        (broken_npz, "cannot be read"),
        (pickled_npy, "cannot be read"),
        (flat_npz, "under the key 'cube'"),
        (broken_mat, "cannot be read"),
        (empty_zarr, "cannot be read"),
        (broken_netcdf, "cannot be read"),
    ],
)
def test_bad_file_is_one_sentence(tmp_path, make, says):
    with pytest.raises(InputError, match=says) as caught:
        open_hsi(make(tmp_path))
    assert "\n" not in str(caught.value)


def test_file_lost_after_opening(tmp_path):
    path = write(tmp_path / "a.tif")
    image = open_hsi(path).image
    path.unlink()
    with pytest.raises(InputError, match=r"a\.tif cannot be read"):
        image.compute()


def test_an_msi_is_no_hsi(tmp_path):
    path = write(tmp_path / "a.tif", cube(3))
    assert open_msi(path).sizes["band"] == 3
    with pytest.raises(InputError, match="first"):
        open_hsi(path)


def assert_same_scene(found, expected):
    np.testing.assert_array_equal(found.image, expected.image)
    np.testing.assert_allclose(found.wavelength, expected.wavelength)
    np.testing.assert_allclose(found.fwhm, expected.fwhm)
    np.testing.assert_array_equal(found.good_band, expected.good_band)
    assert found.odc.geobox.affine.almost_equals(expected.odc.geobox.affine, 1e-9)
    assert found.rio.crs == expected.rio.crs
    assert found.image.chunks[0] == (5,)


@pytest.mark.parametrize("transform", [NORTH_UP, ROTATED])
def test_zarr_round_trip(tmp_path, transform):
    path = write(tmp_path / "a.tif", nodata=9, transform=transform)
    with edit(path) as out:
        tags_nm(out)
    scene = open_hsi(path)
    stored = scene.chunk(band=2, y=3, x=3)
    stored.to_zarr(tmp_path / "a.zarr", zarr_format=3, consolidated=False)
    assert_same_scene(open_hsi(tmp_path / "a.zarr"), scene)


def test_netcdf_round_trip(tmp_path):
    pytest.importorskip("h5netcdf")
    path = write(tmp_path / "a.tif")
    with edit(path) as out:
        tags_nm(out)
    scene = open_hsi(path)
    scene.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    found = open_hsi(tmp_path / "a.nc")
    assert found.image.chunks is not None
    assert_same_scene(found, scene)


def test_netcdf_through_gdal(tmp_path, monkeypatch):
    from emrdiff_geo.reading import readers

    monkeypatch.setattr(readers, "_netcdf", lambda path: None)
    coords = {"wavelength": ("wavelength", CENTERS, {"units": "nm"})}
    coords |= {"y": np.arange(6.0), "x": np.arange(7.0)}
    image = xr.DataArray(cube(dtype="f4"), coords, ("wavelength", "y", "x"), name="refl")
    image.to_netcdf(tmp_path / "a.nc", engine="scipy")
    np.testing.assert_allclose(open_hsi(tmp_path / "a.nc").wavelength, CENTERS)


def test_hdf5_subdatasets_are_named(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["swaths/refl"], file["other"] = cube(), cube()
    with pytest.raises(
        InputError, match=r"several variables \(.*swaths/refl.*HDF5:.*a.h5"
    ) as caught:
        open_hsi(path)
    named = str(caught.value).rpartition(" as ")[2].removesuffix(".")
    np.testing.assert_array_equal(open_hsi(named).image, cube())
    for variable in ("swaths/refl", "refl"):
        np.testing.assert_array_equal(open_hsi(path, variable=variable).image, cube())
    with pytest.raises(InputError, match="no single variable 'x'"):
        open_hsi(path, variable="x")


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_one_cube_of_several_by_its_name(tmp_path, suffix):
    pytest.importorskip("h5netcdf")
    coords = {"wavelength": ("wavelength", CENTERS, {"units": "nm"})}
    coords |= {"y": np.arange(6.0), "x": np.arange(7.0)}
    refl = xr.DataArray(cube(dtype="f4"), coords, ("wavelength", "y", "x"))
    scene, path = xr.Dataset({"rad": 2 * refl, "refl": refl}), tmp_path / f"a{suffix}"
    if suffix == ".nc":
        scene.to_netcdf(path, engine="h5netcdf")
    else:
        scene.to_zarr(path, consolidated=False)
    with pytest.raises(InputError, match=r"several cubes \(r.*, r.*\)") as caught:
        open_hsi(path)
    named = str(caught.value).rpartition(" as ")[2].removesuffix(".").replace(":rad", ":refl")
    driver = named.partition(":")[0]
    for name in (named, f'{driver}:"{path}":refl', f'{driver}:"{path}":/refl'):
        found = open_hsi(name)
        np.testing.assert_array_equal(found.image, cube())
        np.testing.assert_allclose(found.wavelength, CENTERS)
        assert found.attrs["source"] == path.name
    with pytest.raises(InputError, match=r"b\.nc does not exist"):
        open_hsi(f'NETCDF:"{tmp_path / "b.nc"}":refl')


def test_a_colon_in_a_file_name(tmp_path):
    np.testing.assert_array_equal(open_hsi(write(tmp_path / "B:10:30.tif")).image, cube())


@pytest.mark.parametrize(
    ("header", "data"),
    [
        ("a.hdr", "a.bin"),
        ("a.hdr", "a.rfl"),
        ("a.hdr", "a.BSQ"),
        ("A.HDR", "A.IMG"),
        ("a.hdr", "a.any"),
        ("a.img.hdr", "a.img"),
    ],
)
def test_data_file_of_an_envi_header(tmp_path, header, data):
    write(tmp_path / "b.img", driver="ENVI")
    (tmp_path / "b.img").rename(tmp_path / data)
    (tmp_path / "b.hdr").rename(tmp_path / header)
    (tmp_path / "a.txt").write_text("about the flight")
    np.testing.assert_array_equal(open_hsi(tmp_path / header).image, cube())


def test_hdf5_with_bands_last_is_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["refl"] = np.zeros((40, 40, 8), "f4")
    with pytest.raises(InputError, match="order of dimensions"):
        open_hsi(tmp_path / "a.h5")


def test_all_georeferenced_scenes(shared_data):
    for path in sorted((shared_data / "georef").glob("*.tif")):
        scene = open_msi(path)
        with rasterio.open(path) as source:
            stored = source.read(masked=True).astype("f4").filled(np.nan)
            np.testing.assert_array_equal(scene.image, stored)
            assert scene.odc.geobox.affine == source.transform, path.name
            assert scene.rio.transform() == source.transform
            assert scene.rio.crs == source.crs
            centers = [float(source.tags(i)["wavelength"]) for i in source.indexes]
        np.testing.assert_allclose(scene.wavelength, centers)


def test_berlin(shared_data):
    scene = open_hsi(shared_data / "georef" / "berlin_enmapsim244_30m.tif")
    assert dict(scene.sizes) == {"band": 244, "y": 80, "x": 60}
    assert (scene.wavelength[0], scene.wavelength[-1]) == (424, 2446)


def test_cave_scene(shared_data):
    scene = open_hsi(next((shared_data / "cave").glob("*.jp2")))
    assert scene.image.shape == (31, 512, 512)
    assert not {"wavelength", "spatial_ref"} & set(scene.coords)
    given = open_hsi(next((shared_data / "cave").glob("*.jp2")), wavelengths=range(400, 701, 10))
    assert given.wavelength[-1] == 700


def test_bench_scene(shared_data):
    path = shared_data / "bench" / "indian_pines.npz"
    scene = open_hsi(path)
    stored = np.load(path)["cube"]
    np.testing.assert_array_equal(scene.image[7, :5], stored[:5, :, 7])


def test_cut_off_copy_of_a_real_scene(shared_data, tmp_path):
    path = tmp_path / "cut.tif"
    shutil.copy(shared_data / "georef" / "berlin_hymap4_3m6.tif", path)
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.truncate(1_000_000)
    with pytest.raises(InputError, match=r"cut\.tif cannot be read"):
        open_msi(path)
