"""UIDs of results: the same source, model, configuration and role give the same one, for ever and on every machine."""

import hashlib
import uuid
from typing import Literal

Role = Literal["SEG", "SR", "SC", "PR"]
"""What a result is: segmentation, structured report, secondary capture, presentation state."""

ROLES: tuple[Role, ...] = ("SEG", "SC", "PR", "SR")
"""In the order in which results are stored: the report last, as the mark that all else is there."""


def derived_uid(*parts: str) -> str:
    """A UID of these parts alone: 2.25 and an UUID (PS3.5 B.2), by SHA-256 in the layout of RFC 9562's version 8.

    pydicom's `generate_uid(prefix=None, entropy_srcs=…)` ignores what it is given, and is random.
    """
    # A length before each part, so that no two lists of parts read alike.
    text = "".join(f"{len(part)}:{part}" for part in parts)
    octets = bytearray(hashlib.sha256(text.encode("utf-8")).digest()[:16])
    octets[6] = octets[6] & 0x0F | 0x80
    octets[8] = octets[8] & 0x3F | 0x80
    return f"2.25.{uuid.UUID(bytes=bytes(octets)).int}"


def result_uid(source_sop_instance_uid: str, model_digest: str, configuration_digest: str, role: str) -> str:
    """SOP Instance UID of a result; with a role of its own also of its series, or of what is tracked in it."""
    return derived_uid(source_sop_instance_uid, model_digest, configuration_digest, role)
