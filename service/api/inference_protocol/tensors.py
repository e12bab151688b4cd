"""Inputs from the bytes of a request, and outputs to the bytes of an answer, with the binary tensor data extension.

KServe describes both: Open Inference Protocol (V2), and its Binary Tensor Data Extension.
"""

import base64
import binascii
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from service.api.bodies import has_many_members
from service.api.inference_protocol.schemas import (
    INPUT,
    MAX_BATCH,
    Datatype,
    InferenceRequest,
    Output,
    RequestInput,
    RequestParameters,
)
from service.errors import InferenceRequestInvalid

OUTPUTS: Mapping[Output, Datatype] = {"mask": "UINT8", "summary": "BYTES"}

_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Inference:
    """What is asked for."""

    images: tuple[bytes, ...]
    """The files, from 1 to MAX_BATCH."""
    outputs: Mapping[Output, bool]
    """Those that are wanted, and whether behind the JSON."""
    parameters: RequestParameters
    id: str | None = None


def read(body: bytes, json_bytes: int | None) -> Inference:
    """What the body of a request asks for.

    Args:
        body: The JSON and what is behind it; or an image file alone.
        json_bytes: Length of the JSON, from the header Inference-Header-Content-Length. None: all of the body.
            0: there is none, and the body is an image.

    Raises:
        InferenceRequestInvalid: The body is not as the model's metadata and the protocol say.
    """
    if json_bytes == 0:
        return Inference((body,), dict.fromkeys(OUTPUTS, False), RequestParameters())
    head = len(body) if json_bytes is None else json_bytes
    if head > len(body):
        raise InferenceRequestInvalid("The body ends within the JSON: Inference-Header-Content-Length is its length.")
    document = body[:head]
    if has_many_members(document):
        raise InferenceRequestInvalid("The JSON has more members than a request can have.")
    try:
        request = InferenceRequest.model_validate_json(document)
    except ValidationError as error:
        raise InferenceRequestInvalid(_fault(error)) from error
    wanted = request.outputs or ()
    whole = request.parameters.binary_data_output
    behind = {each.name: whole if (own := each.parameters.binary_data) is None else own for each in wanted}
    images = _images(request.inputs[0], body[head:])
    return Inference(images, behind or dict.fromkeys(OUTPUTS, whole), request.parameters, request.id)


def _fault(error: ValidationError) -> str:
    """The first fault, in words that repeat nothing of what was sent."""
    first = error.errors(include_input=False, include_url=False)[0]
    if first["type"] == "extra_forbidden":  # the last of its place is a name that the client chose
        place = ".".join(map(str, first["loc"][:-1])) or "the request"
        return f"There is a member of an unknown name in {place}; docs/inference-protocol.md lists the known."
    return f"{'.'.join(map(str, first['loc'])) or 'The request'}: {first['msg']}."


def _images(given: RequestInput, behind: bytes) -> tuple[bytes, ...]:
    number, *rest = given.shape
    if not 1 <= number <= MAX_BATCH or rest not in ([], [1]):
        raise InferenceRequestInvalid(f"The shape of `{INPUT}` is [n] or [n, 1], with n from 1 to {MAX_BATCH}.")
    size = given.parameters.binary_data_size
    if (size or 0) != len(behind):
        raise InferenceRequestInvalid(f"binary_data_size of `{INPUT}` is not the length of what is behind the JSON.")
    if (size is None) == (given.data is None):
        raise InferenceRequestInvalid(f"`{INPUT}` has `data`, or `binary_data_size` and what it tells of: one of them.")
    images = tuple(islice(_elements(behind) if given.data is None else _decoded(given.data), number + 1))
    if len(images) != number:
        raise InferenceRequestInvalid(f"`{INPUT}` does not hold as many files as its shape says.")
    return images


def _elements(content: bytes) -> Iterator[bytes]:
    """Of a BYTES tensor: each has its length before it."""
    position = 0
    while position < len(content):
        begin = position + _LENGTH.size
        if begin > len(content):
            raise InferenceRequestInvalid(f"`{INPUT}` ends within the length of a file.")
        (length,) = _LENGTH.unpack_from(content, position)
        position = begin + length
        if position > len(content):
            raise InferenceRequestInvalid(f"`{INPUT}` ends within a file.")
        yield content[begin:position]


def _decoded(data: Sequence[str | tuple[str, ...]]) -> Iterator[bytes]:
    for row in data:
        for text in (row,) if isinstance(row, str) else row:
            try:
                yield base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError) as error:
                raise InferenceRequestInvalid(f"The `data` of `{INPUT}` is not base64.") from error


def mask_content(labels: NDArray[np.uint8], *, behind: bool) -> bytes:
    """One element of the output `mask`: class numbers (rows, columns) as bytes, or as the numbers of a JSON array."""
    if behind:
        return labels.tobytes()
    # Every number in as many characters as the largest has, with its comma, looked up by numpy: to make a text of each
    # would take as long as the network.
    largest = int(labels.max())
    width = len(str(largest))
    words = np.array([f"{number:{width}}," for number in range(largest + 1)], f"S{width + 1}")
    return words[labels].tobytes()[:-1]


def summary_content(document: str, *, behind: bool) -> bytes:
    """One element of the output `summary`: JSON as a BYTES element, or as a text within JSON."""
    content = document.encode()
    return _LENGTH.pack(len(content)) + content if behind else json.dumps(document).encode()


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """An output of all images."""

    name: Output
    shape: tuple[int, ...]
    contents: tuple[bytes, ...]
    """Of each image."""
    behind: bool
    """Whether they go behind the JSON."""


def write(known: Mapping[str, object], tensors: Sequence[Tensor]) -> tuple[bytes, int | None]:
    """The body of an answer, and the length of its JSON if something is behind that.

    Args:
        known: Members of the JSON beside the outputs.
        tensors: The outputs, in their order.
    """
    outputs, behind = [], []
    for tensor in tensors:
        content = (b"" if tensor.behind else b",").join(tensor.contents)
        told: dict[str, object] = {"name": tensor.name, "datatype": OUTPUTS[tensor.name], "shape": tensor.shape}
        if tensor.behind:
            outputs.append(json.dumps({**told, "parameters": {"binary_data_size": len(content)}}).encode())
            behind.append(content)
        else:
            outputs.append(json.dumps(told).encode()[:-1] + b', "data": [' + content + b"]}")
    head = json.dumps(known).encode()[:-1] + b', "outputs": [' + b", ".join(outputs) + b"]}"
    return b"".join((head, *behind)), len(head) if behind else None
