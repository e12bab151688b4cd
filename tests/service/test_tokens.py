"""Tests of tokens, with an issuer that answers on this machine."""

import asyncio
import base64
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from service.errors import CredentialsInvalid, CredentialsMissing, IssuerUnavailable, ScopeMissing, SettingsInvalid
from service.holders import Holders
from service.keys import KeyRing, Scope
from service.oidc_settings import OidcSettings
from service.tokens import AGAIN_S, FRESH_S, Token, Tokens
from tests.service.issuer import Issuer, serving


class Clock:
    """Shows what it is set to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(scope="module")
def running() -> Iterator[Issuer]:
    """One issuer for all tests: its keys take a while to make."""
    with serving() as issuer:
        yield issuer


@pytest.fixture
def issuer(running: Issuer) -> Issuer:
    """The issuer, as it was at first."""
    running.begin_anew()
    return running


@pytest.fixture
def clock() -> Clock:
    """The clock of `tokens`."""
    return Clock()


def settings(issuer: Issuer, **others: Any) -> OidcSettings:
    """That take this issuer's tokens."""
    return OidcSettings(issuer=issuer.url, **others)


@pytest.fixture
def tokens(issuer: Issuer, clock: Clock) -> Tokens:
    """What checks them."""
    return Tokens(settings(issuer), clock=clock)


def holder(tokens: Tokens, text: str, needed: Scope = "infer") -> Token:
    """Who bears a token."""
    return asyncio.run(tokens.holder(text, needed))


@pytest.mark.requirement("ACC-6")
def test_a_token_names_its_subject_and_what_it_allows(tokens: Tokens, issuer: Issuer) -> None:
    """Until it expires."""
    found = holder(tokens, issuer.token(scope="openid efsnet:infer efsnet:read profile"))

    assert ("dr.garcia", ("infer", "read")) == (found.name, found.scopes)
    assert str(found).startswith("dr.garcia (token ")
    assert found.expires_at.timestamp() == pytest.approx(time.time() + 330, abs=5)


def test_a_token_that_never_ends_is_one(tokens: Tokens, issuer: Issuer) -> None:
    """Issuers write the last day that they know, or one that nobody does."""
    for end in (253_402_300_799, 10**30):
        assert holder(tokens, issuer.token(exp=end)).expires_at.year == 9000


Make = Callable[[Issuer], str]


def altered(text: str, place: int, **changes: object) -> str:
    """The token with other values in its header (0) or its claims (1), and the old signature."""
    parts = text.split(".")
    content = json.loads(base64.urlsafe_b64decode(parts[place] + "=="))
    parts[place] = base64.urlsafe_b64encode(json.dumps(content | changes).encode()).decode().rstrip("=")
    return ".".join(parts)


def with_public_key_as_secret(issuer: Issuer) -> str:
    """The oldest trick: the public key, which everybody has, taken for a shared secret."""
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT","kid":"first"}').rstrip(b"=")
    claims = issuer.token().split(".")[1].encode()
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
        header + b"." + claims, issuer.public_pem("first")
    )
    return b".".join((header, claims, base64.urlsafe_b64encode(signature).rstrip(b"="))).decode()


def with_header(issuer: Issuer, header: bytes) -> str:
    """The token with another header, whatever that is."""
    return ".".join((base64.urlsafe_b64encode(header).decode().rstrip("="), *issuer.token().split(".")[1:]))


WORTHLESS: dict[str, Make] = {
    "expired": lambda issuer: issuer.token(exp=int(time.time()) - 60),
    "not yet": lambda issuer: issuer.token(nbf=int(time.time()) + 600),
    "of another issuer": lambda issuer: issuer.token(iss="https://elsewhere"),
    "for another service": lambda issuer: issuer.token(aud="another"),
    "for nobody": lambda issuer: issuer.token(aud=None),
    "without an end": lambda issuer: issuer.token(exp=None),
    "without a subject": lambda issuer: issuer.token(sub=None),
    "with other claims": lambda issuer: altered(issuer.token(), 1, sub="somebody.else"),
    "with another key's name": lambda issuer: altered(issuer.token(), 0, kid="unknown"),
    "without a signature": lambda issuer: altered(issuer.token(), 0, alg="none").rpartition(".")[0] + ".",
    "with a secret for a key": with_public_key_as_secret,
    "of letters": lambda _: "a.b.c",
    "endless": lambda issuer: issuer.token(note="x" * 20_000),
    "with an end that is no time": lambda issuer: issuer.token(exp="tomorrow"),
    "with a key of its own": lambda issuer: altered(issuer.token(), 0, jwk={"kty": "oct", "k": "AAAA"}),
    "with keys from elsewhere": lambda issuer: altered(issuer.token(), 0, jku="http://127.0.0.1:1/keys", kid="its"),
    "with a path for a key's name": lambda issuer: altered(issuer.token(), 0, kid="../../../../dev/null"),
    "with a list for a key's name": lambda issuer: altered(issuer.token(), 0, kid=["first"]),
    "with a list of signatures": lambda issuer: altered(issuer.token(), 0, alg=["none", "RS256"]),
    "with what must be understood": lambda issuer: altered(issuer.token(), 0, crit=["exp"], b64=False),
    "with a header that is a list": lambda issuer: with_header(issuer, b"[]"),
    "with a header without a bottom": lambda issuer: with_header(issuer, b"[" * 11_000),
    "with a header of other letters": lambda issuer: with_header(issuer, b'{"alg":"RS256","kid":"\\ud800"}'),
}


@pytest.mark.requirement("ACC-6")
@pytest.mark.parametrize("make", WORTHLESS.values(), ids=WORTHLESS.keys())
def test_a_token_that_is_worthless_is_refused(tokens: Tokens, issuer: Issuer, make: Make) -> None:
    """And its text is not repeated."""
    text = make(issuer)

    with pytest.raises(CredentialsInvalid) as refused:
        holder(tokens, text)
    assert text not in str(refused.value)


@pytest.mark.parametrize("claims", [{"scope": "openid"}, {"scope": None}, {"scope": 7}, {"scope": ["infer"]}])
def test_a_token_that_allows_nothing_here_is_refused(tokens: Tokens, issuer: Issuer, claims: dict[str, Any]) -> None:
    """Whoever it is of: nothing is allowed but what it says."""
    with pytest.raises(ScopeMissing, match="efsnet:infer"):
        holder(tokens, issuer.token(**claims))


def test_what_is_allowed_can_be_a_list_within_a_claim(issuer: Issuer) -> None:
    """As Keycloak writes the roles of a realm."""
    tokens = Tokens(settings(issuer, claim="realm_access.roles", prefix="efsnet-"))
    text = issuer.token(realm_access={"roles": ["efsnet-publish", "offline_access"]})

    assert ("publish",) == holder(tokens, text, "publish").scopes


def test_keys_are_fetched_once_and_again_when_they_are_old(tokens: Tokens, issuer: Issuer, clock: Clock) -> None:
    """Not for every token."""
    for _ in range(5):
        holder(tokens, issuer.token())
    assert issuer.asked.count("/keys") == 1
    clock.now_s += FRESH_S + 1
    holder(tokens, issuer.token())

    assert issuer.asked.count("/keys") == 2


def test_a_new_key_is_found_and_an_old_one_forgotten(tokens: Tokens, issuer: Issuer, clock: Clock) -> None:
    """An issuer changes its keys without asking; elliptic ones are taken too."""
    old = issuer.token()
    holder(tokens, old)
    issuer.add_key("second", elliptic=True)
    clock.now_s += AGAIN_S + 1
    assert holder(tokens, issuer.token("second")).name == "dr.garcia"
    del issuer.keys["first"]
    clock.now_s += FRESH_S + 1

    with pytest.raises(CredentialsInvalid):
        holder(tokens, old)


def test_unknown_keys_do_not_become_the_issuers_load(tokens: Tokens, issuer: Issuer) -> None:
    """However many tokens name them."""
    holder(tokens, issuer.token())
    for number in range(20):
        with pytest.raises(CredentialsInvalid):
            holder(tokens, altered(issuer.token(), 0, kid=f"unknown {number}"))

    assert issuer.asked.count("/keys") == 1


def test_an_issuer_that_is_away_stops_nobody_whose_key_is_known(tokens: Tokens, issuer: Issuer, clock: Clock) -> None:
    """Keys go on however old; what cannot be checked is told apart from what is wrong."""
    holder(tokens, issuer.token())
    issuer.away = True
    clock.now_s += 10 * FRESH_S
    assert holder(tokens, issuer.token()).name == "dr.garcia"
    issuer.add_key("second", elliptic=True)
    clock.now_s += AGAIN_S + 1

    with pytest.raises(IssuerUnavailable):
        holder(tokens, issuer.token("second"))


def test_without_the_issuer_nobody_is_let_in_at_first(issuer: Issuer, clock: Clock) -> None:
    """And when it comes back, they are."""
    issuer.away = True
    tokens = Tokens(settings(issuer), clock=clock)
    with pytest.raises(IssuerUnavailable):
        holder(tokens, issuer.token())
    issuer.away = False
    clock.now_s += AGAIN_S + 1

    assert holder(tokens, issuer.token()).name == "dr.garcia"


def test_another_issuers_document_is_not_believed(tokens: Tokens, issuer: Issuer) -> None:
    """OpenID Connect Discovery section 4.3."""
    issuer.claimed_url = "https://elsewhere"

    with pytest.raises(IssuerUnavailable):
        holder(tokens, issuer.token())


def test_keys_and_tokens_go_through_one_door(tokens: Tokens, issuer: Issuer, tmp_path: Path) -> None:
    """With an issuer, who has neither is refused, though no key was ever made."""
    ring = KeyRing(tmp_path / "keys.json", asked_for=True)
    holders = Holders(ring, tokens)
    with pytest.raises(CredentialsMissing):
        asyncio.run(holders.holder(None, "infer"))
    text, key = ring.create("ward", ["infer"], 1)
    token = asyncio.run(holders.holder(f"Bearer {issuer.token()}", "infer"))

    assert token
    assert key == asyncio.run(holders.holder(f"Bearer {text}", "infer"))
    assert (token, key) == (holders.named(token.id, "infer"), holders.named(key.id, "infer"))
    with pytest.raises(CredentialsInvalid):
        holders.named("00000000", "infer")


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuer": "http://sso.hospital.org"},
        {"issuer": "sso"},
        {"issuer": "https://sso", "algorithms": "HS256"},
        {"issuer": "https://sso", "algorithms": "none"},
        {"issuer": "https://sso", "algorithms": ""},
        {"issuer": "https://sso", "audience": " "},
    ],
)
def test_settings_that_open_a_hole_are_refused(wrong: dict[str, str]) -> None:
    """In the clear, with shared secrets, or for anybody."""
    with pytest.raises(ValueError, match=r"issuer|algorithms|anybody"):
        OidcSettings.model_validate(wrong)


def test_an_authority_that_cannot_be_read_is_told_at_the_start(tmp_path: Path) -> None:
    """Not with the first token."""
    with pytest.raises(SettingsInvalid, match="EFSNET_OIDC_CA_FILE"):
        Tokens(OidcSettings(issuer="https://sso", ca_file=tmp_path / "missing.pem"))
