"""Fixtures shared by all tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real development scenes, which is not part of the project."""
    if not SHARED.is_dir():
        pytest.skip("../shared/data is absent: the tests on real scenes were not run")
    return SHARED


@pytest.fixture(scope="session", autouse=True)
def one_blas_thread() -> Iterator[None]:
    """As the library runs: on a busy machine the tests took six times as long with more."""
    with threadpool_limits(limits=1, user_api="blas"):
        yield
