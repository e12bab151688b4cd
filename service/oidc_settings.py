"""The knobs of tokens from an issuer, whose variables begin with EFSNET_OIDC_."""

from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

ASYMMETRIC = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""A token whose signature anyone could make who can check it is none."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def _address(text: str | None) -> str | None:
    if text is None:
        return None
    parts = urlsplit(text)
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)):
        raise ValueError("an issuer is an address that begins with https://")
    return text.rstrip("/")


def _algorithms(text: str) -> str:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or not set(names) <= set(ASYMMETRIC):
        raise ValueError(f"algorithms are some of {', '.join(ASYMMETRIC)}")
    return ",".join(names)


def _expanded(path: Path | None) -> Path | None:
    return path and path.expanduser()


class OidcSettings(BaseModel):
    """Whose tokens are taken, and what they allow."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    issuer: Annotated[str | None, AfterValidator(_address)] = None
    """Issuer of OpenID Connect whose tokens are taken beside API keys, such as `https://sso.hospital.org/realms/x`."""
    audience: Annotated[str, Field(max_length=200)] = "efsnet"
    """What a token must be for (`aud`)."""
    algorithms: Annotated[str, AfterValidator(_algorithms)] = "RS256,ES256"
    """Signatures that are taken, with commas; those with a shared secret are not."""
    claim: Annotated[str, Field(pattern=r"^[A-Za-z0-9_:/-]+(\.[A-Za-z0-9_:/-]+)*$")] = "scope"
    """Claim with what a token allows: words, or a list of them; with dots into it, such as `realm_access.roles`."""
    prefix: Annotated[str, Field(max_length=50)] = "efsnet:"
    """What the words begin with that are ours: `efsnet:infer` allows what a key for `infer` does."""
    ca_file: Annotated[Path | None, AfterValidator(_expanded)] = None
    """Certificate of the authority that vouches for the issuer; the system's are taken without one."""

    @model_validator(mode="after")
    def _is_for_somebody(self) -> Self:
        if self.issuer and not self.audience.strip():
            raise ValueError("EFSNET_OIDC_AUDIENCE: a token that is for anybody could be stolen from another service")
        return self
