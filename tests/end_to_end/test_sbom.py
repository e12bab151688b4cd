"""The bill of materials, and the tables of the security papers."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

COPYLEFT = re.compile(r"\b[AL]?GPL", re.IGNORECASE)
UNDECLARED = {"protobuf", "pycocotools"}
EXCHANGEABLE = {"psycopg", "psycopg-binary"}
"""Under LGPL, unchanged. Both sets are told of in docs/releasing.md."""


@pytest.mark.system
@pytest.mark.requirement("OPS-8")
def test_the_bill_lists_what_the_image_holds_and_no_more(repository: Path, tmp_path: Path) -> None:
    """Every direct dependency of the service, nothing of training or tests, and no licence that binds a hospital."""
    subprocess.run([repository / "scripts" / "sbom", tmp_path], check=True)
    bill = json.loads((tmp_path / "sbom.cdx.json").read_text(encoding="utf-8"))
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in (tmp_path / "licences.md").read_text(encoding="utf-8").splitlines()[2:]
    ]
    licences = {re.sub(r"\[(.*)\].*", r"\1", name): licence for name, _, licence in rows}

    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    direct = {re.split(r"[<>=;\[ ]", text)[0] for text in project["dependencies"]}
    assert bill["bomFormat"] == "CycloneDX"
    assert direct | {"onnxruntime-openvino"} <= licences.keys()
    assert licences.keys().isdisjoint({"torch", "pytest", "monai", "playwright", "ruff"})
    assert len(bill["components"]) == len(rows)
    assert UNDECLARED == {name for name, licence in licences.items() if licence == "not declared"}
    assert EXCHANGEABLE == {name for name, licence in licences.items() if COPYLEFT.search(licence)}


def test_each_row_of_the_standard_names_a_test_that_exists(repository: Path) -> None:
    """What docs/security.md says is held, is."""
    text = (repository / "docs" / "security.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\d.]+) \|.*\| `(tests/[^`]+)` \|$", text, re.MULTILINE)

    assert len(rows) > 20
    assert [] == [row for row in rows if not (repository / row[1]).is_file()]
