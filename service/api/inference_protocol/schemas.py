"""What requests and answers of the protocol look like; the names are the protocol's."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from service.api.schemas import Area, Lesion, Remark, Schema, UploadedImage
from service.segmentation import MaskSpace

MAX_BATCH = 8
"""Images of a request. Each is a piece of work of its own, so that more would save no time."""

INPUT = "image"
Output = Literal["mask", "summary"]
Datatype = Literal["BYTES", "UINT8"]

_BLACK = (
    "iVBORw0KGgoAAAANSUhEUgAAAIAAAACACAAAAADmVT4XAAAAJklEQVR42u3BAQEAAACCIP+vbkhAAQAAAAAAAAAAAAAAAAAAAO8GQIAAAR6F"
    "pxMAAAAASUVORK5CYII="
)
"""A black image of 128 x 128, to try with."""


class _Given(BaseModel):
    """Base of what is sent: a member of an unknown name is refused, so that a slip of the pen is noticed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class InputParameters(_Given):
    """How an input is sent."""

    binary_data_size: NonNegativeInt | None = None
    """Bytes of it behind the JSON: of each image its length in 4 bytes, little-endian, and the file."""
    content_type: Literal["base64"] | None = None
    """Of `data`. Files are no text, so it is base64 in any case."""


class RequestInput(_Given):
    """The images."""

    name: Literal["image"]
    shape: Annotated[tuple[int, ...], Field(min_length=1, max_length=2, examples=[(1,)])]
    """[n] or [n, 1], of at most 8 images."""
    datatype: Literal["BYTES"]
    parameters: InputParameters = InputParameters()
    data: tuple[str | tuple[str, ...], ...] | None = None
    """The files in base64, unless they are behind the JSON."""


class OutputParameters(_Given):
    """How an output is answered."""

    binary_data: bool | None = None
    """Behind the JSON, and not in it."""


class RequestOutput(_Given):
    """An output that is wanted."""

    name: Output
    parameters: OutputParameters = OutputParameters()


class RequestParameters(_Given):
    """What is asked of all images of a request."""

    mask_space: MaskSpace = "original"
    """Grid of the masks: `original` is the images' own, `model` is the network's."""
    pixel_spacing_mm: Annotated[str, Field(max_length=64, examples=["0.1,0.1"])] | None = None
    """Distance between rows and between columns in mm, as ROW,COLUMN."""
    binary_data_output: bool = False
    """All outputs behind the JSON."""


class InferenceRequest(_Given):
    """A request for masks."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"inputs": [{"name": INPUT, "shape": [1], "datatype": "BYTES", "data": [_BLACK]}]}]
        }
    )

    id: Annotated[str, Field(max_length=128)] | None = None
    """Comes back with the answer."""
    parameters: RequestParameters = RequestParameters()
    inputs: Annotated[tuple[RequestInput, ...], Field(min_length=1, max_length=1)]
    outputs: Annotated[tuple[RequestOutput, ...], Field(max_length=2)] | None = None
    """All, where none is named."""


class Summary(Schema):
    """An element of the output `summary`: what is told of an image, as in the answers of POST /v1/segment."""

    image: UploadedImage
    classes: tuple[Area, ...]
    """Every lesion class, also those that are absent."""
    lesions: tuple[Lesion, ...]
    """The largest first."""
    warnings: tuple[Remark, ...]
    notice: str


class AnswerParameters(Schema):
    """What gave the answer."""

    digest: str
    """Of the version's manifest, which holds the digests of all its files."""
    engine: str
    provider: str
    precision: str


class BinaryParameters(Schema):
    """Where an output is, if not in `data`."""

    binary_data_size: int
    """Bytes of it behind the JSON, in the order of the outputs."""


class AnswerOutput(Schema):
    """An output."""

    name: Output
    datatype: Datatype
    shape: tuple[int, ...]
    """Of `mask`: images, rows, columns. Of `summary`: images, 1."""
    parameters: BinaryParameters | None = None
    data: tuple[int | str, ...] | None = None
    """Class numbers, row after row; or JSON documents as text."""


class InferenceAnswer(Schema):
    """The answer to a request for masks."""

    model_config = ConfigDict(protected_namespaces=())

    model_name: str
    model_version: str
    id: str | None = None
    parameters: AnswerParameters
    outputs: tuple[AnswerOutput, ...]


class ServerMetadata(Schema):
    """What speaks the protocol here."""

    name: str
    version: str
    extensions: tuple[str, ...]


class TensorMetadata(Schema):
    """An input or output. -1 is a size that varies."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]


class ModelMetadata(Schema):
    """What a model takes and gives."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]


class TensorConfiguration(Schema):
    """An input or output of one image."""

    name: str
    data_type: Literal["TYPE_STRING", "TYPE_UINT8"]
    dims: tuple[int, ...]


class ModelConfiguration(Schema):
    """What Triton's clients ask for beside the metadata."""

    name: str
    platform: str
    max_batch_size: int
    input: tuple[TensorConfiguration, ...]
    output: tuple[TensorConfiguration, ...]


class Live(Schema):
    """The process answers."""

    live: Literal[True] = True


class ServerReady(Schema):
    """The default version answers."""

    ready: Literal[True] = True


class ModelReady(Schema):
    """A version answers, or is loaded when it is first asked."""

    name: str
    ready: Literal[True] = True


class IndexRequest(_Given):
    """Which versions are wanted."""

    ready: bool = False
    """Only those that are in memory."""


class IndexedVersion(Schema):
    """A published version."""

    name: str
    version: str
    state: Literal["READY"] = "READY"
    reason: str
    """Why the first answer takes longer, where it does."""
