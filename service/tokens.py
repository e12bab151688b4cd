"""Tokens of the hospital's issuer (OpenID Connect): who may, without a key of ours.

A token counts as a key of its subject until it expires. Its signature is checked with the issuer's public keys (RFC
7517), which are fetched when a token first needs them and again every few minutes: an issuer that is away stops nobody
whose keys are known.
"""

import asyncio
import hashlib
import json
import re
import ssl
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx2
import jwt

from service.errors import CredentialsInvalid, IssuerUnavailable, ScopeMissing, SettingsInvalid
from service.keys import SCOPES, Key, Scope
from service.oidc_settings import OidcSettings

DISCOVERY = "/.well-known/openid-configuration"
MAX_BYTES = 1_000_000
MAX_TOKEN = 16_384
TIMEOUT_S = 5.0
LEEWAY_S = 30
"""That clocks may differ."""

LATEST_S = datetime(9000, 1, 1, tzinfo=UTC).timestamp()
"""Beyond which no date is taken: issuers that let a token never expire name any."""

FRESH_S = 300.0
"""Time after which the issuer's keys are fetched again."""

AGAIN_S = 10.0
"""Between two fetches at least: tokens with keys that nobody knows must not become the issuer's load."""

Fetch = Callable[[str], Mapping[str, Any]]


class Token(Key):
    """What is known of the bearer of a token: like a key's holder, named by the subject."""

    def __str__(self) -> str:
        return f"{self.name} (token {self.id})"


class Tokens:
    """Checks tokens of one issuer.

    Args:
        settings: Which, and what for.
        fetch: Gives the JSON at an address; over the network if none.
        clock: In seconds, and never goes back.

    Raises:
        SettingsInvalid: The file of the authority cannot be read.
    """

    def __init__(
        self, settings: OidcSettings, fetch: Fetch | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._fetch = fetch or _over_the_network(settings)
        self._clock = clock
        self._keys: Mapping[str | None, jwt.PyJWK] = {}
        self._fetched_at = self._tried_at = -FRESH_S
        self._fetching = asyncio.Lock()
        self._taken: dict[str, Token] = {}

    async def holder(self, text: str, needed: Scope) -> Token:
        """Who bears this token.

        Raises:
            CredentialsInvalid: It is none, was changed, has expired, or is of another issuer or for another service.
            ScopeMissing: It is not for this.
            IssuerUnavailable: The key that it is signed with is not known, and the issuer cannot be asked.
        """
        claims = await self._claims(text)
        allowed = [scope for scope in SCOPES if self._settings.prefix + scope in _words(claims, self._settings.claim)]
        token = Token.model_construct(
            name=re.sub(r"[^A-Za-z0-9._@-]", "-", str(claims["sub"]))[:64] or "-",
            scopes=tuple(allowed),
            created_at=datetime.now(UTC),
            expires_at=datetime.fromtimestamp(min(claims["exp"], LATEST_S) + LEEWAY_S, UTC),
            sha256=hashlib.sha256(text.encode()).hexdigest(),
        )
        if not token.allows(needed):
            raise ScopeMissing(
                f"This takes a token with `{self._settings.prefix}{needed}` in its claim `{self._settings.claim}`."
            )
        now = datetime.now(UTC)
        self._taken = {name: each for name, each in self._taken.items() if each.expires_at > now} | {token.id: token}
        return token

    def named(self, token_id: str) -> Token | None:
        """The token of this id that was taken before, if it still is one."""
        token = self._taken.get(token_id)
        return token if token and token.expires_at > datetime.now(UTC) else None

    async def _claims(self, text: str) -> Mapping[str, Any]:
        if len(text) > MAX_TOKEN:
            raise CredentialsInvalid("This token is longer than any.")
        algorithms = self._settings.algorithms.split(",")
        try:
            header = jwt.get_unverified_header(text)
            if header.get("alg") not in algorithms:
                raise CredentialsInvalid("This token is signed in a way that is not taken here.")
            key = await self._key(header.get("kid"))
            claims: Mapping[str, Any] = jwt.decode(
                text,
                key,
                algorithms=algorithms,
                audience=self._settings.audience,
                issuer=self._settings.issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError as error:
            raise CredentialsInvalid("This token has expired: ask the issuer for a new one.") from error
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise CredentialsInvalid("This token is of another issuer, for another service, or no token.") from error
        return claims

    async def _key(self, name: object) -> jwt.PyJWK:
        """The issuer's key of this name; one alone needs none.

        Raises:
            IssuerUnavailable: It is not known, and the issuer cannot be asked.
            CredentialsInvalid: The issuer has no such key.
        """
        known = self._find(name)
        if known is None or self._clock() - self._fetched_at > FRESH_S:
            async with self._fetching:
                if self._clock() - self._tried_at >= AGAIN_S:
                    await self._renew()
            known = self._find(name)
        if known is None and self._fetched_at < self._tried_at:
            raise IssuerUnavailable("The issuer of tokens cannot be asked for its keys now.")
        if known is None:
            raise CredentialsInvalid("This token is signed with a key that its issuer does not have.")
        return known

    def _find(self, name: object) -> jwt.PyJWK | None:
        if name is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(name) if isinstance(name, str) else None

    async def _renew(self) -> None:
        self._tried_at = self._clock()
        try:
            self._keys = await asyncio.to_thread(self._current_keys)
        except (httpx2.HTTPError, jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError):
            return  # those that are known go on
        self._fetched_at = self._tried_at

    def _current_keys(self) -> Mapping[str | None, jwt.PyJWK]:
        issuer = self._settings.issuer or ""
        document = self._fetch(issuer + DISCOVERY)
        # OpenID Connect Discovery 1.0 section 4.3: or another's keys would be taken.
        if document["issuer"].rstrip("/") != issuer:
            raise ValueError("the document is another issuer's")
        found = jwt.PyJWKSet.from_dict(dict(self._fetch(document["jwks_uri"]))).keys
        return {key.key_id: key for key in found if key.public_key_use in (None, "sig")}


def _words(claims: Mapping[str, Any], path: str) -> frozenset[str]:
    """The words of a claim, a text with blanks (RFC 8693 section 4.2) or a list."""
    value: Any = claims
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    words = value.split() if isinstance(value, str) else value
    return frozenset(word for word in words if isinstance(word, str)) if isinstance(words, list) else frozenset()


def _over_the_network(settings: OidcSettings) -> Fetch:
    try:
        trust = ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:
        raise SettingsInvalid(f"EFSNET_OIDC_CA_FILE: {settings.ca_file} cannot be used: {error.strerror}.") from error

    def fetch(address: str) -> Mapping[str, Any]:
        with (
            httpx2.Client(verify=trust, timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client,
            client.stream("GET", address) as answer,
        ):
            answer.raise_for_status()
            content = b""
            for part in answer.iter_bytes():
                content += part
                if len(content) > MAX_BYTES:
                    raise ValueError("the issuer sends more than any needs")
        found: Mapping[str, Any] = json.loads(content)
        return found

    return fetch
