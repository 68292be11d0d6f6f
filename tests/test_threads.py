"""One BLAS thread inside the library, whoever enters and leaves meanwhile."""

import os
import subprocess
import sys
import threading
from pathlib import Path

from threadpoolctl import threadpool_info, threadpool_limits

from emrdiff_geo.system.threads import one_blas_thread


def blas_threads():
    return [p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"]


def test_the_limit_holds_inside_and_goes_with_the_call():
    with threadpool_limits(limits=2, user_api="blas"):
        before = blas_threads()
        assert set(before) == {2}
        inside = one_blas_thread()(blas_threads)()
        assert set(inside) == {1}
        assert blas_threads() == before


def test_a_thread_that_leaves_does_not_lift_the_limit_of_others():
    entered, leave = threading.Event(), threading.Event()

    @one_blas_thread()
    def first():
        entered.set()
        leave.wait(10)

    with threadpool_limits(limits=2, user_api="blas"):
        thread = threading.Thread(target=first)
        thread.start()
        assert entered.wait(10)
        with one_blas_thread():
            leave.set()
            thread.join()
            assert set(blas_threads()) == {1}
        assert set(blas_threads()) == {2}


#: In a process of its own: the tests hold the limit themselves.
IN_POOL_THREADS = """
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from scenes import pair
from sink_scene import digest
from threadpoolctl import threadpool_info
from emrdiff_geo.system.threads import one_blas_thread
from emrdiff_geo.fusion import fuse_to_file

@one_blas_thread()
def inside(_=0):
    return {p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"}

assert inside() == {1}
with ThreadPoolExecutor(2) as pool:
    assert all(found == {1} for found in pool.map(inside, range(4)))
assert inside.__wrapped__() == {2}
scene = pair(320, 320, 8)[:2]
options = {"method": "gaussian_process", "tile": 160}
digests = []
for scheduler in ("synchronous", "threads"):
    out = fuse_to_file(*scene, Path("out.zarr"), overwrite=True, scheduler=scheduler, **options)
    digests.append(digest(out))
assert digests[0] == digests[1]
"""


def test_pool_threads_have_the_limit_too_and_give_the_same_bytes(tmp_path):
    tests = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}"}
    environment |= {"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-c", IN_POOL_THREADS]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
