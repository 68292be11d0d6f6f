from threadpoolctl import threadpool_info, threadpool_limits

from emrdiff_geo._threads import one_blas_thread


def blas_threads():
    return [p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"]


def test_the_limit_holds_inside_and_goes_with_the_call():
    with threadpool_limits(limits=2, user_api="blas"):
        before = blas_threads()
        assert set(before) == {2}
        inside = one_blas_thread()(blas_threads)()
        assert set(inside) == {1}
        assert blas_threads() == before
