"""The knobs of the connection to a PACS, whose variables begin with EFSNET_PACS_."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    NonNegativeInt,
    PositiveFloat,
    SecretStr,
    model_validator,
)

OUTPUTS = frozenset(("seg", "sr", "sc", "pr"))


def _address(text: str | None) -> str | None:
    if text is not None and not text.startswith(("http://", "https://")):
        raise ValueError("an address begins with http:// or https://, as in http://orthanc:8042/dicom-web")
    return text and text.rstrip("/")


def _outputs(text: str) -> str:
    named = text.lower().replace(" ", "").split(",")
    if strange := set(named) - OUTPUTS:
        raise ValueError(f"there is no output {min(strange)!r}: give some of seg, sr, sc and pr, as in seg,sr")
    if "sr" not in named:
        raise ValueError("sr is needed: it marks an image as answered")
    return ",".join(named)


class PacsSettings(BaseModel):
    """How to reach the PACS, and what to write into it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    url: Annotated[str | None, AfterValidator(_address)] = None
    """DICOMweb address of the PACS, such as `http://orthanc:8042/dicom-web`; without it there are no jobs."""
    orthanc_url: Annotated[str | None, AfterValidator(_address)] = None
    """Orthanc's own address, such as `http://orthanc:8042`; its change log then tells of new images within a second."""
    write: bool = False
    """`true` writes results into the PACS; until then images are analysed, and nothing is stored (dry run)."""
    outputs: Annotated[str, AfterValidator(_outputs)] = "seg,sr"
    """What is written, of `seg`, `sr`, `sc` and `pr`; `sr` is always written: it marks an image as answered."""
    user: str | None = None
    """User name for the PACS (HTTP Basic)."""
    password: SecretStr | None = None
    """Password of that user."""
    token: SecretStr | None = None
    """Bearer token for the PACS, instead of user and password."""
    ca_file: Path | None = None
    """Certificates (PEM) that the PACS's own is verified with; by default those of the system."""
    certificate: Path | None = None
    """Our certificate (PEM), for a PACS that asks for one (mutual TLS)."""
    certificate_key: Path | None = None
    """Private key of our certificate; by default in the same file."""
    timeout_s: PositiveFloat = 30.0
    """Time in which the PACS must answer."""
    poll_s: PositiveFloat = 1.0
    """Time between looks at Orthanc's change log."""
    sweep_s: PositiveFloat = 300.0
    """Time between searches for images that no event told of."""
    days: NonNegativeInt = 2
    """Days that those searches go back, and a first look at the change log; for older studies there is `backfill`."""
    runners: NonNegativeInt = 2
    """Jobs that run at the same time; 0 takes orders, and leaves the work to other services with the same database."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.orthanc_url and not self.url:
            raise ValueError("EFSNET_PACS_ORTHANC_URL needs EFSNET_PACS_URL, Orthanc's DICOMweb address")
        if self.token and self.user:
            raise ValueError("give EFSNET_PACS_TOKEN or EFSNET_PACS_USER, not both")
        return self

    @property
    def roles(self) -> frozenset[str]:
        """What is written, each as SEG, SR, SC or PR."""
        return frozenset(self.outputs.upper().split(","))
