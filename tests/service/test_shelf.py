"""Versions in memory, within their budget."""

from collections.abc import Callable, Mapping, Sequence

import pytest

from efsnet.predictor import Computation
from model_store.loading import LoadedVersion, load
from model_store.manifest import Draft
from model_store.store import ModelStore
from model_store.version import Version
from service.errors import VersionTooLarge
from service.metrics import Metrics
from service.shelf import Shelf

MB = 1_000_000


def cost_bytes(version: Version) -> int:
    """Each takes ten times its number: version 3 takes 30 MB."""
    return 10 * MB * version.number


@pytest.fixture
def versions(
    published_store: ModelStore, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]
) -> Callable[[int], LoadedVersion]:
    """Versions 1 to 6, loaded."""
    loaded = {}
    for number in range(1, 7):
        if number > 1:
            published_store.publish("efsnet", tiny_draft, tiny_contents)
        version = published_store.version("efsnet", str(number))
        loaded[number] = load(version, Computation(provider="cpu"))
    return loaded.__getitem__


def shelf_of(budget_mb: int | None) -> Shelf:
    """A shelf with so much room."""
    return Shelf(Metrics("test"), cost_bytes, None if budget_mb is None else budget_mb * MB)


def numbers(shelf: Shelf) -> Sequence[int]:
    """Of the versions in memory."""
    return sorted(loaded.version.number for loaded in shelf.loaded)


def test_what_was_asked_for_longest_ago_goes_first(versions: Callable[[int], LoadedVersion]) -> None:
    """Until what is new has room; what answers for an alias takes none of it."""
    shelf = shelf_of(60)
    shelf.serve("production", versions(6))
    for number in (1, 2, 3):
        shelf.put(versions(number))
    assert [1, 2, 3, 6] == numbers(shelf)

    shelf.get(versions(1).version.digest)
    shelf.put(versions(4))
    assert [1, 4, 6] == numbers(shelf)


def test_what_a_rollback_goes_back_to_stays(versions: Callable[[int], LoadedVersion]) -> None:
    """Whatever requests name, and though it was not asked for longest."""
    shelf = shelf_of(40)
    shelf.serve("production", versions(2))
    shelf.serve("production", versions(6), to_go_back_to=versions(2).version.digest)
    for number in (1, 1, 1):
        shelf.put(versions(number))
    assert [1, 2, 6] == numbers(shelf)

    with pytest.raises(VersionTooLarge, match=r"efsnet 3 takes 30 MB .* have 40 MB, of which efsnet 2, for a rollback"):
        shelf.check_room(versions(3).version)
    assert [1, 2, 6] == numbers(shelf)


def test_one_that_alone_is_too_large_is_refused(versions: Callable[[int], LoadedVersion]) -> None:
    """With what it takes, what there is, and what to do."""
    shelf = shelf_of(20)
    shelf.check_room(versions(2).version)

    with pytest.raises(VersionTooLarge) as refused:
        shelf.check_room(versions(3).version)
    assert (
        "efsnet 3 takes 30 MB of memory, and versions beside production have 20 MB: promote it, or set "
        "EFSNET_LOADED_MB higher."
    ) == str(refused.value)


def test_by_default_two_like_production_have_room(versions: Callable[[int], LoadedVersion]) -> None:
    """Whatever such a version takes here."""
    shelf = shelf_of(None)
    shelf.serve("production", versions(2))
    shelf.check_room(versions(4).version)

    with pytest.raises(VersionTooLarge, match="have 40 MB"):
        shelf.check_room(versions(5).version)


def test_what_was_replaced_has_no_room_beyond_the_budget(
    versions: Callable[[int], LoadedVersion], caplog: pytest.LogCaptureFixture
) -> None:
    """The promotion goes on; the log says what that costs."""
    shelf = shelf_of(25)
    shelf.serve("production", versions(3))
    shelf.serve("production", versions(2), to_go_back_to=versions(3).version.digest)

    assert [2] == numbers(shelf)
    assert "efsnet 3 is not kept: it takes 30 MB, and EFSNET_LOADED_MB is too low" in caplog.text
