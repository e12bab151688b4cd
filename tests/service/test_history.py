"""Promotions that were seen are not forgotten."""

import shutil
from pathlib import Path

import pytest

from model_store.store import ModelStore
from service.errors import StateUnusable, StoreSetBack
from service.history import History


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where it is kept what was seen."""
    return tmp_path / "seen"


def promote(store: ModelStore, why: str = "again") -> None:
    """One more record, which names the same version."""
    store.promote("efsnet", "production", 1, by="the tests", why=why)


def set_back(store: ModelStore) -> None:
    """Takes the newest record away."""
    max((store.root / "efsnet/promotions").iterdir()).unlink()


def test_a_history_goes_on(published_store: ModelStore, folder: Path) -> None:
    """What is added is seen, by another process too."""
    assert [1] == [promotion.number for promotion in History(published_store, folder).promotions("efsnet")]
    promote(published_store)
    assert [1, 2] == [promotion.number for promotion in History(published_store, folder).promotions("efsnet")]


@pytest.mark.parametrize("restarted", [True, False])
def test_a_store_that_was_set_back_is_refused(published_store: ModelStore, folder: Path, *, restarted: bool) -> None:
    """Also after a restart; it is said which record is missing, and what to do."""
    promote(published_store)
    history = History(published_store, folder)
    history.promotions("efsnet")
    set_back(published_store)

    with pytest.raises(StoreSetBack, match=r"record 2, .* delete .*efsnet\.json"):
        (History(published_store, folder) if restarted else history).promotions("efsnet")


def test_services_that_share_a_folder_never_forget_for_each_other(published_store: ModelStore, folder: Path) -> None:
    """One that has seen less refuses what another has seen more of, and writes nothing lower."""
    behind, ahead = History(published_store, folder), History(published_store, folder)
    behind.promotions("efsnet")
    for _ in range(3):
        promote(published_store)
    ahead.promotions("efsnet")
    for _ in range(2):
        set_back(published_store)

    for history in (behind, ahead, History(published_store, folder)):
        with pytest.raises(StoreSetBack, match="record 4"):
            history.promotions("efsnet")


def test_another_record_of_the_same_number_is_refused(published_store: ModelStore, folder: Path) -> None:
    """A store that was set back, and then went another way, is no continuation."""
    promote(published_store, "one way")
    History(published_store, folder).promotions("efsnet")
    set_back(published_store)
    promote(published_store, "another way")
    promote(published_store, "further")

    with pytest.raises(StoreSetBack):
        History(published_store, folder).promotions("efsnet")


def test_a_store_that_is_restored_is_followed_again(published_store: ModelStore, folder: Path, tmp_path: Path) -> None:
    """Nothing needs to be deleted for that."""
    promote(published_store)
    history = History(published_store, folder)
    history.promotions("efsnet")
    shutil.copytree(published_store.root, tmp_path / "backup")
    set_back(published_store)
    with pytest.raises(StoreSetBack):
        history.promotions("efsnet")
    shutil.rmtree(published_store.root)
    shutil.copytree(tmp_path / "backup", published_store.root)

    assert 2 == len(history.promotions("efsnet"))


def test_who_means_it_deletes_the_memory(published_store: ModelStore, folder: Path) -> None:
    """A backup that was restored on purpose is followed from the next start on."""
    promote(published_store)
    History(published_store, folder).promotions("efsnet")
    set_back(published_store)
    (folder / "efsnet.json").unlink()

    assert 1 == len(History(published_store, folder).promotions("efsnet"))


def test_a_damaged_memory_trusts_nothing(published_store: ModelStore, folder: Path) -> None:
    """It may have been damaged to bring back an old version."""
    History(published_store, folder).promotions("efsnet")
    (folder / "efsnet.json").write_text("{}")

    with pytest.raises(StateUnusable, match="is damaged: delete it"):
        History(published_store, folder).promotions("efsnet")


def test_a_memory_that_cannot_be_kept_is_told(published_store: ModelStore, tmp_path: Path) -> None:
    """What is not remembered protects from nothing."""
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StateUnusable):
        History(published_store, tmp_path / "file" / "seen").promotions("efsnet")


def test_an_outline_changes_with_a_promotion(published_store: ModelStore, folder: Path) -> None:
    """And with nothing else; the detailed one with any file, also if it only becomes readable."""
    history = History(published_store, folder)
    before, detailed = history.outline("efsnet"), history.detailed_outline("efsnet")
    history.promotions("efsnet")

    assert (before, detailed) == (history.outline("efsnet"), history.detailed_outline("efsnet"))
    (published_store.root / "efsnet/versions/1/model.onnx").chmod(0o600)
    assert before == history.outline("efsnet")
    assert detailed != history.detailed_outline("efsnet")
    promote(published_store)
    assert before != history.outline("efsnet")


def test_an_outline_of_nothing_is_empty(tmp_path: Path, folder: Path) -> None:
    """Of a store that is not there yet."""
    history = History(ModelStore(tmp_path / "nowhere"), folder)

    assert () == history.outline("efsnet") == history.detailed_outline("efsnet")
