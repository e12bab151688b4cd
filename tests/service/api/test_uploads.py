"""How the image gets out of a request."""

import asyncio
import os
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request

from service import errors
from service.api.uploads import UploadLimits, read_upload

BOUNDARY = "b0undary"
FILE = 'name="image"; filename="a.png"'
Message = dict[str, Any]


def form(*parts: tuple[str, bytes], closed: bool = True) -> bytes:
    """A multipart body of parts (what follows `form-data; `, content)."""
    body = b"".join(
        f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode() + content + b"\r\n"
        for disposition, content in parts
    )
    return body + f"--{BOUNDARY}--\r\n".encode() if closed else body


def pieces(body: bytes, size: int = 65_536) -> list[Message]:
    """The body as a server hands it on."""
    chunks = [body[start : start + size] for start in range(0, len(body), size)] or [b""]
    return [
        {"type": "http.request", "body": chunk, "more_body": number < len(chunks)}
        for number, chunk in enumerate(chunks, 1)
    ]


def request(messages: Sequence[Message], **headers: str) -> Request:
    """A request whose body arrives in these messages, and that then stays silent."""
    left = list(messages)

    async def receive() -> Message:
        if not left:
            await asyncio.Event().wait()
        return left.pop(0)

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": raw}, receive)


def read(request: Request, *, max_bytes: int = 10_000_000, timeout_s: float = 30) -> bytes:
    """The upload, waited for."""
    return asyncio.run(read_upload(request, limits=UploadLimits(max_bytes, max_bytes), timeout_s=timeout_s))


def read_form(*parts: tuple[str, bytes], closed: bool = True, size: int = 65_536) -> bytes:
    """The upload in a form of these parts."""
    content_type = f"multipart/form-data; boundary={BOUNDARY}"
    return read(request(pieces(form(*parts, closed=closed), size), content_type=content_type))


@pytest.mark.parametrize("content_type", ["image/png", "image/tiff", "IMAGE/JPEG", "application/octet-stream", None])
def test_a_raw_body_is_the_image(content_type: str | None) -> None:
    """Any image type that is taken, octets, or no type at all."""
    headers = {"content_type": content_type} if content_type else {}

    assert b"an image" == read(request(pieces(b"an image", size=3), **headers))


@pytest.mark.parametrize("size", [1, 7, 65_536])
def test_the_image_field_of_a_form_is_the_image(size: int) -> None:
    """However the body is cut on its way, and whatever the file is called."""
    content = bytes(range(256)) + b"\r\n--b0un"

    assert content == read_form(('name="image"; filename="../../etc/passwd"', content), size=size)


def test_a_form_field_without_a_file_name_is_taken() -> None:
    """`curl -F 'image=<scan.png'` sends no file name."""
    assert b"an image" == read_form(("name=image", b"an image"))


@pytest.mark.parametrize(
    ("error", "says", "parts"),
    [
        (errors.TooManyFiles, "one image", [(FILE, b"1"), (FILE, b"2")]),
        (errors.TooManyFiles, "one image", [(FILE, b"1"), ('name="other"; filename="b"', b"2")]),
        (errors.FormFieldUnknown, "`image`", [('name="file"; filename="a"', b"1")]),
        (errors.FormFieldUnknown, "query", [(FILE, b"1"), ('name="format"', b"png")]),
        (errors.FormFieldUnknown, "`image`", [("", b"nameless")]),
        (errors.BodyEmpty, "no image", [(FILE, b"")]),
        (errors.BodyEmpty, "no image", []),
    ],
)
def test_a_form_of_anything_but_one_image_is_refused(
    error: type[Exception], says: str, parts: Sequence[tuple[str, bytes]]
) -> None:
    """What is wrong is said, with what to do instead."""
    with pytest.raises(error, match=says):
        read_form(*parts)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"--x\r\n"),
        (f"multipart/form-data; boundary={'x' * 5000}", b""),
        (f"multipart/form-data; boundary={BOUNDARY}", b"this is no form"),
        (f"multipart/form-data; boundary={BOUNDARY}", form(('name="image"', b"cut off"), closed=False)),
        (f"multipart/form-data; boundary={BOUNDARY}", b""),
    ],
)
def test_a_body_that_is_no_form_is_refused(content_type: str, body: bytes) -> None:
    """A form without, with an endless, or with another boundary, or one that was cut off."""
    with pytest.raises((errors.FormMalformed, errors.BodyEmpty)):
        read(request(pieces(body), content_type=content_type))


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "image/gif", "nonsense"])
def test_other_media_types_are_refused_before_the_body_is_read(content_type: str) -> None:
    """The answer lists those that are taken."""
    with pytest.raises(errors.MediaTypeUnsupported, match="image/png"):
        read(request([], content_type=content_type))


def test_an_announced_body_over_the_limit_is_refused_unread() -> None:
    """Nothing of a body is awaited whose Content-Length is over the limit."""
    with pytest.raises(errors.BodyTooLarge, match="1,000 bytes"):
        read(request([], content_length="1001"), max_bytes=1000)


@pytest.mark.requirement("BAD-3")
def test_a_body_is_refused_as_soon_as_it_is_over_the_limit() -> None:
    """A body of unknown length is read up to the limit and no further."""
    unread = pieces(b"x" * 5000, size=100)
    incoming = request(unread)
    taken = 0
    receive = incoming._receive

    async def counting() -> Message:
        nonlocal taken
        taken += 1
        return dict(await receive())

    incoming._receive = counting
    with pytest.raises(errors.BodyTooLarge):
        read(incoming, max_bytes=1000)
    assert 11 == taken


def test_a_body_that_does_not_end_in_time_is_refused() -> None:
    """A client that stops sending does not hold the service."""
    with pytest.raises(errors.UploadTimedOut, match=r"0\.01 s"):
        read(request(pieces(b"x" * 200_000)[:-1]), timeout_s=0.01)


def test_a_client_that_leaves_in_the_middle_is_noticed() -> None:
    """Half an upload is no image."""
    with pytest.raises(ClientDisconnect):
        read(request([*pieces(b"x" * 200_000)[:-1], {"type": "http.disconnect"}]))


@pytest.fixture(scope="session")
def opened() -> list[str]:
    """Names of files that this process has opened to write to, since the list was cleared."""
    names: list[str] = []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            names.append(str(arguments[0]))

    sys.addaudithook(hook)
    return names


@pytest.mark.parametrize("as_form", [True, False])
@pytest.mark.requirement("PRIV-2")
def test_an_upload_never_touches_the_disk(opened: list[str], *, as_form: bool) -> None:
    """While 5 MB arrive, no file is opened to write to."""
    content = b"\x89PNG" * 1_250_000
    part = (FILE, content)
    opened.clear()
    given = read_form(part) if as_form else read(request(pieces(content)))

    assert [] == opened
    assert content == given


def test_the_disk_is_watched_for_uploads(opened: list[str]) -> None:
    """The test above would notice: Starlette's own form parser does write this upload to the disk."""
    body = form((FILE, b"x" * 5_000_000))
    incoming = request(pieces(body), content_type=f"multipart/form-data; boundary={BOUNDARY}")
    opened.clear()

    async def parse() -> None:
        async with incoming.form():
            pass

    asyncio.run(parse())
    assert [] != opened
