"""Every error is told in one way."""

import inspect
import logging
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient

import efsnet.errors
import service.errors
from efsnet.maps import ProbabilityMap
from efsnet.predictor import Computation, Predictor
from model_store.loading import LoadedVersion, load
from model_store.manifest import MODEL
from model_store.version import Version
from service.api.problems import HEAD_TOO_LARGE, INTERNAL, KINDS, METHOD_NOT_ALLOWED, NOT_FOUND
from tests.service.conftest import PNG, Start

PATIENT = "MUSTERMANN"

NEVER_ANSWERED = {
    efsnet.errors.ArrayInvalid,  # a fault of the program, told as 500
    efsnet.errors.ImageSizeUnsupported,  # training's
    service.errors.FrameMalformed,  # closes a stream, with a code of its own
    service.errors.AuditBroken,  # the command line's
    service.errors.KeyUnknown,  # the command line's
    service.errors.InstanceGone,  # told in the note of a job
    service.errors.JobLost,  # told in the log
    service.errors.InstanceTooLarge,  # likewise
    service.errors.InstanceUnreadable,  # likewise
    service.errors.NotAnalysable,  # likewise
    service.errors.PacsRefused,  # likewise
    service.errors.PacsUnavailable,  # likewise
    service.errors.OutputsExist,  # likewise
    service.errors.ArchiveUnusable,  # the command line's
    service.errors.VideoUnusable,  # the command line's
    service.errors.SettingsInvalid,  # likewise
    service.errors.SpacingInvalid,  # becomes parameter_invalid where the parameter is checked
}


def test_every_error_that_can_reach_a_client_has_a_status() -> None:
    """No error of the image or of the service is forgotten in the table."""
    errors = {
        error
        for module in (efsnet.errors, service.errors)
        for _, error in inspect.getmembers(module, inspect.isclass)
        if not error.__subclasses__()
    }

    assert errors - NEVER_ANSWERED <= KINDS.keys()


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("POST", "/v1/segment/", 404, "not_found"),
        ("GET", "/static-offline-docs/missing.js", 404, "not_found"),
        ("GET", "/problems/missing", 404, "not_found"),
        ("GET", "/v1/segment", 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("GET", "/v1/models/missing", 404, "model_unknown"),
        ("GET", "/v1/models/efsnet/versions/77", 404, "version_unknown"),
    ],
)
def test_paths_and_methods_that_are_not_there_are_problems(
    client: TestClient, method: str, path: str, status: int, code: str
) -> None:
    """The framework's own errors look like all others, and do not repeat the path."""
    response = client.request(method, path)

    assert (status, code) == (response.status_code, response.json()["code"])
    assert "application/problem+json" == response.headers["Content-Type"]
    assert "missing" not in response.text


def test_a_refused_method_is_told_with_those_that_are_allowed(client: TestClient) -> None:
    """As HTTP asks for."""
    assert "POST" == client.get("/v1/segment").headers["Allow"]


@pytest.mark.parametrize("code", sorted({kind.code for kind in KINDS.values()}))
def test_the_type_of_a_problem_leads_somewhere(client: TestClient, code: str) -> None:
    """To what it stands for."""
    assert code == client.get(f"/problems/{code}").json()["code"]


class BrokenPredictor(Predictor):
    """A predictor with a fault in the program."""

    def run(self, tensor: NDArray[np.uint8]) -> ProbabilityMap:
        """Fails."""
        raise RuntimeError(PATIENT)


def load_broken(version: Version) -> LoadedVersion:
    """A version that was fine when it was loaded."""
    specification = version.manifest.specification
    broken = BrokenPredictor(version.read(MODEL), specification, Computation(provider="cpu"))
    return replace(load(version), predictors=(broken,))


def test_a_fault_of_the_program_is_told_without_its_text(
    start: Start, image: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither client nor log learn the error's text, which may quote the image; the log learns where it happened."""
    response = start(load_version=load_broken, workers=1).post("/v1/segment", content=image, headers=PNG)

    assert (500, "internal_error") == (response.status_code, response.json()["code"])
    assert PATIENT not in response.text + caplog.text
    assert "RuntimeError" not in response.text
    assert "RuntimeError" in caplog.text
    assert "in run" in caplog.text
    assert response.headers["X-Request-Id"] in caplog.text


@pytest.mark.parametrize("path", ["/livez", "/nowhere", "/docs", "/v1/models/efsnet"])
def test_every_answer_has_the_id_of_its_request(client: TestClient, path: str) -> None:
    """The given one, if it is one."""
    assert "trace-42.a_b" == client.get(path, headers={"X-Request-Id": "trace-42.a_b"}).headers["X-Request-Id"]


@pytest.mark.parametrize("given", ["", "two words", "x" * 65, "line\tfeed", "<b>"])
def test_an_id_that_cannot_be_logged_is_replaced(client: TestClient, given: str) -> None:
    """By a generated one."""
    answered = client.get("/livez", headers={"X-Request-Id": given}).headers["X-Request-Id"]

    assert 32 == len(answered)


def test_the_log_has_one_line_a_request_and_nothing_of_its_content(
    client: TestClient, image: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """What was asked, how it ended and how long it took; no path, file name or value that the client made up."""
    with caplog.at_level(logging.INFO, "service"):
        client.post("/v1/segment?format=png", files={"image": ("MUSTERMANN.png", image)})
        client.get("/MUSTERMANN?name=MUSTERMANN")
        client.post("/v1/segment?format=MUSTERMANN")
        client.request("MUSTERMANN", "/livez")
    lines = [dict(word.split("=") for word in record.getMessage().split()) for record in caplog.records]

    assert ["200", "404", "422", "405"] == [line["status"] for line in lines]
    assert ["/v1/segment", "unmatched", "/v1/segment", "/livez"] == [line["route"] for line in lines]
    assert ("png", "efsnet", "1") == (lines[0]["format"], lines[0]["model"], lines[0]["version"])
    assert ["not_found", "parameter_invalid", "method_not_allowed"] == [line["code"] for line in lines[1:]]
    assert all(float(line["duration_ms"]) > 0 for line in lines)
    assert "MUSTERMANN" not in caplog.text


def test_an_answer_is_not_larger_than_what_it_answers(client: TestClient, image: bytes) -> None:
    """Though each of a thousand parameters is wrong."""
    address = "/v1/segment?" + "&".join(f"p{number}=1" for number in range(1000))
    problem = client.post(address, content=image, headers=PNG).json()

    assert "parameter_invalid" == problem["code"]
    assert len(str(problem)) < len(address)


@pytest.mark.parametrize("path", ["/page/nowhere.js", "/static-offline-docs/nowhere.js", "/page/../settings.py"])
def test_a_file_that_is_not_there_is_a_problem_with_the_same_address(client: TestClient, path: str) -> None:
    """Wherever it was looked for, and never outside of that."""
    answer = client.get(path.replace("..", "%2e%2e"))

    assert (404, "/problems/not_found") == (answer.status_code, answer.json()["type"])


@pytest.mark.requirement("BAD-2")
def test_documented_codes_are_those_that_exist(repository: Path) -> None:
    """docs/api.md lists every code under its status, and no other."""
    section = (repository / "docs" / "api.md").read_text(encoding="utf-8").split("## Problems")[1].split("## ")[0]
    documented = {
        (int(status), code)
        for status, codes in re.findall(r"^\| (\d+) \| (.+) \|$", section, re.MULTILINE)
        for code in re.findall(r"`(\w+)`", codes)
    }
    others = NOT_FOUND, METHOD_NOT_ALLOWED, HEAD_TOO_LARGE, INTERNAL
    existing = {(kind.status, kind.code) for kind in (*KINDS.values(), *others)}

    assert existing - {(499, "client_gone")} == documented
