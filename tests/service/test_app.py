"""The application as a whole: its paths, its description, its pages."""

import re
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.service.conftest import Start

# What stands in the pages for the browser to load.
LINK = re.compile(r"""(?:href|src|url|spec-url)\s*[=:]\s*["']([^"']+)["']""")


@pytest.fixture(scope="session")
def description(client: TestClient) -> Any:
    """The OpenAPI document."""
    return client.get("/openapi.json").json()


def operations(description: Any) -> dict[str, Any]:
    """Each operation by its method and path."""
    return {
        f"{method} {path}": operation
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    }


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
@pytest.mark.parametrize("root_path", ["", "/hospital/efsnet"])
@pytest.mark.parametrize("stripped", [True, False])
def test_the_documents_need_no_internet(start: Start, page: str, root_path: str, *, stripped: bool) -> None:
    """All they load is served by the service: also below a path, whether or not the proxy in front takes that off."""
    client = start(root_path=root_path)
    address = page if stripped else root_path + page
    links = LINK.findall(client.get(address).text)

    assert len(links) >= 3
    for link in links:
        assert link.startswith(f"{root_path}/")
        assert 200 == client.get(link.removeprefix(root_path) if stripped else link).status_code


def test_the_start_page_leads_to_the_documents(start: Start) -> None:
    """Also below a path."""
    answer = start(root_path="/efsnet").get("/efsnet/", follow_redirects=False)

    assert (307, "/efsnet/docs") == (answer.status_code, answer.headers["Location"])


def test_every_problem_is_described_as_one(description: Any) -> None:
    """Each operation lists its problems with their media type; and what is referred to exists."""
    for name, operation in operations(description).items():
        assert "500" in operation["responses"], name
        for status, response in operation["responses"].items():
            if int(status) >= 400 and (status, "dicom-web" in name) != ("409", True):  # its form is STOW-RS's
                assert ["application/problem+json"] == list(response["content"]), name
    referred = set(re.findall(r"#/components/schemas/(\w+)", str(description)))

    assert referred == description["components"]["schemas"].keys()


def test_the_upload_is_described_as_form_and_as_body(description: Any) -> None:
    """So that /docs offers a file to choose, either way."""
    body = description["paths"]["/v1/segment"]["post"]["requestBody"]
    form = body["content"].pop("multipart/form-data")["schema"]

    assert body["required"]
    assert "binary" == form["properties"]["image"]["format"]
    images = {"image/png", "image/jpeg", "image/bmp", "image/tiff"}
    assert images | {"application/dicom", "application/octet-stream"} == body["content"].keys()
    assert {"binary"} == {content["schema"]["format"] for content in body["content"].values()}


def test_every_operation_and_parameter_is_explained(description: Any) -> None:
    """In words, for people who try it in the browser."""
    for name, operation in operations(description).items():
        assert operation["description"], name
    for parameter in description["paths"]["/v1/segment"]["post"]["parameters"]:
        assert len(parameter["description"].split()) > 3
