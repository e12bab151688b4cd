"""The Helm chart and the KServe example, rendered by Helm and held against Kubernetes' schemas and the service."""

import copy
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from jsonschema_rs import Draft202012Validator

from service.keys import KeyRing
from service.settings import knobs
from tests.end_to_end.kubernetes import Helm, Manifest, Schemas, helm, schemas
from tests.service.conftest import encoded
from tests.service.dicom.instances import squares
from tests.service.processes import started

SHARED = {"persistent": True, "accessMode": "ReadWriteMany"}
VALUES: Mapping[str, Mapping[str, Any]] = {
    "one pod": {"openToNetwork": True},
    "nothing kept": {"openToNetwork": True, "store": {"persistent": False}, "state": {"persistent": False}},
    "an issuer": {"settings": {"EFSNET_OIDC_ISSUER": "https://issuer.example", "EFSNET_OIDC_AUDIENCE": "efsnet"}},
    "everything": {
        "image": {"repository": "registry.example/efsnet", "digest": f"sha256:{64 * 'a'}", "pullSecrets": ["login"]},
        "keys": {"existingSecret": "efsnet-keys"},
        "settings": {"EFSNET_QUEUE_CAPACITY": "64"},
        "secretSettings": {"existingSecret": "efsnet-secrets"},
        "files": [
            {"name": "ca", "configMap": "hospital-ca", "mountPath": "/etc/efsnet/pacs"},
            {"name": "signers", "secret": "signers", "mountPath": "/etc/efsnet/signers"},
        ],
        "store": {**SHARED, "storageClassName": "nfs"},
        "state": {**SHARED, "existingClaim": "mine"},
        "autoscaling": {"enabled": True},
        "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "tls", "annotations": {"a": "b"}},
        "networkPolicy": {
            "dns": True,
            "egress": [{"to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}], "ports": [{"port": 8042}]}],
        },
        "monitoring": {"serviceMonitor": True, "alerts": True, "dashboard": True, "labels": {"release": "prometheus"}},
        "podAnnotations": {"a": "b"},
        "podLabels": {"c": "d"},
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
    },
    "GPUs": {
        "openToNetwork": True,
        "replicaCount": 2,
        "store": SHARED,
        "state": {"persistent": False},
        "gpu": {"enabled": True, "nodeSelector": {"nvidia.com/gpu.present": "true"}, "runtimeClassName": "nvidia"},
        "nodeSelector": {"zone": "a"},
    },
    "names that YAML takes for something else": {
        "openToNetwork": True,
        "nameOverride": "2026",
        "fullnameOverride": "efsnet",
        "image": {"pullSecrets": ["007"]},
        "files": [
            {"name": "1", "secret": "2", "mountPath": "/a: b"},
            {"name": "3", "configMap": "4", "mountPath": "/4"},
        ],
        "store": {"storageClassName": "1"},
        "state": {"existingClaim": "2"},
        "ingress": {"enabled": True, "host": "*.hospital.example", "className": "no", "tlsSecret": "1", "path": "/#"},
        "monitoring": {"serviceMonitor": True, "namespace": "5"},
        "priorityClassName": "1",
    },
}
CLUSTERS = ("1.25", "1.37")
"""The oldest version that the chart takes, and the newest whose schemas are to be had."""

OF_THE_OPERATOR = {"ServiceMonitor", "PrometheusRule"}
"""Kinds that Kubernetes itself does not know."""


@pytest.fixture(scope="module")
def chart(repository: Path) -> Path:
    """The chart."""
    return repository / "docker" / "helm"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory, chart: Path) -> Helm:
    """Helm."""
    return helm(tmp_path_factory.mktemp("helm"), chart)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Schemas:
    """Kubernetes' schemas."""
    return schemas(tmp_path_factory.mktemp("schemas"))


@pytest.fixture
def rendered(program: Helm, tmp_path: Path) -> Mapping[str, Mapping[str, Manifest]]:
    """What each set of values makes: the manifests by their kind, and those of another name than the chart's by it."""
    return {
        what: {
            each["kind"] if each["metadata"]["name"] == "efsnet" else each["metadata"]["name"]: each
            for each in program.rendered(values, tmp_path)
        }
        for what, values in VALUES.items()
    }


def pod(manifests: Mapping[str, Manifest]) -> Manifest:
    """The specification of the pods."""
    specification: Manifest = manifests["Deployment"]["spec"]["template"]["spec"]
    return specification


def probes(container: Manifest) -> set[str]:
    """The paths that Kubernetes asks."""
    return {container[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}


def test_the_chart_is_of_this_version(repository: Path, chart: Path) -> None:
    """And takes the image of it."""
    version = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    told = yaml.safe_load((chart / "Chart.yaml").read_text(encoding="utf-8"))

    assert version == told["appVersion"] == told["version"]


def test_every_value_is_told_of(chart: Path) -> None:
    """The schema has each value of the chart and no other, and each group says what it is for."""
    text = (chart / "values.yaml").read_text(encoding="utf-8")
    values = yaml.safe_load(text)
    schema = yaml.safe_load((chart / "values.schema.json").read_text(encoding="utf-8"))
    assert Draft202012Validator(schema).is_valid(values)
    assert values.keys() == schema["properties"].keys() - {"global"}
    for name, value in values.items():
        inner = schema["properties"][name].get("properties")
        assert inner is None or value.keys() == inner.keys(), name
    blocks = [block for block in text.split("\n\n") if ":" in block]
    assert [] == [block for block in blocks if not any(line.lstrip().startswith("#") for line in block.splitlines())]


@pytest.mark.system
@pytest.mark.requirement("INF-4")
@pytest.mark.parametrize("what", VALUES)
def test_what_is_rendered_is_what_kubernetes_takes(program: Helm, known: Schemas, tmp_path: Path, what: str) -> None:
    """Helm's strict lint passes, and no manifest has a member of an unknown name or type, to old clusters and new."""
    linted = program.run("lint", VALUES[what], tmp_path)
    manifests = program.rendered(VALUES[what], tmp_path)
    own = [each for each in manifests if each["kind"] not in OF_THE_OPERATOR]

    assert 0 == linted.returncode, linted.stdout
    assert len(own) > 3
    assert [] == [fault for each in own for version in CLUSTERS for fault in known.faults(each, version)]
    wrong = next(copy.deepcopy(each) for each in own if each["kind"] == "Deployment")
    wrong["spec"]["template"]["spec"]["terminatoin"] = wrong["spec"].pop("selector")
    assert 2 == len(known.faults(wrong, CLUSTERS[0]))


@pytest.mark.system
@pytest.mark.requirement("INF-4", "OPS-7")
def test_pods_have_no_rights(rendered: Mapping[str, Mapping[str, Manifest]]) -> None:
    """As the restricted Pod Security Standard asks, and no token; nothing of Kubernetes' own looks like a setting."""
    for manifests in rendered.values():
        specification = pod(manifests)
        (container,) = specification["containers"]
        security = container["securityContext"]
        assert {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}}.items() <= (
            specification["securityContext"].items()
        )
        assert security["readOnlyRootFilesystem"]
        assert not security["allowPrivilegeEscalation"]
        assert ["ALL"] == security["capabilities"]["drop"]
        assert specification["automountServiceAccountToken"] is False
        assert specification["enableServiceLinks"] is False


@pytest.mark.system
@pytest.mark.requirement("INF-4")
def test_the_chart_does_as_its_values_say(rendered: Mapping[str, Mapping[str, Manifest]], repository: Path) -> None:
    """Volumes, several pods, autoscaling by a metric that there is, the way in and out, monitoring, GPUs."""
    one, nothing, everything, gpus = (rendered[what] for what in ("one pod", "nothing kept", "everything", "GPUs"))
    assert ("Recreate", 1) == (one["Deployment"]["spec"]["strategy"]["type"], one["Deployment"]["spec"]["replicas"])
    assert {"efsnet-store", "efsnet-state"} <= one.keys()
    assert {"emptyDir"} == {*pod(nothing)["volumes"][0]} - {"name"}
    assert not {"efsnet-store", "HorizontalPodAutoscaler", "PodDisruptionBudget", "Ingress"} & nothing.keys()
    assert {"policyTypes": ["Ingress", "Egress"], "egress": []}.items() <= one["NetworkPolicy"]["spec"].items()
    assert "RollingUpdate" == everything["Deployment"]["spec"]["strategy"]["type"]
    assert "replicas" not in everything["Deployment"]["spec"]
    assert {"efsnet-store", "efsnet-dashboard"} == {name for name in everything if name.startswith("efsnet-")}
    metric = everything["HorizontalPodAutoscaler"]["spec"]["metrics"][0]["pods"]
    assert ("efs_queue_depth", "4") == (metric["metric"]["name"], metric["target"]["averageValue"])
    assert 1 == everything["PodDisruptionBudget"]["spec"]["maxUnavailable"]
    assert 2 == len(everything["NetworkPolicy"]["spec"]["egress"])
    assert "/metrics" == everything["ServiceMonitor"]["spec"]["endpoints"][0]["path"]
    alerts = yaml.safe_load((repository / "docker" / "prometheus" / "alerts.yml").read_text(encoding="utf-8"))
    assert alerts == everything["PrometheusRule"]["spec"]
    assert pod(everything)["containers"][0]["image"].endswith(f"@sha256:{64 * 'a'}")
    (container,) = pod(gpus)["containers"]
    assert {"cpu": "2", "memory": "2Gi", "nvidia.com/gpu": 1} == container["resources"]["limits"]
    assert {"zone": "a", "nvidia.com/gpu.present": "true"} == pod(gpus)["nodeSelector"]
    assert "efsnet-service-gpu:0.1.0" == container["image"]
    assert "cuda" == gpus["ConfigMap"]["data"]["EFSNET_PROVIDER"]


@pytest.mark.system
@pytest.mark.requirement("INF-4", "OPS-4")
def test_a_pod_has_the_time_to_finish(program: Helm, tmp_path: Path) -> None:
    """What runs has its deadline, and the cluster its time to hear that no more should come."""
    values = {"openToNetwork": True, "deadlineSeconds": 90, "drainSeconds": 25}
    manifests = {each["kind"]: each for each in program.rendered(values, tmp_path)}
    settings = manifests["ConfigMap"]["data"]

    assert pod(manifests)["terminationGracePeriodSeconds"] > 90 + 25
    assert ("90", "25") == (settings["EFSNET_DEADLINE_S"], settings["EFSNET_DRAIN_S"])


@pytest.mark.system
@pytest.mark.requirement("INF-4", "ACC-2")
@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({}, "Who may use the service?"),
        ({"openToNetwork": True, "keys": {"existingSecret": "keys"}}, "set one of them"),
        ({"openToNetwork": True, "replicaCount": 2}, "ReadWriteMany"),
        ({"openToNetwork": True, "autoscaling": {"enabled": True}}, "ReadWriteMany"),
        ({"openToNetwork": True, "replicaCount": 2, "store": {**SHARED, "existingClaim": "mine"}}, "state.accessMode"),
        ({"openToNetwork": True, "settings": {"EFSNET_PORT": "80"}}, "set by the chart itself"),
        ({"openToNetwork": True, "settings": {"EFSNET_WORKERS": 2}}, "want string"),
        ({"openToNetwork": True, "replicas": 2}, "additional properties 'replicas' not allowed"),
        ({"openToNetwork": True, "files": [{"name": "a", "mountPath": "/a"}]}, "oneOf"),
    ],
)
def test_values_that_cannot_be_are_refused(program: Helm, tmp_path: Path, values: Mapping[str, Any], why: str) -> None:
    """When the chart is rendered, with the reason."""
    done = program.run("template", values, tmp_path)

    assert 0 != done.returncode
    assert why in done.stderr


@pytest.mark.system
def test_the_notes_say_how_to_go_on(program: Helm, tmp_path: Path) -> None:
    """And who may ask."""
    notes = program.run("notes", VALUES["everything"], tmp_path).stdout

    assert "rollout status deployment/efsnet" in notes
    assert "key of the Secret efsnet-keys" in notes


@pytest.mark.system
@pytest.mark.requirement("INF-4")
def test_the_service_starts_with_what_the_chart_sets(
    rendered: Mapping[str, Mapping[str, Manifest]], tmp_path: Path
) -> None:
    """Its settings are settings, its probes' paths answer, and the Secret's keys are the ones that it asks for."""
    manifests = rendered["everything"]
    (container,) = pod(manifests)["containers"]
    settings = dict(manifests["ConfigMap"]["data"])
    assert {settings.pop(name) for name in ("EFSNET_HOST", "EFSNET_PORT")} == {"0.0.0.0", "8000"}  # noqa: S104
    assert settings.keys() <= knobs().keys()
    assert [{"name": "http", "containerPort": 8000}] == container["ports"]
    mounted = {each["mountPath"] for each in container["volumeMounts"]}
    assert {str(Path(settings[name]).parent) for name in ("EFSNET_KEYS",)} | {"/store", "/state", "/tmp"} <= mounted  # noqa: S108
    keys = tmp_path / "keys" / "keys.json"
    key, _ = KeyRing(keys).create("ward", ["infer"], 1)
    folders = {"EFSNET_STORE": tmp_path / "store", "EFSNET_STATE": tmp_path / "state", "EFSNET_KEYS": keys}
    given = {**settings, **{name: str(folder) for name, folder in folders.items()}, "EFSNET_DRAIN_S": "0"}
    with started(tmp_path / "log", **{name.removeprefix("EFSNET_"): value for name, value in given.items()}) as service:
        answers = [httpx2.get(service.address + path, timeout=60).status_code for path in probes(container)]
        image = encoded(squares(128, 160))
        refused, answered = service.post(image), service.post(image, Authorization=f"Bearer {key}")
        metrics = httpx2.get(f"{service.address}/metrics", timeout=60).text

    assert {200} == {*answers}
    assert (401, 200) == (refused.status_code, answered.status_code)
    assert "\nefs_queue_depth 0" in metrics


def _predictor(repository: Path) -> Manifest:
    text = (repository / "docker" / "kserve" / "inference-service.yaml").read_text(encoding="utf-8")
    described: Manifest = yaml.safe_load(text)
    predictor: Manifest = described["spec"]["predictor"]
    return predictor


@pytest.mark.system
@pytest.mark.requirement("INF-4")
def test_the_kserve_example_is_a_pod_that_answers(
    repository: Path, known: Schemas, program: Helm, tmp_path: Path
) -> None:
    """A predictor is a pod's specification with bounds, here with the rights and the time of the chart's pods."""
    predictor = _predictor(repository)
    specification = {name: value for name, value in predictor.items() if name not in ("minReplicas", "maxReplicas")}
    (container,) = specification["containers"]
    settings = {each["name"]: each["value"] for each in container["env"]}
    protocol = settings.pop("PROTOCOL")
    as_pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "predictor"}, "spec": specification}
    manifests = {each["kind"]: each for each in program.rendered(VALUES["one pod"], tmp_path)}
    other, (others,) = pod(manifests), pod(manifests)["containers"]

    assert [] == [fault for version in CLUSTERS for fault in known.faults(as_pod, version)]
    assert other["terminationGracePeriodSeconds"] == specification["terminationGracePeriodSeconds"]
    assert others["securityContext"] == container["securityContext"]
    assert specification["enableServiceLinks"] is False
    folders = {"store": str(tmp_path / "store"), "state": str(tmp_path / "state"), "drain_s": "0"}
    assert "v2" == protocol
    assert settings.keys() <= knobs().keys()
    given = {name.removeprefix("EFSNET_").lower(): value for name, value in settings.items() if "PORT" not in name}
    with started(tmp_path / "log", **{**given, **folders}) as service:
        assert {200} == {httpx2.get(service.address + path, timeout=60).status_code for path in probes(container)}
