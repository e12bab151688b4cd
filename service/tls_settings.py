"""The knobs of TLS without a proxy, for one machine alone; their variables begin with EFSNET_TLS_."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator


def _expanded(path: Path | None) -> Path | None:
    return path and path.expanduser()


class TlsSettings(BaseModel):
    """What the service shows, and whom it lets in. Several machines take the proxy of docker-compose.yml instead."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    certificate: Annotated[Path | None, AfterValidator(_expanded)] = None
    """PEM file of the service's certificate, with its chain: the service then speaks TLS, 1.2 or newer, alone."""
    key: Annotated[Path | None, AfterValidator(_expanded)] = None
    """PEM file of its private key, without a password."""
    client_ca: Annotated[Path | None, AfterValidator(_expanded)] = None
    """PEM file of an authority: who shows no certificate of it gets no answer (mutual TLS)."""

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("EFSNET_TLS_CERTIFICATE and EFSNET_TLS_KEY: name both, or none")
        if self.client_ca and not self.certificate:
            raise ValueError("EFSNET_TLS_CLIENT_CA needs EFSNET_TLS_CERTIFICATE and EFSNET_TLS_KEY")
        return self
