"""The knobs of live streams, whose variables begin with EFSNET_STREAM_."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt


def _origins(text: str) -> str:
    origins = text.replace(" ", "").lower().split(",") if text.strip() else []
    for origin in origins:
        if not re.fullmatch(r"https?://[a-z0-9.\-\[\]:]+", origin):
            raise ValueError("an origin is a scheme and a host, as in https://viewer.hospital.org")
    return ",".join(origins)


class StreamSettings(BaseModel):
    """How many streams there may be, and what ends one."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    limit: NonNegativeInt = 4
    """Live streams at the same time; one more is refused."""
    idle_s: PositiveFloat = 30.0
    """Time without a frame after which a stream is ended."""
    stall_s: PositiveFloat = 5.0
    """Time in which a client must take an answer; a stream whose client does not read is ended."""
    frames_per_s: PositiveInt = 120
    """Frames a second, on the mean of a few seconds, above which a stream is ended."""
    max_bytes: Annotated[int, Field(ge=1000)] = 4_000_000
    """Largest message of a stream."""
    max_pixels: PositiveInt = 4_200_000
    """Largest frame, in pixels, found from its header before it is decoded."""
    ticket_s: PositiveFloat = 30.0
    """Time in which a stream must be opened with a ticket."""
    origins: Annotated[str, AfterValidator(_origins)] = ""
    """Other sites whose pages may open streams, as `https://viewer.hospital.org`, with commas; our own page may."""
