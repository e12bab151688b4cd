"""NVIDIA's client of the Open Inference Protocol, as PyPI has it, against a service in a process of its own."""

import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tritonclient.http import (
    InferenceServerClient,
    InferInput,
    InferRequestedOutput,
    InferResult,
)
from tritonclient.utils import InferenceServerException

from model_store.manifest import Draft
from model_store.store import ModelStore
from tests.service.conftest import encoded
from tests.service.processes import Service, started

pytestmark = pytest.mark.requirement("INF-1", "INF-2")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]) -> Path:
    """A store with two versions, of which the first answers."""
    store = ModelStore(tmp_path_factory.mktemp("store"))
    for _ in range(2):
        store.publish("efsnet", tiny_draft, tiny_contents)
    store.promote("efsnet", "production", 1, by="the tests", why="the first")
    return store.root


@pytest.fixture(scope="module")
def service(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service on that store."""
    with started(tmp_path_factory.mktemp("log") / "log", store=str(store)) as service:
        yield service


@pytest.fixture
def triton(service: Service) -> Iterator[InferenceServerClient]:
    """The client."""
    with InferenceServerClient(service.address.removeprefix("http://")) as client:
        yield client


@pytest.fixture
def other_route(service: Service, image: bytes) -> dict[str, Any]:
    """What POST /v1/segment answers to the image."""
    answer: dict[str, Any] = service.post(image).json()
    return answer


def given(*images: bytes, shape: tuple[int, ...] | None = None, binary: bool = True) -> list[InferInput]:
    """The input of these images."""
    shape = shape or (len(images),)
    tensor = InferInput("image", shape, "BYTES")
    files = images if binary else tuple(map(base64.b64encode, images))
    tensor.set_data_from_numpy(np.array(files, np.object_).reshape(shape), binary_data=binary)
    return [tensor]


def mask_of(result: InferResult) -> NDArray[np.uint8]:
    """The output `mask`: (images, rows, columns) uint8."""
    mask: NDArray[np.uint8] = result.as_numpy("mask")
    return mask


def test_the_server_and_its_models_describe_themselves(triton: InferenceServerClient) -> None:
    """Live, ready, metadata, configuration and the list of versions."""
    metadata = triton.get_model_metadata("efsnet")
    configuration = triton.get_model_config("efsnet", "2")
    index = triton.get_model_repository_index()

    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert "efsnet" == triton.get_server_metadata()["name"]
    assert triton.is_model_ready("efsnet")
    assert triton.is_model_ready("efsnet", "2")
    assert not triton.is_model_ready("efsnet", "3")
    assert not triton.is_model_ready("other")
    assert (["1", "2"], ["image"]) == (metadata["versions"], [each["name"] for each in metadata["inputs"]])
    assert 8 == configuration["max_batch_size"]
    assert [("efsnet", "1", "READY"), ("efsnet", "2", "READY")] == [
        (i["name"], i["version"], i["state"]) for i in index
    ]


@pytest.mark.parametrize("packed", [None, "gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_an_image_has_its_mask(
    triton: InferenceServerClient, other_route: dict[str, Any], image: bytes, *, binary: bool, packed: str
) -> None:
    """As bytes or as JSON, packed or not: the very mask that POST /v1/segment gives."""
    result = triton.infer(
        "efsnet",
        given(image, binary=binary),
        outputs=[InferRequestedOutput("mask", binary), InferRequestedOutput("summary", binary)],
        request_id="7",
        request_compression_algorithm=packed,
        response_compression_algorithm=packed,
    )
    mask, summary = mask_of(result), json.loads(result.as_numpy("summary").item())

    assert ((1, 128, 160), np.dtype(np.uint8)) == (mask.shape, mask.dtype)
    assert [each["pixels"] for each in other_route["classes"]] == [
        int(np.count_nonzero(mask == number)) for number in (1, 2)
    ]
    assert other_route["lesions"] == summary["lesions"]
    assert ("7", "1") == (result.get_response()["id"], result.get_response()["model_version"])


def test_what_is_not_asked_for_comes_in_binary(triton: InferenceServerClient, image: bytes) -> None:
    """All outputs, by the version that is named, with the parameters of the request."""
    result = triton.infer("efsnet", given(image), "2", parameters={"mask_space": "model"})

    assert "2" == result.get_response()["model_version"]
    assert mask_of(result).shape != (1, 128, 160)
    assert "data" not in result.get_output("mask")
    assert result.as_numpy("summary") is not None


def test_a_batch_has_its_masks(triton: InferenceServerClient, pixels: NDArray[np.uint8]) -> None:
    """In its order, whichever of the two shapes it has; also when nobody waits for the one before."""
    images = [encoded(pixels), encoded(np.ascontiguousarray(pixels[::-1]))]
    flat = mask_of(triton.infer("efsnet", given(*images)))
    deep = mask_of(triton.async_infer("efsnet", given(*images, shape=(2, 1))).get_result())
    alone = [mask_of(triton.infer("efsnet", given(image)))[0] for image in images]

    assert np.array_equal(flat, alone)
    assert np.array_equal(deep, alone)
    assert not np.array_equal(alone[0], alone[1])


def test_errors_are_those_of_the_protocol(
    triton: InferenceServerClient, image: bytes, pixels: NDArray[np.uint8]
) -> None:
    """The client reads their text and status: wrong shapes, unknown names, bad images."""
    numbers = InferInput("image", (1, 4), "FP32").set_data_from_numpy(np.zeros((1, 4), np.float32))
    other = InferInput("picture", (1,), "BYTES").set_data_from_numpy(np.array([image], np.object_))
    shared = InferInput("image", (1,), "BYTES")
    shared.set_shared_memory("region", 10)
    classes = [InferRequestedOutput("mask", class_count=2)]
    cases: list[tuple[str, str, dict[str, Any]]] = [
        ("400", "shape", {"inputs": given(image, image, shape=(1, 2))}),
        ("400", "shape", {"inputs": given(*[image] * 9)}),
        ("400", "datatype", {"inputs": [numbers]}),
        ("400", "inputs.0.name", {"inputs": [other]}),
        ("400", "unknown name", {"inputs": [shared]}),
        ("400", "unknown name", {"inputs": given(image), "outputs": classes}),
        ("400", "outputs.0.name", {"inputs": given(image), "outputs": [InferRequestedOutput("logits")]}),
        ("400", "unknown name", {"inputs": given(image), "parameters": {"maskspace": "model"}}),
        ("400", "unknown name", {"inputs": given(image), "sequence_id": 3}),
        ("400", "truncated", {"inputs": given(image[:200])}),
        ("400", "Image 2 of 2", {"inputs": given(image, b"none")}),
        ("400", "differ in rows and columns", {"inputs": given(image, encoded(pixels[:64]))}),
        ("404", "models are: efsnet", {"inputs": given(image), "model_name": "other"}),
        ("404", "versions of efsnet are: 1, 2", {"inputs": given(image), "model_version": "9"}),
    ]

    for status, text, asked in cases:
        with pytest.raises(InferenceServerException, match=text) as refused:
            triton.infer(**{"model_name": "efsnet", **asked})
        assert status == refused.value.status()
    with pytest.raises(InferenceServerException, match="listed at /docs"):
        triton.load_model("efsnet")
    assert triton.infer("efsnet", given(image)).get_output("mask")


@pytest.mark.parametrize("language", ["bash", "python"])
def test_the_examples_work(repository: Path, service: Service, image: bytes, tmp_path: Path, language: str) -> None:
    """Those of docs/inference-protocol.md, word for word but for the address."""
    text = (repository / "docs" / "inference-protocol.md").read_text(encoding="utf-8")
    (code,) = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    (tmp_path / "image.png").write_bytes(image)
    (tmp_path / ".curlrc").write_text("fail-with-body\nsilent\nshow-error\n", encoding="utf-8")
    code = code.replace("127.0.0.1:8000", service.address.removeprefix("http://"))
    command = {"bash": ["bash", "-e", "-c"], "python": [sys.executable, "-c"]}[language]
    ran = subprocess.run(
        [*command, code],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "CURL_HOME": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
    )

    assert '"label":"benign"' in ran.stdout.replace("\\", "").replace(" ", "")
    if language == "bash":
        assert [1, 128, 160] == json.loads((tmp_path / "answer.json").read_text(encoding="utf-8"))["outputs"][0][
            "shape"
        ]
    else:
        assert "(128, 160)" in ran.stdout
