"""Tests of how drift is told."""

import math
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from model_store.baseline import Baseline, Distribution
from model_store.manifest import Draft
from model_store.store import ModelStore
from service.drift import FEWEST, RECENT, Drift
from tests.service.conftest import PNG, Start

HALVES = Distribution(edges=(0.5, 1.0), shares=(0.5, 0.5))


@pytest.fixture
def drift() -> Drift:
    """Against a baseline in which half of everything is dark and half is bright."""
    return Drift(
        Baseline(images=100, brightness=HALVES, class_fraction={"benign": HALVES}, mask_confidence={"benign": HALVES})
    )


def observed(drift: Drift, values: list[float]) -> None:
    """Takes these brightnesses."""
    for value in values:
        drift.observe("brightness", "", value)


def test_the_same_images_do_not_drift(drift: Drift) -> None:
    """Half and half is as it was."""
    observed(drift, [0.2, 0.8] * FEWEST)

    assert drift.indices()["brightness", ""] == pytest.approx(0)


def test_the_index_is_that_of_its_formula(drift: Drift) -> None:
    """The population stability index of 80 and 20 % where half was expected: 0.3 ln 1.6 + 0.3 ln 2.5."""
    observed(drift, [0.2] * 800 + [0.8] * 200)

    assert drift.indices()["brightness", ""] == pytest.approx(0.3 * math.log(1.6) + 0.3 * math.log(2.5), abs=0.01)


def test_of_few_images_nothing_is_said(drift: Drift) -> None:
    """Chance would be told as drift."""
    observed(drift, [0.2] * (FEWEST - 1))

    assert drift.indices() == {}


def test_old_images_are_forgotten(drift: Drift) -> None:
    """The last thousand count."""
    observed(drift, [0.2] * RECENT)
    before = drift.indices()["brightness", ""]
    observed(drift, [0.2, 0.8] * (RECENT // 2))

    assert before > 0.2 > drift.indices()["brightness", ""]


def test_values_on_and_beyond_the_edges_have_a_bin(drift: Drift) -> None:
    """A bound belongs to its bin; what is above the last is in it too."""
    observed(drift, [0.5, 1.0, 0.0, 1.7] * FEWEST)

    assert drift.indices()["brightness", ""] == pytest.approx(0)


def test_what_the_baseline_does_not_have_is_passed_over(drift: Drift) -> None:
    """Another class, or another measure."""
    for _ in range(FEWEST):
        drift.observe("class_fraction", "other", 0.1)
        drift.observe("noise", "", 0.1)

    assert drift.indices() == {}


def test_chance_is_not_told_as_drift(drift: Drift) -> None:
    """A thousand images as they were expected stay below what raises the alert."""
    random = np.random.default_rng(3)
    observed(drift, random.uniform(0, 1, 1000).tolist())

    assert drift.indices()["brightness", ""] < 0.02


@pytest.mark.requirement("OPS-10")
def test_a_service_tells_how_far_its_images_lie_from_the_baseline(
    start: Start, tmp_path: Path, tiny_draft: Draft, tiny_contents: Mapping[str, bytes], image: bytes
) -> None:
    """Of a version whose manifest has one: these images are darker than half of those, and say so."""
    bright = Distribution(edges=(0.5, 1.0), shares=(0.0, 1.0))
    baseline = Baseline(images=100, brightness=bright, class_fraction={}, mask_confidence={})
    store = ModelStore(tmp_path / "other")
    store.publish("efsnet", tiny_draft.model_copy(update={"baseline": baseline}), tiny_contents)
    store.promote("efsnet", "production", 1, by="the tests", why="the first")
    client = start(store=store.root)
    for _ in range(FEWEST):
        assert client.post("/v1/segment", content=image, headers=PNG).is_success

    found = re.search(r'efs_drift_psi\{class="",measure="brightness",.*\} ([\d.]+)', client.get("/metrics").text)
    assert found
    assert float(found[1]) > 1
