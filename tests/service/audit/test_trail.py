"""Tests of recording acts."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from service.audit.act import ACTS, Act
from service.audit.trail import Trail, open_trail
from service.audit_settings import AuditSettings
from service.errors import AuditUnavailable


class FakeSink:
    """Keeps what it is given, or fails."""

    def __init__(self) -> None:
        self.batches: list[list[Mapping[str, Any]]] = []
        self.fails = False
        self.opened = Event()
        self.opened.set()

    def append(self, contents: Sequence[Mapping[str, Any]]) -> None:
        self.opened.wait()
        if self.fails:
            raise OSError(28, "No space left on device")
        self.batches.append(list(contents))

    def close(self) -> None:
        pass

    @property
    def acts(self) -> list[str]:
        """The names of all acts."""
        return [content["act"] for batch in self.batches for content in batch]


def test_an_act_is_kept_when_recording_it_returns() -> None:
    """With the time in UTC, and without what there is not to say."""
    sink = FakeSink()
    Trail(sink).record(Act("key_made", who="somebody", details={"key": "k", "empty": ""}))

    (content,) = sink.batches[0]
    assert content["time"].endswith("Z")
    assert {"act": "key_made", "outcome": "success", "who": "somebody", "key": "k"} == {
        name: value for name, value in content.items() if name != "time"
    }


def test_an_image_is_told_by_a_keyed_hash() -> None:
    """So that nobody without the key can try which image it was."""
    sink = FakeSink()
    Trail(sink, key=b"secret").record(Act("image_segmented", image=b"pixels"))

    expected = hmac.new(b"secret", b"pixels", hashlib.sha256).hexdigest()
    assert sink.batches[0][0]["image"] == f"hmac-sha256:{expected}"


def test_acts_that_wait_at_the_same_time_are_written_together() -> None:
    """One visit to the disk serves them all."""
    sink = FakeSink()
    trail = Trail(sink)

    async def record_many() -> None:
        sink.opened.clear()
        recording = [asyncio.create_task(trail.recorded(Act("image_segmented"))) for _ in range(50)]
        await asyncio.sleep(0.05)
        sink.opened.set()
        await asyncio.gather(*recording)

    asyncio.run(record_many())

    assert ["image_segmented"] * 50 == sink.acts
    assert len(sink.batches) <= 3


def test_what_cannot_be_recorded_is_refused_and_all_after_it() -> None:
    """Where the operator wants that; the failure is counted, and the service is not ready."""
    sink, failures = FakeSink(), []
    trail = Trail(sink, on_failure=lambda: failures.append(1))
    sink.fails = True

    with pytest.raises(AuditUnavailable):
        trail.record(Act("key_made"))
    with pytest.raises(AuditUnavailable):
        trail.check()

    assert [1] == failures
    assert trail.trouble


def test_a_trail_that_can_be_written_again_says_how_much_was_lost() -> None:
    """And there is no trouble any more."""
    sink = FakeSink()
    trail = Trail(sink)
    sink.fails = True
    for _ in range(3):
        with pytest.raises(AuditUnavailable):
            trail.record(Act("key_made"))
    sink.fails = False
    trail.record(Act("key_revoked"))

    assert ["audit_resumed", "key_revoked"] == sink.acts
    assert sink.batches[0][0]["lost"] == 3
    assert trail.trouble is None


def test_an_operator_may_rather_go_on() -> None:
    """Nothing is refused, and all failures are counted."""
    sink, failures = FakeSink(), []
    trail = Trail(sink, when_unwritable="continue", on_failure=lambda: failures.append(1))
    sink.fails = True
    trail.record(Act("key_made"))
    trail.check()

    assert [1] == failures
    assert trail.trouble is None


def test_without_a_place_nothing_is_recorded(tmp_path: Path) -> None:
    """And no key is made."""
    trail = open_trail(AuditSettings(), tmp_path / "audit.key")
    trail.record(Act("key_made"))
    trail.close()

    assert not trail.on
    assert [] == list(tmp_path.iterdir())


def test_the_key_of_the_hashes_is_made_once_for_its_owner(tmp_path: Path) -> None:
    """The same image has the same hash after a restart."""
    for _ in range(2):
        trail = open_trail(AuditSettings(file=tmp_path / "audit.jsonl"), tmp_path / "state" / "audit.key")
        trail.record(Act("image_segmented", image=b"pixels"))
        trail.close()

    first, second = map(json.loads, (tmp_path / "audit.jsonl").read_text(encoding="utf-8").splitlines())
    assert first["image"] == second["image"]
    assert (tmp_path / "state" / "audit.key").stat().st_mode & 0o077 == 0


def test_what_waits_is_written_before_the_end() -> None:
    """Closing loses nothing."""
    sink = FakeSink()
    trail = Trail(sink)
    sink.opened.clear()
    futures = [trail._submit(Act("key_made")) for _ in range(5)]
    sink.opened.set()
    trail.close()

    assert ["key_made"] * 5 == sink.acts
    assert all(future.done() for future in futures)


def test_an_act_that_is_none_is_a_fault_of_the_program() -> None:
    """So that the documents list them all."""
    with pytest.raises(ValueError, match="no act"):
        Act("something")


def test_every_act_is_in_the_documents(repository: Path) -> None:
    """With its event of DICOM PS3.15."""
    text = (repository / "docs" / "audit.md").read_text(encoding="utf-8")
    rows = {
        cells[1].strip(" `"): (cells[3].strip(), cells[4].strip())
        for cells in (line.split("|") for line in text.splitlines() if line.startswith("| `"))
        if len(cells) == 6
    }

    assert {name: (f"{event.event_id} {event.meaning}", event.type_code or "") for name, event in ACTS.items()} == rows
