"""A candidate sees live images beside production."""

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient

from efsnet.maps import LabelMap, ProbabilityMap
from efsnet.predictor import Computation, Predictor
from model_store.loading import LoadedVersion, load
from model_store.manifest import MODEL, Draft
from model_store.store import ModelStore
from model_store.version import Version
from service.segmentation import Segmentation
from service.shadow import lesion_dice, main_class
from tests.service.api.test_health import value
from tests.service.conftest import PNG, Gate, GatedPredictor, Start, encoded

SOON_S = 0.02
VERSIONS = {"model": "efsnet", "production_version": "1", "candidate_version": "2"}


@pytest.fixture
def store(published_store: ModelStore, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]) -> ModelStore:
    """Version 2, the candidate, overlooks lesions below 6 % of the image, as the benign one of the image here is."""
    rules = tiny_draft.specification.post_processing.model_copy(update={"minimum_area_fraction": 0.06})
    specification = tiny_draft.specification.model_copy(update={"post_processing": rules})
    published_store.publish("efsnet", tiny_draft.model_copy(update={"specification": specification}), tiny_contents)
    nominate(published_store, 2)
    return published_store


@pytest.fixture
def client(start: Start, store: ModelStore) -> TestClient:
    """A service that shows every image to the candidate."""
    return start(shadow_share=1.0, follow_s=SOON_S)


def nominate(store: ModelStore, version: int) -> None:
    """Makes a version the candidate."""
    store.promote("efsnet", "candidate", version, by="the tests", why="to be tried")


def segment(client: TestClient, image: bytes, **query: str) -> None:
    """Uploads an image, which must be answered."""
    client.post("/v1/segment", content=image, headers=PNG, params=query).raise_for_status()


def agreement(client: TestClient) -> Any:
    """What is told of the candidate."""
    return client.get("/v1/models/efsnet/shadow").json()["agreement"]


def eventually(holds: Callable[[], object]) -> bool:
    """Whether this holds within a minute."""
    end = time.monotonic() + 60
    while not holds() and time.monotonic() < end:
        time.sleep(SOON_S)
    return bool(holds())


def seen(client: TestClient, images: int) -> Any:
    """The figures, once so many images were seen."""
    assert eventually(lambda: images == agreement(client)["images"])
    return agreement(client)


@pytest.fixture(scope="session")
def benign() -> bytes:
    """An image with a small benign lesion alone, as a PNG."""
    pixels = np.full((128, 160), 30, np.uint8)
    pixels[20:50, 20:60] = 150
    return encoded(pixels)


@pytest.fixture(scope="session")
def normal() -> bytes:
    """An image without a lesion, as a PNG."""
    return encoded(np.full((128, 160), 30, np.uint8))


@pytest.mark.requirement("VER-10")
def test_a_candidate_sees_what_production_answers(
    client: TestClient, image: bytes, benign: bytes, normal: bytes
) -> None:
    """Agreement of the masks, changes of the class, and time: of the very same images."""
    for number, each in enumerate((image, image, benign, normal), 1):
        segment(client, each)
        seen(client, number)
    told = agreement(client)

    assert (1, 2) == (told["production"]["version"], told["candidate"]["version"])
    # The candidate finds the malignant square, 2,400 of the 3,600 pixels; and nothing of the benign one.
    assert {"images": 3, "mean": pytest.approx(1.6 / 3, abs=0.01), "minimum": 0} == told["dice"]
    assert [
        {"production": "background", "candidate": "background", "images": 1},
        {"production": "benign", "candidate": "background", "images": 1},
        {"production": "malignant", "candidate": "malignant", "images": 2},
    ] == told["classes"]
    assert (0, 0) == (told["dropped"], told["failed"])
    assert told["production"]["infer_ms"] > 0 < told["candidate"]["infer_ms"]
    assert 4 == value(client, "efs_shadow_images_total", outcome="compared", **VERSIONS)
    assert 3 == value(client, "efs_shadow_dice_count", **VERSIONS)
    assert 1 == value(client, "efs_shadow_classes_total", production="benign", candidate="background", **VERSIONS)
    assert 4 == value(client, "efs_shadow_infer_seconds_count", role="candidate", **VERSIONS)


@pytest.mark.requirement("VER-10")
def test_nothing_of_an_image_is_kept(client: TestClient, image: bytes) -> None:
    """Once it was compared."""
    segment(client, image)
    seen(client, 1)

    def kept() -> bool:
        gc.collect()
        # not isinstance, which asks every object that there is for its class, and some answer with a warning
        return any(type(each) is Segmentation for each in gc.get_objects())

    assert eventually(lambda: not kept())


def test_a_new_candidate_begins_anew(
    client: TestClient, store: ModelStore, tiny_draft: Draft, tiny_contents: Mapping[str, bytes], image: bytes
) -> None:
    """Figures of two candidates are never mixed; and one that is production is none."""
    store.publish("efsnet", tiny_draft, tiny_contents)
    segment(client, image)
    seen(client, 1)
    nominate(store, 3)
    assert eventually(lambda: 3 == agreement(client)["candidate"]["version"])

    assert (0, None) == (agreement(client)["images"], agreement(client)["dice"])
    assert agreement(client)["candidate"]["infer_ms"] is None
    nominate(store, 1)
    assert eventually(lambda: agreement(client) is None)


def test_only_production_is_compared(client: TestClient, image: bytes) -> None:
    """Not who asks for a version by its number, even for the candidate's."""
    segment(client, image, version="2")
    segment(client, image)

    assert 1 == seen(client, 1)["images"]


def test_nothing_is_tried_unless_it_is_asked_for(start: Start, store: ModelStore, image: bytes) -> None:
    """By default the candidate is not even loaded."""
    client = start()
    segment(client, image)

    assert {"share": 0.0, "agreement": None} == client.get("/v1/models/efsnet/shadow").json()
    assert 1 == value(client, "efs_model_loads_total", outcome="ok")


def test_a_model_without_a_candidate_has_nothing_to_tell(start: Start, published_store: ModelStore) -> None:
    """Nor has one that cannot be loaded, or that is not there."""
    client = start(shadow_share=1.0)

    assert agreement(client) is None
    assert "model_unknown" == client.get("/v1/models/missing/shadow").json()["code"]


class FailingPredictor(Predictor):
    """A predictor with a fault."""

    def run(self, tensor: NDArray[np.uint8]) -> ProbabilityMap:
        """Fails."""
        raise RuntimeError("MUSTERMANN")


def test_a_candidate_that_fails_is_not_noticed_by_anybody(
    start: Start, store: ModelStore, image: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """But counted, and told in the log without what may quote an image."""

    def load_failing(version: Version) -> LoadedVersion:
        loaded = load(version, Computation(provider="cpu"), workers=2)
        if version.number == 1:
            return loaded
        specification = version.manifest.specification
        failing = FailingPredictor(version.read(MODEL), specification, Computation(provider="cpu"))
        return replace(loaded, predictors=(failing,))

    client = start(load_version=load_failing, shadow_share=1.0)
    segment(client, image)

    assert eventually(lambda: 1 == agreement(client)["failed"])
    assert 0 == agreement(client)["images"]
    assert 1 == value(client, "efs_shadow_images_total", outcome="failed", **VERSIONS)
    assert "RuntimeError" in caplog.text
    assert "MUSTERMANN" not in caplog.text


def test_live_work_never_waits_for_a_candidate(start: Start, store: ModelStore, gate: Gate, image: bytes) -> None:
    """While it is busy with one image, two wait and the rest is dropped; all are answered."""

    def load_slow(version: Version) -> LoadedVersion:
        loaded = load(version, Computation(provider="cpu"), workers=2)
        slow = GatedPredictor(version.read(MODEL), loaded, gate)
        return loaded if version.number == 1 else replace(loaded, predictors=(slow,))

    client = start(load_version=load_slow, shadow_share=1.0)
    segment(client, image)
    gate.await_calls(1)
    for _ in range(5):
        segment(client, image)

    assert (0, 3) == (agreement(client)["images"], agreement(client)["dropped"])
    gate.opened.set()
    assert (3, 3) == (seen(client, 3)["images"], agreement(client)["dropped"])


def test_dice_is_of_all_lesions_together() -> None:
    """Whatever their class; none where there is no lesion."""

    def label_map(*numbers: int) -> LabelMap:
        return LabelMap(np.array([numbers], np.uint8))

    assert 1.0 == lesion_dice(label_map(0, 1, 2), label_map(0, 2, 1))
    assert 0.5 == lesion_dice(label_map(1, 1, 0, 0), label_map(0, 1, 1, 0))
    assert 0.0 == lesion_dice(label_map(1, 0), label_map(0, 0))
    assert lesion_dice(label_map(0, 0), label_map(0, 0)) is None


def test_the_class_of_an_image_is_that_of_most_of_its_lesions(tiny_draft: Draft) -> None:
    """And that of the background where there is none."""

    def named(*numbers: int) -> str:
        return main_class(LabelMap(np.array([numbers], np.uint8)), tiny_draft.specification)

    assert ("background", "benign", "malignant") == (named(0, 0), named(0, 0, 0, 1), named(0, 1, 2, 2))
