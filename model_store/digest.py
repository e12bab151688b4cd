"""The name that content has by itself."""

import hashlib
import re
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import PlainSerializer, PlainValidator

from model_store.errors import DigestInvalid


@dataclass(frozen=True, order=True, slots=True)
class Digest:
    """Content hash. `Digest.parse(str(d)) == d` for every digest."""

    algorithm: str
    hex: str

    def __post_init__(self) -> None:
        if self.algorithm != "sha256" or not re.fullmatch("[0-9a-f]{64}", self.hex):
            raise DigestInvalid("A digest is sha256: and 64 lower-case hexadecimal digits.")

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    @property
    def short(self) -> str:
        """Enough of it for people to tell versions apart; never taken as a reference."""
        return str(self)[: len("sha256:") + 12]

    @classmethod
    def of(cls, content: bytes) -> Self:
        """The digest of these bytes."""
        return cls("sha256", hashlib.sha256(content).hexdigest())

    @classmethod
    def parse(cls, text: str) -> Self:
        """The digest that this text writes.

        Raises:
            DigestInvalid: The text is not `sha256:` and 64 lower-case hexadecimal digits.
        """
        algorithm, _, digits = text.partition(":")
        return cls(algorithm, digits)


def _validate(value: object) -> Digest:
    return value if isinstance(value, Digest) else Digest.parse(str(value))


DigestText = Annotated[Digest, PlainValidator(_validate), PlainSerializer(str)]
"""A digest as a field of a pydantic model: its text in JSON."""
