"""One BLAS thread inside the library, whoever enters and leaves meanwhile."""

import threading

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
