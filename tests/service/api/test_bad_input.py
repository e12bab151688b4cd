"""What people send that is no image to segment: each is a problem that says what to do, and the next is served."""

import io
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage
from starlette.testclient import TestClient

from tests.service.conftest import PNG, encoded

URL = "/v1/segment"
PATIENT = "MUSTERMANN"


def png_header(columns: int, rows: int, rest: bytes = b"") -> bytes:
    """A PNG that says it has this size, and then holds what is given."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rest) + chunk(b"IEND", b"")


def pages(number: int) -> bytes:
    """A TIFF of so many pages."""
    page = PillowImage.new("L", (200, 200), 100)
    file = io.BytesIO()
    page.save(file, "TIFF", save_all=True, append_images=[page] * (number - 1))
    return file.getvalue()


GOOD = encoded(np.full((200, 200), 120, np.uint8))


@dataclass(frozen=True)
class Bad:
    """A request, and the problem that answers it."""

    status: int
    code: str
    says: str
    content: bytes | None = None
    files: Any = None
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=lambda: PNG)


BAD = {
    "empty body": Bad(400, "body_empty", "no image", b""),
    "no image": Bad(422, "image_undecodable", "PNG", b"Dear Sir or Madam"),
    "truncated image": Bad(422, "image_undecodable", "truncated", GOOD[: len(GOOD) // 2]),
    "damaged image": Bad(422, "image_undecodable", "", GOOD[:60] + b"\xff\xff\xff" + GOOD[63:]),
    "100 megapixels": Bad(413, "too_many_pixels", "25000000", png_header(10_000, 10_000)),
    "endless side": Bad(413, "too_many_pixels", "65535", png_header(2_000_000, 1)),
    "11 MB": Bad(413, "body_too_large", "10,000,000", GOOD + bytes(11_000_000)),
    "11 MB form": Bad(413, "body_too_large", "10,000,000", files={"image": bytes(11_000_000)}, headers={}),
    "GIF": Bad(415, "image_format_unsupported", "GIF", encoded(np.zeros((9, 9), np.uint8), "GIF"), headers={}),
    "PSD": Bad(415, "image_format_unsupported", "TIFF", b"8BPS\0\1" + bytes(100), headers={}),
    "PDF": Bad(415, "image_format_unsupported", "PDF", b"%PDF-1.7\n", headers={}),
    "PDF, said to be one": Bad(
        415, "media_type_unsupported", "image/png", b"%PDF", headers={"Content-Type": "application/pdf"}
    ),
    "multi-page TIFF": Bad(422, "image_has_several_frames", "one", pages(3)),
    "two files": Bad(400, "too_many_files", "one image", files=[("image", GOOD), ("image", GOOD)], headers={}),
    "wrong field name": Bad(400, "form_field_unknown", "`image`", files={"file": GOOD}, headers={}),
    "curl --data-binary alone": Bad(
        415, "media_type_unsupported", "`image`", GOOD, headers={"Content-Type": "application/x-www-form-urlencoded"}
    ),
    "unknown model": Bad(404, "model_unknown", "efsnet", GOOD, query={"model": PATIENT}),
    "unknown version": Bad(404, "version_unknown", "1, production", GOOD, query={"version": "99"}),
    "unknown alias": Bad(404, "version_unknown", "1, production", GOOD, query={"version": PATIENT.lower()}),
    "unknown digest": Bad(404, "version_unknown", "1, production", GOOD, query={"version": f"sha256:{'0' * 64}"}),
    "version of another kind": Bad(404, "version_unknown", "1, production", GOOD, query={"version": "../../1"}),
    "version zero": Bad(404, "version_unknown", "1, production", GOOD, query={"version": "0"}),
    "empty version": Bad(422, "parameter_invalid", "version", GOOD, query={"version": ""}),
    "unknown format": Bad(422, "parameter_invalid", "overlay", GOOD, query={"format": PATIENT}),
    "unknown mask space": Bad(422, "parameter_invalid", "original", GOOD, query={"mask_space": PATIENT}),
    "unknown parameter": Bad(422, "parameter_invalid", "unknown name", GOOD, query={PATIENT: PATIENT}),
} | {
    f"pixel spacing {text}": Bad(422, "parameter_invalid", "0.1,0.1", GOOD, query={"pixel_spacing_mm": text})
    for text in ("nan,nan", "0.1,inf", "0,0", "-1,1", "0.1", "0.1,0.1,0.1", "1e9,1", "one,two", "", "0.1;0.1")
}


def post(client: TestClient, bad: Bad) -> Any:
    """Sends it."""
    return client.post(URL, content=bad.content, files=bad.files, params=dict(bad.query), headers=dict(bad.headers))


@pytest.mark.parametrize("name", BAD)
@pytest.mark.requirement("BAD-1")
def test_bad_input_is_answered_by_a_problem_that_says_what_to_do(client: TestClient, name: str) -> None:
    """Problem details in every case, with all members, and not a word of the input; and the next image is segmented."""
    bad = BAD[name]
    response = post(client, bad)
    problem = response.json()

    assert (bad.status, bad.code) == (response.status_code, problem["code"]), response.text
    assert "application/problem+json" == response.headers["Content-Type"]
    assert bad.says in problem["detail"]
    assert f"/problems/{bad.code}" == problem["type"]
    assert bad.status == problem["status"]
    assert response.headers["X-Request-Id"] == problem["instance"]
    assert PATIENT.lower() not in response.text.lower()
    assert "Traceback" not in response.text
    assert 200 == client.post(URL, content=GOOD).status_code
