"""What the answers about images and the service itself look like."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from model_store.loading import LoadedVersion

Figure = Annotated[float, AfterValidator(lambda value: round(value, 6))]
"""A measured number, without the digits that no measurement has."""


class Schema(BaseModel):
    """Base of all answers; the line below a field describes it in /docs."""

    model_config = ConfigDict(frozen=True, from_attributes=True, use_attribute_docstrings=True)


class Rle(Schema):
    """A mask as COCO's compressed run lengths: column after column from the top left pixel, zeros first."""

    size: Annotated[tuple[int, int], Field(examples=[(600, 800)])]
    """Rows, columns."""
    counts: Annotated[str, Field(examples=["Pc`32ab0"])]


class Axes(Schema):
    """A lesion's longest axis, and its width across that axis."""

    longest: Figure
    across: Figure


class Area(Schema):
    """All pixels of one class."""

    number: int
    """Pixel value of the class in palette PNGs."""
    label: Annotated[str, Field(examples=["benign"])]
    pixels: int
    fraction: Figure
    """Share of the image."""
    area_mm2: Figure | None
    """Null if the request gave no pixel spacing."""
    mean_confidence: Figure | None
    """Mean probability of the class over its pixels; null if it has none."""


class AreaWithMask(Area):
    """All pixels of one class, and which they are."""

    rle: Rle


class Lesion(Schema):
    """Pixels of one class that touch."""

    number: int
    """From 1, the largest lesion first."""
    class_number: int
    label: Annotated[str, Field(examples=["benign"])]
    pixels: int
    fraction: Figure
    area_mm2: Figure | None
    axes_px: Axes
    axes_mm: Axes | None
    bbox_xywh: tuple[int, int, int, int]
    """First column, first row, columns, rows; from 0, in pixels of the mask."""
    centroid_xy: tuple[Figure, Figure]
    """Mean column and row; 0 is the centre of the first pixel."""
    mean_confidence: Figure


class AnsweringModel(Schema):
    """What gave the answer."""

    name: Annotated[str, Field(examples=["efsnet"])]
    version: int
    digest: Annotated[str, Field(examples=[f"sha256:{64 * '0'}"])]
    """Of the version's manifest, which holds the digests of all its files."""
    engine: Annotated[str, Field(examples=["ONNX Runtime 1.24.1"])]
    provider: Annotated[str, Field(examples=["openvino"])]
    precision: Annotated[str, Field(examples=["f32"])]


def model_of(loaded: LoadedVersion) -> AnsweringModel:
    """What a loaded version is called in answers."""
    version, engine = loaded.version, loaded.predictor.engine
    return AnsweringModel(
        name=version.name,
        version=version.number,
        digest=str(version.digest),
        engine=engine.name,
        provider=engine.provider,
        precision=engine.precision,
    )


class UploadedImage(Schema):
    """The image as it was understood, after any EXIF rotation."""

    rows: int
    columns: int
    pixel_spacing_mm: tuple[float, float] | None
    """Distance between rows, between columns; null if neither the request nor a DICOM instance gave it."""
    region_xywh: tuple[int, int, int, int] | None = None
    """Of a DICOM instance, the part that was analysed: first column, first row, columns, rows."""
    frames: int = 1
    """Of a DICOM instance."""


class Mask(Schema):
    """The grid of the masks and of all positions in the answer."""

    space: Literal["original", "model"]
    """`original`: the image's own grid; `model`: the network's."""
    rows: int
    columns: int
    encoding: Literal["coco_rle"] = "coco_rle"
    """COCO's compressed run lengths: column after column, zeros first."""


class Remark(Schema):
    """What a reader of the answer should know about the image."""

    code: Annotated[str, Field(examples=["colour"])]
    detail: Annotated[str, Field(examples=["The image has colours."])]


class TimingMs(Schema):
    """Milliseconds of each stage."""

    queue: float
    """Waiting for a worker."""
    decode: float
    preprocess: float
    infer: float
    postprocess: float
    encode: float
    """Making the run lengths."""


class ClassMask(Schema):
    """The mask of one class."""

    number: int
    label: str
    rle: Rle


class MasksAnswer(Schema):
    """The answer to `format=rle`."""

    request_id: str
    model: AnsweringModel
    mask: Mask
    classes: tuple[ClassMask, ...]
    """Every lesion class, also those that are absent."""
    warnings: tuple[Remark, ...]


class SegmentationAnswer(Schema):
    """The answer to `format=json`."""

    request_id: str
    model: AnsweringModel
    image: UploadedImage
    mask: Mask
    classes: tuple[AreaWithMask, ...]
    """Every lesion class, also those that are absent."""
    lesions: tuple[Lesion, ...]
    """The largest first."""
    warnings: tuple[Remark, ...]
    timing_ms: TimingMs
    picture: str | None = None
    """With `pictures`: the image as the network saw it, a grey PNG as a data URL."""
    tumour_probability: str | None = None
    """With `probabilities`: a grey PNG on the network's grid as a data URL; 255 is the probability 1 of a tumour."""
    notice: str


class FrameAnswer(Schema):
    """What was found in one frame."""

    frame_number: int
    """From 1."""
    classes: tuple[AreaWithMask, ...]
    lesions: tuple[Lesion, ...]
    """The largest first."""
    warnings: tuple[Remark, ...]
    timing_ms: TimingMs
    picture: str | None = None
    """With `pictures`: the frame as the network saw it, a grey JPEG as a data URL."""


class FramesAnswer(Schema):
    """The answer to a DICOM instance of several frames, unless one of them was asked for."""

    request_id: str
    model: AnsweringModel
    image: UploadedImage
    mask: Mask
    key_frame_number: int
    """Of the frame with the largest lesion, from 1; the first one where there is none."""
    frames: tuple[FrameAnswer, ...]
    notice: str


class Alive(Schema):
    """The process answers."""

    status: Literal["alive"]


class Queue(Schema):
    """Images in work."""

    waiting: int
    """Images that wait for a worker."""
    running: int
    """Images that a worker is at."""
    workers: int
    capacity: int
    """Images that may wait; one more is refused with 429."""


class ReplayedImage(Schema):
    """A reference image of the version, segmented when the version was loaded."""

    name: str
    pixels: int
    differing_pixels: int
    """Pixels of another class than the version's own label map has."""


class SelfTested(Schema):
    """The version that answers still gives the label maps of its reference images."""

    replay: tuple[ReplayedImage, ...]


class Ready(Schema):
    """The service can be used."""

    status: Literal["ready"]
    model: AnsweringModel
    signed_by: str | None
    """Trusted key that signed the version; null if none did, or if `EFSNET_SIGNATURES` is `off`."""
    troubles: tuple[str, ...]
    """Why the newest promotion is not followed; the version above goes on answering."""
    replay: tuple[ReplayedImage, ...]
    queue: Queue


class ServiceVersion(Schema):
    """What runs."""

    service: str
    python: str
    corrections: bool
    """Whether experts' corrections are kept."""
