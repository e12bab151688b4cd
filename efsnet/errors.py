"""Everything the package raises.

* EFSNetError
  - ImageError: the image cannot be used
    · ImageUndecodable
    · ImageFormatUnsupported
    · ImageHasSeveralFrames
    · TooManyPixels
  - GeometryError: a pixel spacing or a grid that cannot be
  - ImageSizeUnsupported: the network cannot take this size
  - ArrayInvalid: an array of the wrong shape, type or range
  - EngineUnavailable: the asked inference engine is not installed
  - ModelUnusable: the graph cannot be loaded, or is not of the specified shape
"""


class EFSNetError(Exception):
    """Base of all errors of this package."""


class ImageError(EFSNetError):
    """The uploaded image cannot be used."""


class ImageUndecodable(ImageError):
    """The bytes are empty, truncated, damaged, or no image at all."""


class ImageFormatUnsupported(ImageError):
    """The bytes are of a format that is not taken."""


class ImageHasSeveralFrames(ImageError):
    """The file holds more than one picture, and none is the obvious one."""


class TooManyPixels(ImageError):
    """The image is larger than the limit; found before any pixel is decoded."""


class GeometryError(EFSNetError):
    """A pixel spacing or a grid that cannot be."""


class ImageSizeUnsupported(EFSNetError):
    """The network cannot take an image of this size."""

    def __init__(self, rows: int, columns: int, multiple: int) -> None:
        super().__init__(
            f"EFSNet takes rows and columns that are multiples of {multiple}, got {rows} x {columns}: "
            f"resize to {max(round(rows / multiple), 1) * multiple} x "
            f"{max(round(columns / multiple), 1) * multiple}."
        )


class ArrayInvalid(EFSNetError):
    """An array has the wrong shape, type or range."""


class EngineUnavailable(EFSNetError):
    """The asked inference engine is not installed here."""


class ModelUnusable(EFSNetError):
    """The graph cannot be loaded, or does not have the specified inputs and outputs."""
