"""What a person asks for when an archive is to be gone through."""

from dataclasses import dataclass

from efsnet.image import PixelSpacing

MANIFEST = "manifest.parquet"
"""Name of the table, in the folder of the run."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which images, by what, and where to.

    Args:
        archive: A folder, or the URI of one in a bucket; the PACS is searched without.
        query: Of QIDO-RS, for that.
        out: Folder of the run, or its URI.
        version: Number, alias or digest; none takes production, or that of the run which is gone on with.
        spacing: Of all images, in place of what they say.
        tags: Keywords of DICOM attributes to copy into the table.
        cluster: Address of a Ray cluster; this machine alone without.
    """

    archive: str | None
    query: str | None
    out: str
    version: str | None = None
    spacing: PixelSpacing | None = None
    tags: tuple[str, ...] = ()
    cluster: str | None = None
