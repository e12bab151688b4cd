"""The knobs of the audit trail, whose variables begin with EFSNET_AUDIT_."""

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, NonNegativeInt, PositiveInt, model_validator


def _expanded(path: Path | None) -> Path | None:
    return path and path.expanduser().absolute()


def _log_server(text: str | None) -> str | None:
    if text is None:
        return None
    address = urlsplit(text)
    if address.scheme == "unix" and address.path:
        return text
    try:
        reachable = address.scheme in ("udp", "tcp") and address.hostname and address.port
    except ValueError:
        reachable = None
    if not reachable:
        raise ValueError("a log server is udp://HOST:PORT, tcp://HOST:PORT or unix:///dev/log")
    return text


class AuditSettings(BaseModel):
    """Where it is recorded who did what."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    file: Annotated[Path | None, AfterValidator(_expanded)] = None
    """File of the audit trail, such as `/var/lib/efsnet/audit/audit.jsonl`; nothing is recorded without one."""
    syslog: Annotated[str | None, AfterValidator(_log_server)] = None
    """Log server in place of the file: `udp://HOST:PORT`, `tcp://HOST:PORT` or `unix:///dev/log` (RFC 5424)."""
    when_unwritable: Literal["stop", "continue"] = "stop"
    """When an act cannot be recorded: `stop` refuses it and all after it, `continue` counts it and goes on."""
    max_mb: PositiveInt = 100
    """Size from which on a new audit file is begun."""
    files: NonNegativeInt = 0
    """Full audit files that are kept; 0 keeps all."""

    @model_validator(mode="after")
    def _goes_to_one_place(self) -> Self:
        if self.file and self.syslog:
            raise ValueError("EFSNET_AUDIT_FILE and EFSNET_AUDIT_SYSLOG: name one of the two")
        return self
