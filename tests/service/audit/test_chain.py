"""Tests of the chain of lines."""

import json

import pytest

from service.audit.chain import FIRST, Link, verify
from service.errors import AuditBroken


def lines(count: int) -> list[bytes]:
    """A chain of so many lines."""
    end, made = Link(), []
    for number in range(count):
        line = end.line({"act": f"act {number}"})
        end = end.after(line)
        made.append(line.rstrip(b"\n"))
    return made


def test_lines_are_numbered_and_hold_the_hash_of_the_one_before() -> None:
    """The first one's is of zeros."""
    first, second = map(json.loads, lines(2))

    assert (1, FIRST) == (first["sequence"], first["previous"])
    assert (2, Link.at(lines(1)[0]).digest) == (second["sequence"], second["previous"])


def test_a_whole_chain_is_as_it_was_written() -> None:
    """From its first line, or from a later one on."""
    assert (1, Link.at(lines(5)[-1])) == verify(lines(5))
    assert (3, Link.at(lines(5)[-1])) == verify(lines(5)[2:])
    assert (0, Link()) == verify([])


@pytest.mark.parametrize("place", range(1, 5))
@pytest.mark.requirement("AUD-2")
def test_a_line_that_was_taken_out_is_missed(place: int) -> None:
    """Wherever but at an end, where the number of the first and the hash of the last tell."""
    rest = [line for number, line in enumerate(lines(6)) if number != place]

    with pytest.raises(AuditBroken, match="missing"):
        verify(rest)


@pytest.mark.parametrize("place", range(5))
@pytest.mark.requirement("AUD-2")
def test_a_line_that_was_changed_is_found(place: int) -> None:
    """Each but the last, after which nothing has its hash."""
    changed = lines(6)
    changed[place] = changed[place].replace(b"act ", b"other ")

    with pytest.raises(AuditBroken, match="changed"):
        verify(changed)


@pytest.mark.parametrize(
    "strange",
    [b"", b"not a line", b'{"sequence": 1}', b'{"sequence": "1", "previous": ""}', b"[]", b'{"sequence": 1, "pre'],
)
def test_what_is_no_line_is_told(strange: bytes) -> None:
    """Also half a line."""
    with pytest.raises(AuditBroken, match="line"):
        verify([*lines(1), strange])


def test_a_first_line_that_refers_to_another_is_told() -> None:
    """Number one has nothing before it."""
    with pytest.raises(AuditBroken, match="before"):
        verify([Link(0, "f" * 64).line({}).rstrip(b"\n")])
