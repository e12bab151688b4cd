"""The Open Inference Protocol on the wire, byte by byte: what it takes, gives, and refuses."""

import base64
import gzip
import json
import struct
import tracemalloc
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from httpx2 import Response
from numpy.typing import NDArray
from starlette.testclient import TestClient

from model_store.manifest import Draft
from model_store.store import ModelStore
from service.api.inference_protocol.schemas import MAX_BATCH
from service.api.inference_protocol.tensors import mask_content, read
from service.errors import InferenceRequestInvalid
from tests.service.conftest import PNG, Start, code_of, encoded

URL = "/v2/models/efsnet/infer"
JSON_BYTES = "Inference-Header-Content-Length"


def question(*images: bytes, **members: Any) -> dict[str, Any]:
    """A request for the masks of these images, in base64."""
    data = [base64.b64encode(image).decode() for image in images]
    return {"inputs": [{"name": "image", "shape": [len(images)], "datatype": "BYTES", "data": data}], **members}


def with_input(**members: Any) -> dict[str, Any]:
    """A request whose one input is a good one but for these members."""
    return {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": ["AAAA"], **members}]}


def mask_of(answer: Response) -> NDArray[np.uint8]:
    """The output `mask` of an answer in JSON."""
    (mask,) = (each for each in answer.json()["outputs"] if each["name"] == "mask")
    return np.array(mask["data"], np.uint8).reshape(mask["shape"])


def segmented(client: TestClient, image: bytes, **query: str) -> dict[str, Any]:
    """What POST /v1/segment says of an image."""
    answer: dict[str, Any] = client.post("/v1/segment", params=query, content=image, headers=PNG).json()
    return answer


@pytest.mark.requirement("INF-1", "SEG-8")
def test_the_mask_is_that_of_the_other_route(client: TestClient, image: bytes, pixels: NDArray[np.uint8]) -> None:
    """Class numbers on the image's own grid, by the same version, and the same areas, lesions and warnings."""
    answer = client.post(URL, json=question(image, id="7"))
    told, other = answer.json(), segmented(client, image)
    (mask,) = mask_of(answer)
    summary = json.loads(told["outputs"][1]["data"][0])

    assert pixels.shape == mask.shape
    assert [each["pixels"] for each in other["classes"]] == [np.count_nonzero(mask == number) for number in (1, 2)]
    assert min(np.count_nonzero(mask == number) for number in (1, 2)) > 0
    assert ("efsnet", "1", "7") == (told["model_name"], told["model_version"], told["id"])
    assert told["parameters"] == {name: other["model"][name] for name in ("digest", "engine", "provider", "precision")}
    assert summary["lesions"] == other["lesions"]
    assert summary["warnings"] == other["warnings"]
    assert summary["classes"] == [{k: v for k, v in each.items() if k != "rle"} for each in other["classes"]]


def test_a_file_alone_is_a_request(client: TestClient, image: bytes) -> None:
    """With a header that says that there is no JSON; it is answered like any other."""
    alone, other = client.post(URL, content=image, headers={JSON_BYTES: "0"}), client.post(URL, json=question(image))

    assert other.json() == alone.json()


@pytest.mark.parametrize("largest", [0, 2, 9, 10, 255])
def test_a_mask_is_an_array_of_numbers(largest: int) -> None:
    """However many classes there are."""
    labels = np.arange(6 * 50, dtype=np.uint16).reshape(6, 50) % (largest + 1)
    content = mask_content(labels.astype(np.uint8), behind=False)

    assert labels.ravel().tolist() == json.loads(b"[" + content + b"]")


@pytest.mark.requirement("INF-1")
def test_outputs_come_behind_the_json_where_that_is_asked(client: TestClient, image: bytes) -> None:
    """The mask a byte a pixel, and the summary with its length before it."""
    answer = client.post(URL, json=question(image, parameters={"binary_data_output": True}))
    size = int(answer.headers[JSON_BYTES])
    told, behind = json.loads(answer.content[:size]), answer.content[size:]
    mask, summary = told["outputs"]
    sizes = [each["parameters"]["binary_data_size"] for each in told["outputs"]]
    labels = np.frombuffer(behind[: sizes[0]], np.uint8).reshape(mask["shape"])

    assert "application/octet-stream" == answer.headers["Content-Type"]
    assert sum(sizes) == len(behind)
    assert np.array_equal(labels, mask_of(client.post(URL, json=question(image))))
    assert struct.pack("<I", sizes[1] - 4) == behind[sizes[0] :][:4]
    assert {"image", "classes", "lesions", "warnings", "notice"} == json.loads(behind[sizes[0] + 4 :]).keys()
    assert ("BYTES", [1, 1]) == (summary["datatype"], summary["shape"])


@pytest.mark.requirement("INF-1")
def test_only_wanted_outputs_are_answered(client: TestClient, image: bytes) -> None:
    """Each in the way that it is asked for."""
    behind = {"name": "mask", "parameters": {"binary_data": True}}
    one = client.post(URL, json=question(image, outputs=[behind]))
    both = client.post(URL, json=question(image, outputs=[{"name": "summary"}, behind]))
    head = json.loads(both.content[: int(both.headers[JSON_BYTES])])

    assert one.content.endswith(both.content[int(both.headers[JSON_BYTES]) :])
    assert [{"name", "datatype", "shape", "data"}, {"name", "datatype", "shape", "parameters"}] == [
        set(each) for each in head["outputs"]
    ]


def test_parameters_are_those_of_the_other_route(client: TestClient, image: bytes) -> None:
    """The network's grid, and square millimetres where a spacing is given."""
    parameters = {"mask_space": "model", "pixel_spacing_mm": "0.1,0.2"}
    answer = client.post(URL, json=question(image, parameters=parameters))
    other = segmented(client, image, **parameters)
    summary = json.loads(answer.json()["outputs"][1]["data"][0])

    assert (other["mask"]["rows"], other["mask"]["columns"]) == mask_of(answer).shape[1:]
    assert [each["area_mm2"] for each in other["classes"]] == [each["area_mm2"] for each in summary["classes"]]
    assert summary["image"]["pixel_spacing_mm"] == [0.1, 0.2]


@pytest.mark.requirement("INF-1")
def test_a_batch_is_answered_in_its_order(client: TestClient, pixels: NDArray[np.uint8]) -> None:
    """Each image as if it had come alone; those of other sizes together only where their masks have one."""
    images = [encoded(pixels), encoded(np.ascontiguousarray(pixels[::-1])), encoded(pixels // 2)]
    masks = mask_of(client.post(URL, json=question(*images)))
    alone = [mask_of(client.post(URL, json=question(image)))[0] for image in images]
    mixed = question(images[0], encoded(pixels[:, :100]))
    refused = client.post(URL, json=mixed)
    together = client.post(URL, json={**mixed, "parameters": {"mask_space": "model"}})
    summaries = client.post(URL, json={**mixed, "outputs": [{"name": "summary"}]})

    assert np.array_equal(masks, alone)
    assert not np.array_equal(masks[0], masks[1])
    assert 400 == refused.status_code
    assert "mask_space=model" in refused.json()["error"]
    assert 2 == len(mask_of(together))
    assert [160, 100] == [json.loads(each)["image"]["columns"] for each in summaries.json()["outputs"][0]["data"]]


PLANTED = "MUSTERMANN"
WRONG: dict[str, dict[str, Any]] = {
    "no input": {"inputs": []},
    "two inputs": {"inputs": 2 * with_input()["inputs"]},
    "another input": with_input(name=PLANTED),
    "another type": with_input(datatype="FP32"),
    "no shape": with_input(shape=[]),
    "no image": with_input(shape=[0], data=[]),
    "a shape of pixels": with_input(shape=[1, 512]),
    "a shape of three": with_input(shape=[1, 1, 1]),
    "too many": with_input(shape=[MAX_BATCH + 1], data=["AAAA"] * (MAX_BATCH + 1)),
    "fewer than its shape": with_input(shape=[2]),
    "no data": with_input(data=None),
    "no base64": with_input(data=[PLANTED + "!"]),
    "another encoding": with_input(parameters={"content_type": PLANTED}),
    "memory that is not shared": with_input(parameters={"shared_memory_region": PLANTED}),
    "bytes that are not there": with_input(data=None, parameters={"binary_data_size": 4}),
    "an output that is none": {**with_input(), "outputs": [{"name": PLANTED}]},
    "classes of an output": {**with_input(), "outputs": [{"name": "mask", "parameters": {"classification": 2}}]},
    "another parameter": {**with_input(), "parameters": {PLANTED: 1}},
    "another grid": {**with_input(), "parameters": {"mask_space": PLANTED}},
    "no spacing": {**with_input(), "parameters": {"pixel_spacing_mm": PLANTED}},
}


@pytest.mark.requirement("INF-2", "BAD-1")
@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_request_is_told_what_is_wrong(client: TestClient, what: str) -> None:
    """As the protocol has errors: 400, and one member; nothing of the request is repeated."""
    answer = client.post(URL, json=WRONG[what])

    assert (400, "inference_request_invalid") == (answer.status_code, code_of(answer))
    assert {"error"} == answer.json().keys()
    assert "application/json" == answer.headers["Content-Type"]
    assert PLANTED not in answer.text


@pytest.mark.requirement("INF-2")
def test_other_errors_have_their_own_status_and_the_same_form(client: TestClient, image: bytes) -> None:
    """What is no image, what is too large, unknown models and versions, and paths that are not there."""
    black = np.zeros((3600, 3600), np.uint8)
    bad = [
        (400, "image_undecodable", client.post(URL, content=image[:200], headers={JSON_BYTES: "0"})),
        (415, "image_format_unsupported", client.post(URL, content=b"GIF89a", headers={JSON_BYTES: "0"})),
        (400, "image_undecodable", client.post(URL, content=b"", headers={JSON_BYTES: "0"})),
        (400, "parameter_invalid", client.post(URL, content=b"{}", headers={JSON_BYTES: "x"})),
        (400, "inference_request_invalid", client.post(URL, content=b"{}", headers={JSON_BYTES: "3"})),
        (400, "inference_request_invalid", client.post(URL, content=b"{")),
        (413, "body_too_large", client.post(URL, content=bytes(10_000_001))),
        (413, "too_many_pixels", client.post(URL, json=question(*[encoded(black)] * 2))),
        (404, "model_unknown", client.post("/v2/models/other/infer", json=question(image))),
        (404, "version_unknown", client.post("/v2/models/efsnet/versions/9/infer", json=question(image))),
        (404, "model_unknown", client.get("/v2/models/other/ready")),
        (404, "version_unknown", client.get("/v2/models/efsnet/versions/9")),
        (404, "not_found", client.post("/v2/repository/models/efsnet/load")),
        (405, "method_not_allowed", client.get(URL)),
        (400, "parameter_invalid", client.post("/v2/repository/index", json={"ready": "x"})),
    ]

    for status, code, answer in bad:
        assert (status, code) == (answer.status_code, code_of(answer))
        assert {"error"} == answer.json().keys()
    assert bad[0][2].json()["error"].startswith("The image is truncated")
    several = client.post(URL, json=question(image, image[:200]))
    assert several.json()["error"].startswith("Image 2 of 2: The image is truncated")


@pytest.mark.requirement("BAD-4", "INF-2")
def test_a_packed_request_is_unpacked_as_far_as_it_may_be_large(client: TestClient, image: bytes) -> None:
    """As clients of the protocol pack it, by gzip or deflate; a bomb is refused, and so is what is not packed so."""
    plain = json.dumps(question(image)).encode()
    expected = mask_of(client.post(URL, content=plain))
    bomb = zlib.compress(bytes(1_000_000_000), 9)

    for encoding, packed in (("gzip", gzip.compress(plain)), ("deflate", zlib.compress(plain))):
        answer = client.post(URL, content=packed, headers={"Content-Encoding": encoding})
        assert np.array_equal(expected, mask_of(answer))
    refused = [
        client.post(URL, content=content, headers={"Content-Encoding": encoding})
        for encoding, content in (
            ("deflate", bomb),
            ("gzip", plain),
            ("gzip", gzip.compress(plain)[:-9]),
            ("br", plain),
        )
    ]
    assert ["body_too_large", "form_malformed", "form_malformed", "media_type_unsupported"] == list(
        map(code_of, refused)
    )


FAULTS = 200_000
MANY: dict[str, dict[str, Any]] = {
    "members": dict.fromkeys(map(str, range(FAULTS)), 1),
    "inputs": {"inputs": [{}] * FAULTS},
    "a shape": with_input(shape=[{}] * FAULTS),
    "data": with_input(data=[{}] * FAULTS),
    "outputs": {**with_input(), "outputs": [{}] * FAULTS},
}


@pytest.mark.requirement("BAD-4", "INF-2")
@pytest.mark.parametrize("what", MANY)
def test_many_faults_take_no_more_memory_than_one(what: str) -> None:
    """Each of them would be told of, and those of ten megabytes would take gigabytes."""
    body = json.dumps(MANY[what]).encode()

    tracemalloc.start()
    try:
        with pytest.raises(InferenceRequestInvalid):
            read(body, None)
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert most_bytes < 2 * len(body)


@pytest.mark.requirement("INF-1")
def test_metadata_says_what_goes_in_and_comes_out(client: TestClient) -> None:
    """With the protocol's names for types, and -1 where a size varies."""
    told = client.get("/v2/models/efsnet").json()
    configured = client.get("/v2/models/efsnet/versions/1/config").json()

    assert {"image": ("BYTES", [-1, 1])} == {i["name"]: (i["datatype"], i["shape"]) for i in told["inputs"]}
    assert {"mask": ("UINT8", [-1, -1, -1]), "summary": ("BYTES", [-1, 1])} == {
        o["name"]: (o["datatype"], o["shape"]) for o in told["outputs"]
    }
    assert (["1"], "onnxruntime_onnx") == (told["versions"], told["platform"])
    assert (MAX_BATCH, [1]) == (configured["max_batch_size"], configured["input"][0]["dims"])
    assert "binary_tensor_data" in client.get("/v2").json()["extensions"]
    assert [{"name": "efsnet", "version": "1", "state": "READY", "reason": ""}] == client.post(
        "/v2/repository/index", json={"ready": True}
    ).json()


@pytest.mark.requirement("INF-3")
def test_the_index_tells_which_versions_are_loaded_when_they_are_asked(
    start: Start, published_store: ModelStore, tiny_draft: Draft, tiny_contents: Mapping[str, bytes], image: bytes
) -> None:
    """Their first answer takes longer."""
    published_store.publish("efsnet", tiny_draft, tiny_contents)
    client = start()

    def index() -> list[tuple[str, str]]:
        listed = client.post("/v2/repository/index").json()
        return [(each["version"], each["reason"]) for each in listed]

    assert [("1", ""), ("2", "It is loaded when it is first asked.")] == index()
    assert client.post("/v2/models/efsnet/versions/2/infer", json=question(image)).is_success
    assert [("1", ""), ("2", "")] == index()


def test_ready_means_what_it_means_elsewhere(start: Start, tmp_path: Path) -> None:
    """503 with the reason while no version answers; alive all the same."""
    client = start(store=tmp_path / "empty", model="missing")
    ready, model = client.get("/v2/health/ready"), client.get("/v2/models/missing/ready")

    assert {"live": True} == client.get("/v2/health/live").json()
    assert [(503, "model_not_ready")] * 2 == [(each.status_code, code_of(each)) for each in (ready, model)]


@pytest.mark.requirement("INF-3", "AUD-1")
def test_requests_are_counted_and_recorded_like_others(start: Start, tmp_path: Path, image: bytes) -> None:
    """By the same metrics; of a batch each image has its line."""
    trail = tmp_path / "audit.jsonl"
    client = start(audit={"file": trail}, state=tmp_path / "state")
    assert client.post(URL, json=question(image, image)).is_success
    assert client.post("/v2/models/efsnet/versions/1/infer", json=question(image[:99])).is_client_error
    client.post("/v1/segment", content=image, headers=PNG)
    lines = [json.loads(line) for line in trail.read_text(encoding="utf-8").splitlines()]
    recorded = [line for line in lines if line["act"] == "image_segmented"]
    metrics = client.get("/metrics").text

    assert ["success", "success", "refused", "success"] == [line["outcome"] for line in recorded]
    assert 2 == len({line["image"] for line in recorded})
    assert recorded[0]["image"] == recorded[3]["image"]
    assert 'efs_requests_total{format="protocol",model="efsnet",outcome="ok",version="1"} 1.0' in metrics
    assert 'efs_requests_total{format="protocol",model="efsnet",outcome="invalid",version="1"} 1.0' in metrics
    assert 'efs_rejected_total{reason="image_undecodable"} 1.0' in metrics
    assert 'efs_stage_duration_seconds_count{model="efsnet",stage="infer",version="1"} 3.0' in metrics


@pytest.mark.requirement("INF-3", "OPS-2")
def test_a_batch_waits_in_the_queue_of_all(start: Start, gated: Any, gate: Any, image: bytes) -> None:
    """One that is larger than its room is refused as a whole, with a time, and leaves nothing behind."""
    client = start(load_version=gated, queue_capacity=1, workers=2, deadline_s=2)
    refused = client.post(URL, json=question(*[image] * 5))
    gate.opened.set()

    assert (429, "queue_full", "1") == (refused.status_code, code_of(refused), refused.headers["Retry-After"])
    assert client.post(URL, json=question(image)).is_success
