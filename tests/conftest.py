"""Fixtures shared by all tests."""

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real development scenes, which is not part of the project."""
    if not SHARED.is_dir():
        pytest.skip("../shared/data is absent: the tests on real scenes were not run")
    return SHARED
