"""API keys: who may use the service, for what, and until when.

A key is 256 random bits, and the file holds its SHA-256 only. A slow hash, as for passwords, would guard against
guessing: nobody guesses 256 bits, however fast the hash, and each request would cost milliseconds more.
"""

import hashlib
import hmac
import logging
import os
import re
import secrets
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from service import state
from service.errors import (
    CredentialsInvalid,
    CredentialsMissing,
    KeysUnusable,
    KeyUnknown,
    ScopeMissing,
    StateUnusable,
)

Scope = Literal["infer", "read", "correct", "publish", "admin"]
"""`infer`: segment images. `read`: see what is published and how it does. `correct`: have corrections kept for
training. `publish`: decide which version answers. `admin`: all of these."""

SCOPES: tuple[Scope, ...] = get_args(Scope)

WITHOUT_KEYS: frozenset[Scope] = frozenset(("infer", "read", "correct"))
"""What everybody may who reaches the service, while it has no keys."""

PREFIX = "efs_"
"""Of every key, so that people and scanners of repositories know one when they see it."""

_BEARER = re.compile(r"Bearer +(\S+) *", re.IGNORECASE)
_LOG = logging.getLogger("service.keys")


class Key(BaseModel):
    """What is kept of a key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")]
    """Who holds it."""
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)]
    created_at: AwareDatetime
    expires_at: AwareDatetime
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """Of the key's text."""

    @property
    def id(self) -> str:
        """What it is called in logs and commands; tells nothing of the key."""
        return self.sha256[:8]

    def __str__(self) -> str:
        return f"{self.name} (key {self.id})"

    def allows(self, scope: Scope) -> bool:
        """Whether it is for this."""
        return scope in self.scopes or "admin" in self.scopes


class _Keys(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: tuple[Key, ...]


class KeyRing:
    """The keys of a file, which is read again whenever it changes.

    Args:
        path: The file.
        asked_for: That a key, or what counts as one, is needed though none was ever made.
    """

    def __init__(self, path: Path, *, asked_for: bool = False) -> None:
        self.path = path
        self._mark: tuple[int, ...] | None = None
        self._keys: tuple[Key, ...] = ()
        self._asked_for = asked_for

    @property
    def keys(self) -> tuple[Key, ...]:
        """Those that were made and not revoked, expired ones included.

        Raises:
            KeysUnusable: The file is damaged.
            StateUnusable: It cannot be read.
        """
        mark = self._changed()
        if mark != self._mark:
            before, self._keys = self._keys, read_keys(self.path)
            self._mark = mark
            _tell_changes(before, self._keys)
        return self._keys

    @property
    def asked_for(self) -> bool:
        """Whether a key is needed: where there is a file of keys, though all be revoked, and once there was one.

        Raises:
            StateUnusable: It cannot be read.
        """
        self._asked_for = self._asked_for or self._changed() is not None
        return self._asked_for

    def holder(self, authorization: str | None, needed: Scope) -> Key | None:
        """Whose key the header `Authorization` holds; nobody's where none is needed.

        Raises:
            CredentialsMissing: There is no key.
            CredentialsInvalid: It was never made, is revoked, or has expired.
            ScopeMissing: It is not for this.
            KeysUnusable: The file is damaged.
            StateUnusable: It cannot be read.
        """
        if not self.asked_for and needed in WITHOUT_KEYS:
            return None
        found = _BEARER.fullmatch(authorization or "")
        if found is None:
            raise CredentialsMissing(
                f"Send a key for `{needed}` as `Authorization: Bearer KEY`; `python -m service keys create` makes one."
            )
        key = self._known(found[1])
        if key is None:
            raise CredentialsInvalid("This key is not known here, or was revoked.")
        self._check(key, needed)
        return key

    def named(self, key_id: str, needed: Scope) -> Key | None:
        """The key of this id, as it is now: for what was begun with it. The empty id is nobody's.

        Raises:
            CredentialsInvalid: It was revoked, has expired, or keys are needed and there was none.
            ScopeMissing: It is not for this.
            KeysUnusable: The file is damaged.
            StateUnusable: It cannot be read.
        """
        if not self.asked_for and needed in WITHOUT_KEYS:
            return None
        key = next((key for key in self.keys if key.id == key_id), None)
        if key is None:
            raise CredentialsInvalid("The key was revoked.")
        self._check(key, needed)
        return key

    def create(self, name: str, scopes: Iterable[str], days: int) -> tuple[str, Key]:
        """A new key, from now on valid for so many days, and what is kept of it: the key itself is not.

        Raises:
            KeysUnusable: The name is no name, a scope is none, or the file is damaged.
            StateUnusable: It cannot be written.
        """
        text = PREFIX + secrets.token_urlsafe(32)
        now = datetime.now(UTC).replace(microsecond=0)
        facts = {"name": name, "scopes": tuple(dict.fromkeys(scopes)), "sha256": _hashed(text)}
        try:
            key = Key.model_validate({**facts, "created_at": now, "expires_at": now + timedelta(days=days)})
        except ValidationError as error:
            raise KeysUnusable(
                "A name is letters, digits and any of . _ @ -, 64 at most; scopes are infer, read, correct, publish "
                "and admin."
            ) from error
        with state.writing(self.path):
            self._write((*read_keys(self.path), key))
        return text, key

    def revoke(self, key_id: str) -> Key:
        """Ends the key of this id at once, also for services that run.

        Raises:
            KeyUnknown: There is none.
            KeysUnusable: The file is damaged.
            StateUnusable: It cannot be written.
        """
        with state.writing(self.path):
            keys = read_keys(self.path)
            for key in keys:
                if key.id == key_id:
                    self._write(tuple(other for other in keys if other != key))
                    return key
        raise KeyUnknown(f"There is no key {key_id!r}: `python -m service keys list` shows all.")

    @staticmethod
    def _check(key: Key, needed: Scope) -> None:
        if key.expires_at <= datetime.now(UTC):
            _tell_refusal(key, "expired")
            raise CredentialsInvalid(f"This key expired at {key.expires_at:%Y-%m-%d %H:%M} UTC: ask for a new one.")
        if not key.allows(needed):
            _tell_refusal(key, f"not for {needed}")
            raise ScopeMissing(f"This takes a key for `{needed}`; this one is for {', '.join(key.scopes)}.")

    def _known(self, text: str) -> Key | None:
        """The key of this text; each is compared, so that the time says nothing."""
        hashed, found = _hashed(text), None
        for key in self.keys:
            if hmac.compare_digest(key.sha256, hashed):
                found = key
        return found

    def _changed(self) -> tuple[int, ...] | None:
        try:
            status = os.stat(self.path)  # noqa: PTH116 (with each request: a third of the time of Path.stat)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateUnusable(f"{self.path} cannot be read: {error.strerror}.") from error
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _write(self, keys: tuple[Key, ...]) -> None:
        state.replace(self.path, _Keys(keys=keys).model_dump_json(indent=2).encode() + b"\n")


def read_keys(path: Path) -> tuple[Key, ...]:
    """The keys of a file; none where there is none.

    Raises:
        KeysUnusable: It is damaged.
        StateUnusable: It cannot be read.
    """
    content = state.read(path)
    if content is None:
        return ()
    try:
        return _Keys.model_validate_json(content).keys
    except ValidationError as error:
        # Without the error's own text, which quotes the file.
        raise KeysUnusable(f"{path} is damaged: restore it from a copy, or delete it and make new keys.") from error


def _tell_changes(before: Sequence[Key], now: Sequence[Key]) -> None:
    for key in now:
        if key not in before:
            words = key.id, key.name, ",".join(key.scopes), f"{key.expires_at:%Y-%m-%d}"
            _LOG.info("taken from now on: key=%s name=%s scopes=%s until=%s", *words)
    for key in before:
        if key not in now:
            _LOG.info("revoked: key=%s name=%s", key.id, key.name)


def _tell_refusal(key: Key, why: str) -> None:
    _LOG.warning("refused: key=%s name=%s because=%s", key.id, key.name, why)


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
