"""The product as people start it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.processes import serve


@pytest.fixture(scope="session")
def served(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a service that scripts/serve started, with a new store."""
    with serve([repository / "scripts" / "serve"], tmp_path_factory.mktemp("store")) as url:
        yield url
