"""What the API says of itself in `/openapi.json`."""

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator
from pydantic import ValidationError
from starlette.testclient import TestClient

from service.api.store_schemas import AliasChange


def references(part: Any) -> Iterator[str]:
    """All that a part of the document refers to."""
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from references(each)


def test_all_that_is_referred_to_is_there(client: TestClient) -> None:
    """In the document itself: no reader has to look elsewhere."""
    document = client.get("/openapi.json").json()
    there = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}

    assert {*references(document)} <= there


def test_a_decision_names_a_version_by_its_number(client: TestClient) -> None:
    """Numbers begin at 1, and are no text: the schema says it, and so it is."""
    schema = client.get("/openapi.json").json()["components"]["schemas"]["AliasChange"]["properties"]["version"]

    assert ("integer", 1) == (schema["type"], schema["minimum"])
    with pytest.raises(ValidationError, match="without quotation marks"):
        AliasChange.model_validate({"version": "1", "reason": "why", "expected_current": None})
    assert 2 == AliasChange.model_validate({"version": 2.0, "reason": "why", "expected_current": None}).version


def test_an_order_of_an_instance_without_its_series_is_none(client: TestClient) -> None:
    """The schema says it too."""
    document = client.get("/openapi.json").json()
    order = Draft202012Validator(document["components"]["schemas"]["JobOrder"])

    assert order.is_valid({"study_instance_uid": "1.2", "series_instance_uid": "1.3", "sop_instance_uid": "1.4"})
    assert order.is_valid({"study_instance_uid": "1.2", "series_instance_uid": None, "sop_instance_uid": None})
    assert not order.is_valid({"study_instance_uid": "1.2", "series_instance_uid": None, "sop_instance_uid": "1.4"})
    assert not order.is_valid({"study_instance_uid": "1.2", "sop_instance_uid": "1.4"})
    assert not order.is_valid({"study_instance_uid": "01.2"})
