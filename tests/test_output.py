import errno
import os
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import odc.geo.xr  # noqa: F401
import pytest
import rioxarray  # noqa: F401
from sink_scene import (
    SHAPE,
    SUFFIXES,
    TILE,
    digest,
    fill,
    make_grid,
    make_image,
    read,
    regions,
    write,
)

from emrdiff_geo.errors import OutputError
from emrdiff_geo.writing.sinks import check_output, open_sink


@pytest.fixture(scope="module")
def image():
    return make_image()


LIMITED = """
    import resource, sys
    import numpy as np
    from emrdiff_geo.errors import OutputError
    from emrdiff_geo.writing.sinks import open_sink

    path, limits = sys.argv[1], [int(n) for n in sys.argv[2:]]
    image = np.random.default_rng(0).normal(size=(2, 256, 256)).astype(np.float32)
    for limit in limits:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            with open_sink(path, image.shape, chunks=128, overwrite=True) as sink:
                for row in (0, 128):
                    for col in (0, 128):
                        sink.write(image[:, row : row + 128, col : col + 128], row, col)
        except OutputError as error:
            print(limit, error)
        else:
            print(limit, "wrote it all")
"""


@pytest.mark.parametrize("name", ["out.img", "out", "out.nc", "out.tif.gz"])
def test_unknown_suffixes_name_the_known_ones(tmp_path, name):
    with pytest.raises(OutputError, match=r"\.tif.*\.zarr"):
        check_output(tmp_path / name)


@pytest.mark.parametrize("name", ["OUT.TIF", "a.tiff", "b.ZARR"])
def test_suffixes_of_any_case(tmp_path, name):
    assert check_output(str(tmp_path / name)) == tmp_path / name


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(OutputError, match="create it"):
        check_output(tmp_path / "none" / "out.tif")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="create it"):
        check_output(tmp_path / "file" / "out.tif")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_a_folder_without_permission_is_an_error(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="no permission"):
            check_output(tmp_path / "out.tif")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder that no one may fill")
def test_a_folder_that_takes_no_files_is_an_error():
    with pytest.raises(OutputError, match=r"could not be written|no permission"):
        open_sink("/proc/self/out.tif", SHAPE)


def test_only_earlier_results_are_overwritten(tmp_path):
    (tmp_path / "photos.zarr").mkdir()
    (tmp_path / "photos.zarr" / "cat.jpg").write_text("")
    with pytest.raises(OutputError, match="not a Zarr store"):
        check_output(tmp_path / "photos.zarr", overwrite=True)
    (tmp_path / "folder.tif").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        check_output(tmp_path / "folder.tif", overwrite=True)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_existing_result_is_kept_without_overwrite(tmp_path, image, suffix):
    path = write(tmp_path / f"out.{suffix}", image)
    before = digest(path)
    with pytest.raises(OutputError, match="overwrite"):
        open_sink(path, SHAPE)
    assert digest(path) == before
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_overwriting_replaces_at_the_end_only(tmp_path, image, suffix):
    path = write(tmp_path / f"out.{suffix}", image)
    sink = open_sink(path, SHAPE, chunks=TILE, geobox=make_grid(), overwrite=True)
    fill(sink, image + 1)
    np.testing.assert_array_equal(read(path), image)
    sink.close()
    np.testing.assert_array_equal(read(path), image + 1)
    assert os.listdir(tmp_path) == [path.name]


def test_overwriting_removes_what_described_the_old_file(tmp_path, image):
    path = write(tmp_path / "out.tif", image)
    for suffix in (".aux.xml", ".ovr"):
        (tmp_path / f"out.tif{suffix}").write_text("stale")
    write(path, image, overwrite=True)
    assert os.listdir(tmp_path) == ["out.tif"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_result_that_appeared_meanwhile_is_not_replaced(tmp_path, image, suffix):
    path = tmp_path / f"out.{suffix}"
    other = tmp_path / "elsewhere"
    other.mkdir()
    sink = open_sink(path, SHAPE, chunks=TILE, geobox=make_grid())
    fill(sink, image)
    shutil.move(write(other / path.name, image + 1), path)
    with pytest.raises(OutputError, match="exists"):
        sink.close()
    sink.abort()
    np.testing.assert_array_equal(read(path), image + 1)


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of file size")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_writes_that_the_system_cuts_off_never_pass_for_a_result(tmp_path, suffix):
    """A limit of file size cuts real writes of GDAL and Zarr off wherever it is set."""
    image = np.random.default_rng(0).normal(size=(2, 256, 256)).astype(np.float32)
    whole = tmp_path / f"whole.{suffix}"
    with open_sink(whole, image.shape, chunks=128) as sink:
        for row in (0, 128):
            for col in (0, 128):
                sink.write(image[:, row : row + 128, col : col + 128], row, col)
    chunk = 2 * 128 * 128 * 4
    size = whole.stat().st_size if suffix == "tif" else chunk
    limits = [100, chunk // 2, size // 2, size - 2000, size - 100, size - 1]
    if suffix == "zarr":
        limits = limits[:2]
    path = tmp_path / f"out.{suffix}"
    path_before = sorted(os.listdir(tmp_path))
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(LIMITED), str(path)]
        + [str(n) for n in limits],
        capture_output=True,
        text=True,
        check=True,
        cwd=os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
    )
    lines = run.stdout.splitlines()
    assert len(lines) == len(limits), run.stdout + run.stderr
    assert not [line for line in lines if "wrote it all" in line], run.stdout
    assert sorted(os.listdir(tmp_path)) == path_before


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_while_writing_is_one_sentence(tmp_path, image, suffix):
    class Full:
        def __setitem__(self, key, value):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    sink = open_sink(tmp_path / f"out.{suffix}", SHAPE, chunks=TILE)
    sink._array = Full()
    with (
        pytest.raises(OutputError, match=r"^the disk is full while writing .*free some space"),
        sink,
    ):
        fill(sink, image)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("when", ["before a region", "before the end"])
def test_a_folder_removed_in_mid_run_is_an_error(tmp_path, image, when):
    folder = tmp_path / "folder"
    folder.mkdir()
    sink = open_sink(folder / "out.tif", SHAPE, chunks=TILE)
    fill(sink, image, regions()[:2])
    shutil.rmtree(folder)
    with pytest.raises(OutputError, match=r"removed|does not exist"), sink:
        fill(sink, image, regions() if when == "before a region" else [])
    assert not folder.exists()
