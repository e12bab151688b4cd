"""What the service's image is made of: a CycloneDX bill of materials, and the licences as a table for people.

    python docker/sbom.py [FOLDER]      into FOLDER, dist by default: sbom.cdx.json and licences.md

It reads the environment that it runs in, and leaves out what the service does not need: `scripts/sbom` makes it.
"""

import json
import re
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

PRODUCT = "efsnet"
EXTRAS = frozenset({"cpu", "postgresql"})
"""Of the image as it is built by default."""


def needed(name: str, extras: frozenset[str]) -> set[str]:
    """Normalised names of all installed packages that a package needs with these extras."""
    found: set[str] = set()
    waiting = [(name, extras)]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        package = waiting.pop()
        if package in seen:
            continue
        seen.add(package)
        try:
            requirements = distribution(package[0]).requires or []
        except PackageNotFoundError:
            continue  # for another machine
        found.add(normalised(package[0]))
        for text in requirements:
            requirement = Requirement(text)
            asked = package[1] or {""}
            if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in asked):
                waiting.append((requirement.name, frozenset(requirement.extras)))
    return found - {normalised(name)}


def normalised(name: str) -> str:
    """As PEP 503 compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def bill(repository: Path) -> dict[str, Any]:
    """The bill of materials of the service alone."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "all.json"
        options = ["--pyproject", str(repository / "pyproject.toml"), "--output-reproducible", "-o", str(path)]
        subprocess.run([sys.executable, "-m", "cyclonedx_py", "environment", *options], check=True)  # noqa: S603
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    names = needed(PRODUCT, EXTRAS)
    content["components"] = [each for each in content["components"] if normalised(each["name"]) in names]
    kept = {each["bom-ref"] for each in content["components"]} | {content["metadata"]["component"]["bom-ref"]}
    content["dependencies"] = [
        each | ({"dependsOn": sorted(kept.intersection(each["dependsOn"]))} if "dependsOn" in each else {})
        for each in content["dependencies"]
        if each["ref"] in kept
    ]
    return content


def licence(component: dict[str, Any]) -> str:
    """What a package says of its licence: an SPDX expression, or names."""
    told = []
    for each in component.get("licenses", []):
        given = each.get("license", {})
        told.append(
            each.get("expression")
            or given.get("id")
            or given.get("name", "").removeprefix("License :: OSI Approved :: ")
        )
    short = [text.splitlines()[0][:60] for text in dict.fromkeys(told) if text]
    return "; ".join(short) or "not declared"


def table(content: dict[str, Any]) -> str:
    """The licences as Markdown."""
    rows = sorted((normalised(each["name"]), each["version"], licence(each)) for each in content["components"])
    lines = [f"| [{name}](https://pypi.org/project/{name}/) | {version} | {text} |" for name, version, text in rows]
    return "\n".join(["| package | version | licence |", "|---|---|---|", *lines, ""])


def main() -> None:
    """Writes both."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "dist")
    folder.mkdir(parents=True, exist_ok=True)
    content = bill(Path(__file__).resolve().parent.parent)
    (folder / "sbom.cdx.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    (folder / "licences.md").write_text(table(content), encoding="utf-8")
    sys.stdout.write(f"{folder}/sbom.cdx.json and licences.md: {len(content['components'])} packages\n")


if __name__ == "__main__":
    main()
