"""What a version says of its own input, classes and post-processing. Part of the manifest, so plain data.

Every constant that decides a mask stands here and comes from the version's manifest: the code has none.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Channel8 = Annotated[int, Field(ge=0, le=255)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Precision = Literal["f32", "bf16"]
"""Of the arithmetic: 32-bit floating point, or bfloat16 with its 8 significant bits, for processors that have it."""
Side = Annotated[int, Field(ge=32, le=4096, multiple_of=8)]


class Part(BaseModel):
    """Base of the parts of a manifest: immutable, every number finite, and no unknown key is let through."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class InputSpecification(Part):
    """How an image becomes the network's input: (1, rows, columns) uint8."""

    rows: Side
    columns: Side
    resize: Literal["stretch"]
    """`stretch`: both sides are scaled to the input, the aspect ratio is not kept (the thesis' way)."""
    filter: Literal["bilinear"]
    """`bilinear`: a triangle filter whose support grows with the reduction, so that it does not alias (Pillow's)."""
    value_range: tuple[float, float]
    """What stored values 0 and 255 become before the first layer; done inside the graph."""


class CodedConcept(Part):
    """A code of a DICOM terminology (PS3.3 section 8.8)."""

    value: str
    scheme: str
    meaning: str


class ClassSpecification(Part):
    """One class of the answer."""

    number: Annotated[int, Field(ge=0, le=255)]
    label: str
    colour: tuple[Channel8, Channel8, Channel8]
    """sRGB colour of the class in palette PNGs and overlays."""
    concept: CodedConcept | None = None
    """What the class is in DICOM, its Segmented Property Type; none for background."""
    modifier: CodedConcept | None = None
    """Its Segmented Property Type Modifier, as benign or malignant."""


class PostProcessing(Part):
    """From a probability map to a label map."""

    tumour_threshold: Fraction
    """A pixel belongs to a lesion if its tumour probability (all classes but background) is at least this."""
    minimum_area_fraction: Fraction
    """Lesions smaller than this share of the image are dropped."""
    fill_holes: bool
    """Background that a lesion encloses is counted to it."""
    one_class_per_lesion: bool
    """Each connected lesion gets the class with the largest summed probability in it; else each pixel its own."""


class Specification(Part):
    """All that is needed, beside the graph, to go from an image to a label map."""

    input: InputSpecification
    classes: tuple[ClassSpecification, ...]
    post_processing: PostProcessing

    @model_validator(mode="after")
    def _classes_are_numbered_from_background(self) -> Self:
        numbers = [c.number for c in self.classes]
        if numbers != list(range(len(numbers))) or len(numbers) < 2:
            raise ValueError(f"Classes are numbered 0 (background), 1, 2, …, in order; got {numbers}.")
        return self

    @property
    def lesion_classes(self) -> tuple[ClassSpecification, ...]:
        """The classes without background."""
        return self.classes[1:]
