"""Tests of the audit file."""

import json
import threading
from pathlib import Path

import pytest

from service.audit.chain import verify
from service.audit.file import AuditFile


def audit_file(folder: Path, *, max_bytes: int = 1_000_000, kept: int = 0) -> AuditFile:
    """An audit file in a folder."""
    return AuditFile(folder / "audit.jsonl", max_bytes=max_bytes, kept=kept)


def all_lines(folder: Path) -> list[bytes]:
    """Of all files of the trail, the oldest first."""
    paths = [*audit_file(folder).full(), folder / "audit.jsonl"]
    return [line for path in paths if path.exists() for line in path.read_bytes().splitlines()]


def acts(folder: Path) -> list[str]:
    """What they tell."""
    return [json.loads(line)["act"] for line in all_lines(folder)]


def test_a_chain_goes_on_in_another_process(tmp_path: Path) -> None:
    """As after a restart, and while a command writes too."""
    first, second = audit_file(tmp_path), audit_file(tmp_path)
    first.append([{"act": "a"}, {"act": "b"}])
    second.append([{"act": "c"}])
    first.append([{"act": "d"}])

    assert ["a", "b", "c", "d"] == acts(tmp_path)
    assert verify(all_lines(tmp_path))[1].sequence == 4


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    """Nobody else reads who did what."""
    audit_file(tmp_path / "new").append([{"act": "a"}])

    assert (tmp_path / "new" / "audit.jsonl").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("cut", [1, 20])
def test_half_a_line_is_taken_away_by_the_next_who_writes(tmp_path: Path, cut: int) -> None:
    """Its writer was killed, and never answered for it."""
    audit_file(tmp_path).append([{"act": "a"}, {"act": "b"}])
    path = tmp_path / "audit.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    audit_file(tmp_path).append([{"act": "c"}])

    assert ["a", "c"] == acts(tmp_path)
    verify(all_lines(tmp_path))


def test_a_file_of_half_a_line_begins_anew(tmp_path: Path) -> None:
    """The first line of all can be cut off too."""
    (tmp_path / "audit.jsonl").write_bytes(b'{"sequence": 1, "prev')
    audit_file(tmp_path).append([{"act": "a"}])

    assert verify(all_lines(tmp_path))[1].sequence == 1


def test_a_large_file_is_followed_by_another_and_the_chain_goes_on(tmp_path: Path) -> None:
    """Each full one is named by its first line."""
    file = audit_file(tmp_path, max_bytes=300)
    for number in range(10):
        file.append([{"act": str(number)}])

    assert len(file.full()) > 2
    assert file.full()[0].name == "audit.000000000001.jsonl"
    assert [str(number) for number in range(10)] == acts(tmp_path)
    verify(all_lines(tmp_path))


def test_only_as_many_full_files_are_kept_as_asked_for(tmp_path: Path) -> None:
    """The oldest go; what is left is a whole chain from a later line on."""
    file = audit_file(tmp_path, max_bytes=300, kept=2)
    for number in range(20):
        file.append([{"act": str(number)}])

    assert len(file.full()) == 2
    first, end = verify(all_lines(tmp_path))
    assert first > 1
    assert end.sequence == 20


def test_a_new_file_that_was_not_begun_is_no_break(tmp_path: Path) -> None:
    """Killed between setting the full one aside and the first line of the next."""
    file = audit_file(tmp_path, max_bytes=10)
    file.append([{"act": "a"}])
    assert not (tmp_path / "audit.jsonl").exists()
    audit_file(tmp_path).append([{"act": "b"}])

    assert ["a", "b"] == acts(tmp_path)
    verify(all_lines(tmp_path))


def test_several_who_write_at_once_make_one_chain(tmp_path: Path) -> None:
    """Each line once, in whatever order."""

    def write(name: str) -> None:
        file = audit_file(tmp_path, max_bytes=2000)
        for number in range(20):
            file.append([{"act": f"{name}{number}"}])

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(f"{name}{number}" for name in "abcd" for number in range(20)) == sorted(acts(tmp_path))
    verify(all_lines(tmp_path))


def test_a_link_in_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    """Nobody has the service write elsewhere."""
    (tmp_path / "audit.jsonl").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="symbolic"):
        audit_file(tmp_path).append([{"act": "a"}])
