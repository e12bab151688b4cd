"""Fixtures that tests of several packages share."""

from pathlib import Path

import pytest
from hypothesis import settings

# Based on Hypothesis' own choice, which in CI is the same examples each time. No deadline: machines are busy.
settings.register_profile("project", settings.default, deadline=None)
settings.load_profile("project")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def busi(repository: Path) -> Path:
    """A few real images of BUSI with their masks, in its published layout."""
    return repository / "tests" / "data" / "Dataset_BUSI_with_GT"
