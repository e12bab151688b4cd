"""The application as a whole: its paths, its description, its pages."""

import re
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from efsnet.errors import ImageUndecodable, TooManyPixels
from service import errors
from service.api.problems import INTERNAL, KINDS, PARAMETER_INVALID
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
@pytest.mark.requirement("UI-1")
def test_the_documents_need_no_internet(start: Start, page: str, root_path: str, *, stripped: bool) -> None:
    """All they load is served by the service: also below a path, whether or not the proxy in front takes that off."""
    client = start(root_path=root_path)
    address = page if stripped else root_path + page
    links = LINK.findall(client.get(address).text)

    assert len(links) >= 3
    for link in links:
        assert link.startswith(f"{root_path}/")
        assert 200 == client.get(link.removeprefix(root_path) if stripped else link).status_code


def test_the_page_and_all_that_it_loads_are_served(start: Start) -> None:
    """Also below a path: what it refers to is relative, and nothing comes from elsewhere."""
    client = start(root_path="/efsnet")
    page = client.get("/efsnet/")
    referred = re.findall(r'(?:href|src)="([^"]+)"', page.text)

    assert 200 == page.status_code
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "docs" in referred
    for link in referred:
        assert not link.startswith(("http", "/"))
        assert 200 == client.get(f"/efsnet/{link}").status_code, link


def test_the_page_weighs_little(repository: Path) -> None:
    """200 kB at most, without images of patients."""
    files = [file for file in (repository / "service" / "page").rglob("*") if file.is_file()]

    assert 5 < len(files)
    assert sum(file.stat().st_size for file in files) <= 200_000


@pytest.mark.requirement("UI-2")
def test_the_page_says_everything_in_both_languages(repository: Path) -> None:
    """The same words, each of them used, and none missing."""
    folder = repository / "service" / "page"
    catalogues = [
        set(re.findall(r"(?:^|[\s{,])(\w+): \"", (folder / "words" / f"{language}.js").read_text(encoding="utf-8")))
        for language in ("en", "es")
    ]
    scripts = "".join(file.read_text(encoding="utf-8") for file in folder.glob("*.*s"))
    asked = set(re.findall(r'data-words="(\w+)"', (folder / "index.html").read_text(encoding="utf-8")))
    asked |= set(re.findall(r'word\("(\w+)"', scripts))

    assert catalogues[0] == catalogues[1]
    assert asked <= catalogues[0]


def test_problems_have_spanish_titles(repository: Path) -> None:
    """Of those that there are, and of all that an upload may meet."""
    text = (repository / "service" / "page" / "words" / "problems_es.js").read_text(encoding="utf-8")
    codes = set(re.findall(r"^  (\w+): \"", text, re.MULTILINE))
    known = {kind.code for kind in (*KINDS.values(), PARAMETER_INVALID, INTERNAL)}

    assert codes <= known
    for kind in (errors.BodyEmpty, errors.NotUltrasound, ImageUndecodable, TooManyPixels, errors.QueueFull):
        assert KINDS[kind].code in codes


def test_every_problem_is_described_as_one(description: Any) -> None:
    """Each operation lists its problems with their media type; and what is referred to exists."""
    for name, operation in operations(description).items():
        assert "500" in operation["responses"], name
        for status, response in operation["responses"].items():
            if int(status) >= 400 and (status, "dicom-web" in name) != ("409", True):  # its form is STOW-RS's
                of_protocol = name.split()[1].startswith("/v2")  # which has a form of its own
                told_as = "application/json" if of_protocol else "application/problem+json"
                assert [told_as] == list(response["content"]), name
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
