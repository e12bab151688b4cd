"""What schemathesis must know beside the description of the API: how uploads look, so that some are answered."""

from typing import Any

import numpy as np
import schemathesis
from hypothesis import strategies

from tests.service.conftest import encoded
from tests.service.dicom.instances import instance, part10, squares

_BOUNDARY = "b"
_SQUARES = squares(64, 80)
_FILES = (
    *(encoded(_SQUARES, kind) for kind in ("PNG", "JPEG", "BMP", "TIFF")),
    encoded(np.dstack([_SQUARES] * 3)),
    part10(instance(_SQUARES)),
    part10(instance(np.stack([_SQUARES] * 2))),
)

schemathesis.openapi.format("binary", strategies.sampled_from(_FILES) | strategies.binary(max_size=2000))


@schemathesis.serializer("multipart/related")
def related(_: schemathesis.SerializationContext, value: Any) -> bytes:
    """One part (RFC 2387)."""
    content = value if isinstance(value, bytes) else str(value).encode()
    start = f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    return start + content + f"\r\n--{_BOUNDARY}--\r\n".encode()
