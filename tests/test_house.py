"""What files at the top of the project say of each other."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings


def project_version(repository: Path) -> str:
    """The version in pyproject.toml."""
    return str(tomllib.loads((repository / "pyproject.toml").read_text())["project"]["version"])


@pytest.mark.parametrize("name", ["docker-compose.yml", "docker-compose.gpu.yml"])
def test_images_are_tagged_with_the_version_of_the_project(repository: Path, name: str) -> None:
    """An upgrade that forgets a tag would start the old image."""
    tags = re.findall(r"image: efsnet-[a-z-]+:(\S+)", (repository / name).read_text())

    assert [project_version(repository)] * 3 == tags


def test_the_follower_of_compose_is_the_service_s_image_with_another_command(repository: Path) -> None:
    """Locked up as its neighbours are, with nothing but the store to write to; its command line is one."""
    services = yaml.safe_load((repository / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    follower, service = services["follower"], services["service"]
    variables = {"FOLLOW_REPOSITORY": "nowhere", "FOLLOW_OPTIONS": "--once --plain-http"}
    words = shlex.split(re.sub(r"\$\{(\w+):-\}", lambda found: variables[found[1]], follower["command"]))
    hardened = ("image", "read_only", "tmpfs", "cap_drop", "security_opt", "pids_limit")
    refused = subprocess.run(
        [sys.executable, *follower["entrypoint"][1:], *words], capture_output=True, text=True, check=False
    )

    assert [service[name] for name in hardened] == [follower[name] for name in hardened]
    assert {"store:/store"} == {volume for volume in follower["volumes"] if not volume.endswith(":ro")}
    assert {"ports", "expose"}.isdisjoint(follower)
    assert not {*follower["networks"]} & {*service["networks"]}
    assert (1, "Error: A repository is HOST[:PORT]/PATH") == (refused.returncode, refused.stderr[:39])


@pytest.mark.parametrize("name", ["grafana/dashboard.json", "prometheus/alerts.yml"])
@pytest.mark.requirement("OPS-5")
def test_every_metric_that_is_drawn_or_watched_exists(repository: Path, tmp_path: Path, name: str) -> None:
    """A renamed metric would leave a panel empty and an alert silent."""
    text = (repository / "docker" / name).read_text()
    used = set(re.findall(r"\b(?:efs|http_server|process)_[a-z_]+", text))
    described = TestClient(create_app(Settings(store=tmp_path))).get("/metrics").text
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", described, re.MULTILINE))
    series = set(kinds) | {
        metric + suffix
        for metric, kind in kinds.items()
        if kind == "histogram"
        for suffix in ("_bucket", "_sum", "_count")
    }

    assert used
    assert set() == used - series


def test_dashboard_is_json_that_names_its_data_source(repository: Path) -> None:
    """Each panel asks the data source that is provisioned."""
    dashboard = json.loads((repository / "docker" / "grafana" / "dashboard.json").read_text())

    assert {"prometheus"} == {panel["datasource"]["uid"] for panel in dashboard["panels"]}


def test_every_link_between_documents_leads_somewhere(repository: Path) -> None:
    """Relative links and pictures of all documents exist."""
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=repository, check=True, capture_output=True, text=True)
    documents = list(map(Path, listed.stdout.splitlines()))

    assert documents
    assert [] == broken_links(repository, documents)


def test_every_link_of_a_bundle_leads_somewhere(repository: Path, tmp_path: Path) -> None:
    """A site without internet gets the documents that its README names."""
    copied = re.findall(
        r"^cp (?:-r )?(.+) \"\$folder/\"$", (repository / "scripts" / "bundle").read_text(), re.MULTILINE
    )
    for name in " ".join(copied).split():
        (tmp_path / name).symlink_to(repository / name)
    documents = [path.relative_to(tmp_path) for path in (*tmp_path.glob("*.md"), *(tmp_path / "docs").rglob("*.md"))]

    assert Path("README.md") in documents
    assert [] == broken_links(tmp_path, documents)


def broken_links(root: Path, documents: Iterable[Path]) -> list[str]:
    """Relative links and pictures of these documents below a folder that lead nowhere in it."""
    return [
        f"{document}: {target}"
        for document in documents
        for target in re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", (root / document).read_text())
        if not Path(os.path.normpath(root / document.parent / target)).exists()
    ]


def test_every_metric_is_in_the_documents(repository: Path, tmp_path: Path) -> None:
    """With its kind and what it tells; and no metric is there that is gone."""
    told = TestClient(create_app(Settings(store=tmp_path))).get("/metrics").text
    helps = dict(re.findall(r"^# HELP (\S+) (.+)$", told, re.MULTILINE))
    existing = {
        (name, kind, helps[name])
        for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", told, re.MULTILINE)
        if not name.endswith("_created") and not name.startswith("process_")
    }
    text = (repository / "docs" / "operations.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(efs_\w+|http_\w+)` \| (\w+) \| (.+) \|$", text, re.MULTILINE)

    assert existing == set(rows)


def test_every_alert_is_in_the_documents(repository: Path) -> None:
    """With what to do about it."""
    alerts = (repository / "docker" / "prometheus" / "alerts.yml").read_text(encoding="utf-8")
    text = (repository / "docs" / "operations.md").read_text(encoding="utf-8")
    table = text.partition("## Alerts")[2].partition("## Drift")[0]

    assert set(re.findall(r"- alert: (\w+)", alerts)) == set(re.findall(r"`([A-Z][a-z]\w+)`", table))
