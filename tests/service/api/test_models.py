"""What is published, told to clients."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from model_store.manifest import Draft, Manifest
from model_store.seeding import SHIPPED
from model_store.signing import generate
from model_store.store import ModelStore
from tests.service.conftest import PNG, Start, app_of


def test_every_model_and_version_is_listed(
    start: Start, published_store: ModelStore, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]
) -> None:
    """With its aliases, and whether it is in memory."""
    published_store.publish("efsnet", tiny_draft, tiny_contents)
    published_store.publish("other", tiny_draft, tiny_contents)
    models = start().get("/v1/models").json()

    assert "efsnet" == models["default"]
    assert [("efsnet", [1, 2]), ("other", [1])] == [
        (model["name"], [version["version"] for version in model["versions"]]) for model in models["models"]
    ]
    assert [(["production"], True), ([], False)] == [
        (version["aliases"], version["loaded"]) for version in models["models"][0]["versions"]
    ]


def test_a_version_has_the_same_address_by_number_alias_and_digest(client: TestClient) -> None:
    """All three give the manifest as it was published."""
    by_number = client.get("/v1/models/efsnet/versions/1").json()
    store: ModelStore = app_of(client).state.versions.store

    assert store.version("efsnet", "1").manifest == Manifest.model_validate(by_number["manifest"])
    for reference in ("production", by_number["digest"]):
        assert by_number == client.get(f"/v1/models/efsnet/versions/{reference}").json()


def test_a_version_is_listed_as_loaded_once_it_was_asked_for(
    start: Start, published_store: ModelStore, tiny_draft: Draft, tiny_contents: Mapping[str, bytes], image: bytes
) -> None:
    """Versions are loaded when a request names them."""
    published_store.publish("efsnet", tiny_draft, tiny_contents)
    client = start()

    assert not client.get("/v1/models/efsnet/versions/2").json()["loaded"]
    client.post("/v1/segment?version=2", content=image, headers=PNG)
    assert client.get("/v1/models/efsnet/versions/2").json()["loaded"]


@pytest.mark.parametrize(
    ("content", "state"),
    [(None, "unsigned"), (b"garbage", "invalid"), (b"shipped", "signer_unknown")],
    ids=["none", "garbage", "of another"],
)
def test_a_version_tells_what_its_signature_is_worth(
    start: Start, published_store: ModelStore, tmp_path: Path, content: bytes | None, state: str
) -> None:
    """As it is now, whether or not the version is in memory."""
    keys = tmp_path / "keys"
    keys.mkdir()
    generate(keys / "hospital.pem")
    signature = published_store.version("efsnet", "1").path / "model.sig"
    if content:
        shipped = ModelStore(SHIPPED).version("efsnet", "1").signature() or b""
        signature.write_bytes(shipped if content == b"shipped" else content)
    client = start(trusted_keys=keys)

    assert {"state": state, "signer": None} == client.get("/v1/models/efsnet/versions/1").json()["signature"]


def test_a_trusted_signature_is_told_with_its_signer(start: Start, tmp_path: Path) -> None:
    """And that nobody looks, where that is the policy."""
    store, path = tmp_path / "new", "/v1/models/efsnet/versions/production"

    trusted = start(store=store).get(path).json()["signature"]
    assert {"state": "trusted", "signer": "efsnet-release-2"} == trusted
    unasked = start(store=store, signatures="off").get(path).json()["signature"]
    assert {"state": "not_looked_at", "signer": None} == unasked


def test_trusted_keys_that_are_lost_are_told(start: Start, published_store: ModelStore, tmp_path: Path) -> None:
    """Where they should be is told by the setting's name."""
    keys = tmp_path / "keys"
    keys.mkdir()
    generate(keys / "hospital.pem")
    client = start(trusted_keys=keys)
    (keys / "hospital.pub").unlink()
    answer = client.get("/v1/models/efsnet/versions/1")

    assert (503, "trusted_keys_unusable") == (answer.status_code, answer.json()["code"])
    assert answer.json()["detail"].startswith("EFSNET_TRUSTED_KEYS holds no trusted key")
