"""What a version says of itself: `manifest.json`, by which all other files of a version are known."""

import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field, ValidationError, model_validator

from efsnet.specification import Part, Precision, Specification
from model_store.baseline import Baseline
from model_store.digest import Digest, DigestText
from model_store.errors import DraftInvalid, ManifestInvalid, SchemaUnknown
from model_store.seal import sealed, unsealed

SCHEMA_VERSION = 3
"""1: version 0.1.0 of the product. 2: with `evaluated` and `precisions`. 3: with `baseline`."""
ADDED: Mapping[int, frozenset[str]] = {
    1: frozenset(),
    2: frozenset({"evaluated", "precisions"}),
    3: frozenset({"baseline"}),
}
"""What each schema version has that those before it do not."""
MANIFEST = "manifest.json"
MODEL = "model.onnx"
SIGNATURE = "model.sig"
"""The one file of a version that its manifest cannot list: it is made of the manifest, when that is published."""
MANIFEST_MAX_BYTES = 1_000_000

PRECISION_MARGIN = 0.005
"""Change of the lesion Dice, up or down, within which a reduced precision may be used."""

NAME_PATTERN = "^[a-z][a-z0-9_-]{0,63}$"
"""Models and aliases: safe as a folder and in a URL, and never taken for a number or a digest."""

_PATH_PART = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._ ()-]*[A-Za-z0-9_)])?")
_LABEL_MAP = ".label_map.png"

Value = TypeVar("Value")


def _plain_path(text: str) -> str:
    """A path inside the version's folder, on any file system, that can be written in one way only."""
    if len(text) > 200 or not all(_PATH_PART.fullmatch(part) for part in text.split("/")):
        raise ValueError("a file is named by a relative path of letters, digits, '.', '_', '-' and '/'")
    if text.lower() in {MANIFEST, SIGNATURE}:
        raise ValueError("a manifest can hold neither its own digest nor that of its signature")
    return text


def _in_utc(moment: datetime) -> datetime:
    if moment.utcoffset() != timedelta(0):
        raise ValueError("moments are given in UTC")
    return moment


def _sorted(mapping: Mapping[str, Value]) -> Mapping[str, Value]:
    return dict(sorted(mapping.items()))


def _is_a_name(text: str) -> str:
    if not re.fullmatch(NAME_PATTERN, text):
        raise ValueError("a name begins with a small letter; small letters, digits, _ and - follow, 64 at most")
    return text


Name = Annotated[str, AfterValidator(_is_a_name)]
Number = Annotated[int, Field(ge=1, le=999_999_999)]
Words = Annotated[str, Field(min_length=1, max_length=10_000)]
Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
FilePath = Annotated[str, AfterValidator(_plain_path)]


class Network(Part):
    """The arguments from which the network is built, and what came of them."""

    name: Words
    in_channels: Annotated[int, Field(ge=1)]
    classes: Annotated[int, Field(ge=2)]
    parameters: Annotated[int, Field(ge=1)]
    """Trainable numbers of the network, before anything is folded for inference."""


class Metric(Part):
    """A figure of the evaluation."""

    value: float
    interval: tuple[float, float] | None = None
    """95 % confidence interval, from low to high."""

    @model_validator(mode="after")
    def _from_low_to_high(self) -> Self:
        if self.interval and self.interval[0] > self.interval[1]:
            raise ValueError("an interval goes from low to high")
        return self


Metrics = Annotated[Mapping[Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")], Metric], AfterValidator(_sorted)]


class TrainingData(Part):
    """A data set that the version learnt from."""

    name: Words
    images: Annotated[int, Field(ge=1)]
    digest: DigestText
    """Of the data set's content, as the training defines it."""


class Evaluated(Part):
    """The images of one data set on which the version was measured, and what came of it."""

    name: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f-\x9f]{1,100}$")]
    images: Annotated[int, Field(ge=1)]
    digest: DigestText
    """Of the images with their references, as the evaluation defines it: equal digests mean the same images."""
    metrics: Metrics


class MeasuredPrecision(Part):
    """What computing in fewer bits does to the masks: against f32, on the same images with tumours and without."""

    precision: Literal["bf16"]
    engine: Words
    """Of both, with its version."""
    images: Annotated[int, Field(ge=1)]
    dice_change: Metric
    """Mean change of the lesion Dice, with its paired interval."""
    differing_pixels: Annotated[float, Field(ge=0, le=1)]
    """Share of the pixels whose class differs, over all images."""

    @property
    def allowed(self) -> bool:
        """Whether the interval of the change lies within PRECISION_MARGIN."""
        interval = self.dice_change.interval
        return interval is not None and interval[0] >= -PRECISION_MARGIN and interval[1] <= PRECISION_MARGIN


class FileDigest(Part):
    """One published file."""

    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0)]


class Draft(Part):
    """The authored part of a manifest: what a version's maker says of it."""

    network: Network
    specification: Specification
    temperature: Annotated[float, Field(gt=0)]
    """What the logits are divided by before the softmax; part of the published graph."""
    metrics: Metrics
    """The evaluation in short, by name; `lesion_dice` is the one that lists show."""
    training_data: tuple[TrainingData, ...]
    code_commit: Words
    intended_use: Words
    licence: Words
    evaluated: tuple[Evaluated, ...] = ()
    """On what the metrics were measured, data set by data set; by it versions are compared when one is promoted."""
    precisions: tuple[MeasuredPrecision, ...] = ()
    """Reduced precisions that were measured."""
    baseline: Baseline | None = None
    """By which drift is told, if it was measured."""

    def allows(self, precision: Precision) -> bool:
        """Whether masks may be computed in a precision: a reduced one must have been measured and found harmless."""
        return precision == "f32" or {each.precision: each.allowed for each in self.precisions}.get(precision, False)

    @model_validator(mode="after")
    def _network_gives_the_specified_classes(self) -> Self:
        if self.network.classes != len(self.specification.classes):
            raise ValueError("the network and the specification differ in the number of classes")
        return self


class Manifest(Draft):
    """A published version, whole. `Manifest.parse(str(m)) == m` for every manifest."""

    schema_version: Literal[1, 2, 3]
    name: Name
    version: Number
    created_at: Moment
    files: Annotated[Mapping[FilePath, FileDigest], AfterValidator(_sorted)]

    @model_validator(mode="after")
    def _is_of_its_schema(self) -> Self:
        if strange := self.model_fields_set & _later_than(self.schema_version):
            raise ValueError(f"schema version {self.schema_version} has no {' and no '.join(sorted(strange))}")
        return self

    @model_validator(mode="after")
    def _files_make_a_version(self) -> Self:
        if MODEL not in self.files:
            raise ValueError(f"a version has a {MODEL}")
        if not self.references:
            raise ValueError("a version has reference images, by which it is tested when loaded")
        for stem in self.references:
            if not {f"{stem}.png", f"{stem}{_LABEL_MAP}"} <= self.files.keys():
                raise ValueError("each reference/STEM.png has its reference/STEM.label_map.png")
        folders = {str(parent).lower() for path in self.files for parent in PurePosixPath(path).parents}
        paths = {path.lower() for path in self.files}
        if len(paths) < len(self.files) or paths & folders:
            raise ValueError("two files would be at the same place, on some file systems at least")
        return self

    @property
    def references(self) -> tuple[str, ...]:
        """Paths of the reference images without `.png`; the label map of each is `….label_map.png`."""
        pictures = [path for path in self.files if path.startswith("reference/") and path.endswith(".png")]
        return tuple(sorted({path.removesuffix(_LABEL_MAP).removesuffix(".png") for path in pictures}))

    @classmethod
    def made(cls, draft: Draft, *, name: str, version: int, created_at: datetime, files: Mapping[str, bytes]) -> Self:
        """The manifest of a draft that is being published.

        Raises:
            DraftInvalid: These do not make a version.
        """
        identity = {"schema_version": SCHEMA_VERSION, "name": name, "version": version, "created_at": created_at}
        digests = {
            path: FileDigest(sha256=Digest.of(content).hex, bytes=len(content)) for path, content in files.items()
        }
        try:
            manifest = cls.model_validate({**dict(draft), **identity, "files": digests})
            return cls.parse(str(manifest))  # what could not be read back is not published
        except ValidationError as error:
            raise DraftInvalid(f"This cannot be published: {explained(error)}.") from error
        except ManifestInvalid as error:
            raise DraftInvalid(f"This cannot be published: {error}") from error

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """The manifest that this text writes.

        Raises:
            DigestMismatch: It is not as it was published.
            SchemaUnknown: A newer release wrote it.
            ManifestInvalid: It is none.
        """
        if len(text) > MANIFEST_MAX_BYTES:
            raise ManifestInvalid(f"A manifest has at most {MANIFEST_MAX_BYTES} bytes.")
        content = unsealed(text)
        try:
            schema = _Schema.model_validate_json(content).schema_version
            if schema > SCHEMA_VERSION:
                raise SchemaUnknown(
                    f"The manifest has schema version {schema}; this release reads up to {SCHEMA_VERSION}: upgrade."
                )
            return cls.model_validate_json(content)
        except ValidationError as error:
            raise ManifestInvalid(f"The manifest is invalid: {explained(error)}.") from error

    def __str__(self) -> str:
        content = self.model_dump(mode="json", exclude=set(_later_than(self.schema_version)))
        first = {key: content[key] for key in ("schema_version", "name", "version", "created_at")}
        text = json.dumps({**first, **content}, indent=2, ensure_ascii=False) + "\n"
        return sealed(text)


def _later_than(schema_version: int) -> frozenset[str]:
    """The keys that a manifest of this schema version does not have."""
    return frozenset().union(*(keys for version, keys in ADDED.items() if version > schema_version))


class _Schema(BaseModel):
    """The one key that every schema has."""

    schema_version: int


def explained(error: ValidationError) -> str:
    """What pydantic found, in one line and without the input."""
    found = [
        (".".join(map(str, detail["loc"])), detail["msg"].removeprefix("Value error, "))
        for detail in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
    return "; ".join(f"{place}: {message}" if place else message for place, message in found[:3]) + more
