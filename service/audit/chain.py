"""Lines of which each holds the hash of the one before, so that none can be changed or taken out unseen."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from service.errors import AuditBroken

FIRST = "0" * 64
"""What stands for the line before the first."""


@dataclass(frozen=True, slots=True)
class Link:
    """Where a chain ends, and the next line goes."""

    sequence: int = 0
    """Number of the last line, from 1; 0 before the first."""
    digest: str = FIRST
    """SHA-256 of the last line, without its line feed, in hexadecimal digits."""

    def line(self, content: Mapping[str, Any]) -> bytes:
        """The next line with this content, and its line feed."""
        numbered = {"sequence": self.sequence + 1, "previous": self.digest, **content}
        return json.dumps(numbered, ensure_ascii=True).encode() + b"\n"

    def after(self, line: bytes) -> Self:
        """The end of the chain behind a line."""
        return type(self)(self.sequence + 1, hashlib.sha256(line.rstrip(b"\n")).hexdigest())

    @classmethod
    def at(cls, line: bytes) -> Self:
        """The end of a chain whose last line is this one.

        Raises:
            AuditBroken: It is no line of a chain.
        """
        return cls(_numbered(line)[0], hashlib.sha256(line).hexdigest())


def verify(lines: Iterable[bytes]) -> tuple[int, Link]:
    """Number of the first line, and the end of the chain that the lines make, which may be the later part of one.

    Raises:
        AuditBroken: A line is none, was changed, or others are missing before it.
    """
    first, end = 0, Link()
    for line in lines:
        sequence, previous = _numbered(line)
        if not first:
            first, end = sequence, Link(sequence - 1, previous)
            if sequence == 1 and previous != FIRST:
                raise AuditBroken("The first line refers to one before it.")
        if sequence != end.sequence + 1:
            raise AuditBroken(f"Line {sequence} follows line {end.sequence}: what was between is missing.")
        if previous != end.digest:
            raise AuditBroken(f"Line {sequence} does not fit the one before it: one of the two was changed.")
        end = Link.at(line)
    return first, end


def _numbered(line: bytes) -> tuple[int, str]:
    try:
        content = json.loads(line)
        sequence, previous = content["sequence"], content["previous"]
    except (ValueError, TypeError, KeyError) as error:
        raise AuditBroken("There is a line that is no audit line, or only a part of one.") from error
    if not isinstance(sequence, int) or not isinstance(previous, str):
        raise AuditBroken("There is a line without a number, or without the hash of the one before.")
    return sequence, previous
