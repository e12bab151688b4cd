"""Where a registry is, and as whom it is talked to."""

import ipaddress
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from model_store.errors import RegistryUnusable

_REPOSITORY = re.compile(
    r"(?P<host>(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?)/"
    r"(?P<path>[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*)"
)


@dataclass(frozen=True, slots=True)
class Repository:
    """Where the versions of one model are: `HOST[:PORT]/PATH`."""

    host: str
    path: str

    def __str__(self) -> str:
        return f"{self.host}/{self.path}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The repository that a text names.

        Raises:
            RegistryUnusable: It names none, or more, such as a tag or a user.
        """
        if not (found := _REPOSITORY.fullmatch(text)):
            raise RegistryUnusable(
                "A repository is HOST[:PORT]/PATH in small letters, without scheme, user and tag: "
                "registry.example.org/models/efsnet."
            )
        return cls(found["host"], found["path"])

    @property
    def is_on_this_machine(self) -> bool:
        """Whether the host is a loopback address."""
        host = re.sub(r":[0-9]+$", "", self.host).strip("[]")
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


@dataclass(frozen=True, slots=True)
class Access:
    """How a registry is reached, and as whom."""

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    """Or a token that the registry takes in its place."""
    authority: Path | None = None
    """PEM file of the authorities that sign the registry's certificate, if the system does not know them."""
    plain_http: bool = False
    """Nothing is encrypted. On this machine it is so by itself, unless an authority is named."""

    @classmethod
    def of_environment(cls, authority: Path | None, *, plain_http: bool) -> Self:
        """As `ORAS_USER`, with `ORAS_PASS`, the names that `oras` has for them."""
        return cls(os.environ.get("ORAS_USER"), os.environ.get("ORAS_PASS"), authority, plain_http)
