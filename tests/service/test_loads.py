"""What loading a version costs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from efsnet.predictor import Computation, Predictor
from model_store.errors import DigestMismatch
from model_store.loading import LoadedVersion, load
from model_store.manifest import MODEL
from model_store.store import ModelStore
from model_store.version import Version
from service.loads import Loader
from service.memory import resident_bytes
from service.metrics import Metrics

BALLAST_BYTES = 60_000_000


class HeavyPredictor(Predictor):
    """A predictor that takes much memory."""

    def __init__(self, version: Version, computation: Computation) -> None:
        super().__init__(version.read(MODEL), version.manifest.specification, computation)
        self.ballast = np.ones(BALLAST_BYTES, np.uint8)


def load_heavy(version: Version) -> LoadedVersion:
    """A version that takes 60 MB, for two workers."""
    computation = Computation(provider="cpu")
    return replace(load(version, computation), predictors=(HeavyPredictor(version, computation),) * 2)


@pytest.fixture
def version(published_store: ModelStore) -> Version:
    """Version 1."""
    return published_store.version("efsnet", "1")


def test_the_cost_of_a_version_is_measured(version: Version) -> None:
    """A single load may have brought in the engine too, so that only a second one can be relied on."""
    loader = Loader(load_heavy, Metrics("test"))
    assert (0, False) == (loader.cost_bytes(version), loader.knows(version))
    kept = [loader.load(version)]
    assert not loader.knows(version)
    kept.append(loader.load(version))

    assert loader.knows(version)
    assert 0.8 * BALLAST_BYTES < loader.cost_bytes(version) < 2 * BALLAST_BYTES


def test_a_cost_is_no_less_than_the_files(version: Version) -> None:
    """Though the process does not grow, because others give memory back."""
    loader = Loader(lambda _: loaded, Metrics("test"))
    loaded = load(version, Computation(provider="cpu"))
    loader.load(version)

    assert loader.cost_bytes(version) >= sum(file.bytes for file in version.manifest.files.values())


def test_a_load_that_fails_costs_nothing(version: Version) -> None:
    """It is counted, and the error is the caller's."""

    def fail(_: Version) -> LoadedVersion:
        raise DigestMismatch("It was changed.")

    loader = Loader(fail, Metrics("test"))
    with pytest.raises(DigestMismatch):
        loader.load(version)
    assert 0 == loader.cost_bytes(version)


def test_a_system_that_does_not_tell_counts_the_files_alone(tmp_path: Path) -> None:
    """The memory in use is told by Linux only."""
    assert 0 == resident_bytes(tmp_path / "statm")
    assert 0 < resident_bytes()


@pytest.mark.requirement("SEG-13")
def test_a_precision_that_a_version_does_not_allow_is_told(version: Version, caplog: pytest.LogCaptureFixture) -> None:
    """Or whoever asked for it would think to have it."""
    loader = Loader(lambda each: load(each, Computation(provider="cpu", precision="bf16")), Metrics("test"))

    assert "f32" == loader.load(version).predictor.engine.precision
    assert f"{version} computes in f32, not in bf16" in caplog.text
