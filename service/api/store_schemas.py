"""What the answers about the store look like: versions, aliases, and a candidate's trial."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from model_store.manifest import Manifest
from service.api.schemas import Figure, Schema


def _is_no_text(value: Any) -> Any:
    if isinstance(value, str | bool):
        raise ValueError("it is a number, without quotation marks")  # noqa: TRY004 (which pydantic would not answer)
    return value


_IsNumber = BeforeValidator(_is_no_text)
"""pydantic would take text that holds a number too, and refuses 2.0 where it is told to be strict."""


class VersionSummary(Schema):
    """A published version."""

    version: int
    digest: str
    created_at: datetime
    aliases: tuple[str, ...]
    """Those that name it in the store; which version answers, once it has proved itself, tells `/readyz`."""
    loaded: bool
    """Whether it is in memory; others are loaded when a request names them."""


class AliasChange(Schema):
    """Which version an alias shall name."""

    model_config = ConfigDict(extra="forbid")

    version: Annotated[int, Field(ge=1, le=999_999_999), _IsNumber]
    reason: Annotated[str, Field(min_length=1, max_length=2000, examples=["Better on our own images."])]
    """Kept on the record, with the name of the key."""
    expected_current: Annotated[int | None, Field(examples=[1]), _IsNumber]
    """The version that the alias names until now, null for none: if it is another, somebody was faster."""


class AliasUndone(Schema):
    """Why the newest promotion of an alias shall be undone, or the alias ended."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str, Field(min_length=1, max_length=2000, examples=["It misses small lesions."])]
    """Kept on the record, with the name of the key."""
    expected_current: Annotated[int, Field(examples=[2]), _IsNumber]
    """The version that the alias names until now: a request that is sent twice is done once."""


class RecordedPromotion(Schema):
    """A promotion record."""

    number: int
    action: Literal["promote", "rollback", "withdraw"]
    alias: str
    version: int
    """That the alias names now, or with `withdraw` no more."""
    digest: str
    by: str
    """The key's name and id."""
    why: str
    not_compared: str | None
    """What the gate could not compare with production, and why; null where there is nothing to say."""
    at: datetime


class AliasAnswer(Schema):
    """What became of an alias."""

    record: RecordedPromotion
    serving: bool
    """Whether this service answers so; if not, `/readyz` says why."""


class ComparedVersion(Schema):
    """One of two versions that see the same images."""

    version: int
    digest: str
    infer_ms: Figure | None
    """Mean time in the network; null without images. The candidate runs at the lowest priority and has to wait more."""


class ComparedDice(Schema):
    """Agreement of the lesions of both, whatever their class, over the images in which either finds one."""

    images: int
    mean: Figure
    minimum: Figure


class ComparedClasses(Schema):
    """Images by the class that most of the lesion has; that of the background where there is none."""

    production: Annotated[str, Field(examples=["benign"])]
    candidate: Annotated[str, Field(examples=["malignant"])]
    images: int


class ShadowAgreement(Schema):
    """A candidate beside production, on the same images, since both are what they are."""

    production: ComparedVersion
    candidate: ComparedVersion
    images: int
    """Images that both saw."""
    dropped: int
    """Images of the sample that the candidate was not shown, because live work came first."""
    failed: int
    """Images at which the candidate failed; the log says how."""
    dice: ComparedDice | None
    """Null as long as neither has found a lesion."""
    classes: tuple[ComparedClasses, ...]


class ShadowRun(Schema):
    """The trial of a candidate."""

    share: float
    """Share of the live images that the candidate sees: `EFSNET_SHADOW_SHARE`."""
    agreement: ShadowAgreement | None
    """Null without a candidate that is loaded and is not production."""


class SignatureState(Schema):
    """Who vouches for a version, as the signatures and the trusted keys are now."""

    state: Literal["trusted", "unsigned", "signer_unknown", "invalid", "not_looked_at"]
    """`signer_unknown`: no trusted key made it. `not_looked_at`: `EFSNET_SIGNATURES` is `off`."""
    signer: str | None
    """Name of the trusted key; null without one."""


class PublishedVersion(VersionSummary):
    """A published version with all that it says of itself."""

    signature: SignatureState
    manifest: Manifest


class Model(Schema):
    """A model and its versions."""

    name: str
    versions: tuple[VersionSummary, ...]


class Models(Schema):
    """All that is published."""

    default: str
    """The model that answers when a request names none."""
    models: tuple[Model, ...]
