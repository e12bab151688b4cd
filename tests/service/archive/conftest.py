"""A run on the tiny version, without a cluster."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from model_store.store import ModelStore
from service.archive.asked import MANIFEST, Asked
from service.archive.backfill import Backfill, opened
from service.archive.plan import Plan
from service.archive.work import Work
from service.settings import Settings

Begin = Callable[..., Work]


@pytest.fixture
def archive(tmp_path: Path, image: bytes) -> Path:
    """A folder of forty images: three batches."""
    for number in range(40):
        path = tmp_path / "archive" / f"{number % 3}" / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image)
    return tmp_path / "archive"


@pytest.fixture
def settings(published_store: ModelStore) -> Settings:
    """Of the tiny version's store."""
    return Settings.model_validate({"store": published_store.root, "provider": "cpu"})


@pytest.fixture
def begin(archive: Path, tmp_path: Path, settings: Settings) -> Begin:
    """Begins a run over the folder, or goes on with it, and plans it; gives the work of its machines."""

    def begun(**asked: Any) -> Work:
        with opened(
            Asked(**{"archive": str(archive), "query": None, "out": str(tmp_path / "out"), **asked}), settings
        ) as run:
            run.plan()
            return run.work

    return begun


@pytest.fixture
def finish() -> Callable[[Work], list[dict[str, Any]]]:
    """Does all batches that are left, in this process, and gives the rows of the table."""

    def finished(work: Work) -> list[dict[str, Any]]:
        for batch in Plan(work.outputs).pending():
            work.do(batch)
        Backfill(work, None).finish()
        with work.outputs.open(MANIFEST) as file:
            rows: list[dict[str, Any]] = parquet.ParquetFile(file).read().to_pylist()
        return rows

    return finished
