"""The specification, docs/model-format.md, is enough to read a store: this reader is written from it alone.

Of the project it uses only what makes a store to read.
"""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from model_store.seeding import SHIPPED
from model_store.signatures import RELEASE_KEYS
from model_store.store import ModelStore
from tests.model_store.conftest import Signed


def digest(content: bytes) -> str:
    """As the specification writes one."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def unsealed(path: Path) -> dict[str, Any]:
    """Section 2."""
    found = re.fullmatch(rb'\{\n  "seal": "(sha256:[0-9a-f]{64})",\n(.*)', path.read_bytes(), re.DOTALL)
    assert found, path
    assert found[1].decode() == digest(b"{\n" + found[2]), path
    content: dict[str, Any] = json.loads(b"{\n" + found[2])
    return content


def aliases(model: Path) -> dict[str, str]:
    """Section 6: the digest of the version that each alias names."""
    named: dict[str, str] = {}
    previous = None
    for number in range(1, 1_000_000):
        path = model / "promotions" / f"{number:06d}.json"
        if not path.exists():
            break
        record = unsealed(path)
        assert (record["number"], record["previous"]) == (number, previous)
        assert digest((model / "versions" / str(record["version"]) / "manifest.json").read_bytes()) == record["digest"]
        previous = digest(path.read_bytes())
        if record["action"] == "withdraw":
            del named[record["alias"]]
        else:
            named[record["alias"]] = record["digest"]
    return named


def check_files(version: Path) -> dict[str, str]:
    """Sections 1 and 3: every file by its path, with its SHA-256."""
    manifest = unsealed(version / "manifest.json")
    assert (manifest["name"], str(manifest["version"])) == (version.parents[1].name, version.name)
    listed = {path: file["sha256"] for path, file in manifest["files"].items()}
    listed["manifest.json"] = hashlib.sha256((version / "manifest.json").read_bytes()).hexdigest()
    present = {str(path.relative_to(version)): path for path in version.rglob("*") if not path.is_dir()}
    assert present.keys() - {"model.sig"} == listed.keys()
    for name, sha256 in listed.items():
        assert not present[name].is_symlink()
        assert hashlib.sha256(present[name].read_bytes()).hexdigest() == sha256, name
    return listed


def check_signature(version: Path, public_key: Path) -> None:
    """Section 5."""
    bundle = json.loads((version / "model.sig").read_bytes())
    assert hashlib.sha256(public_key.read_bytes()).hexdigest() == bundle["verificationMaterial"]["publicKey"]["hint"]
    payload = base64.b64decode(bundle["dsseEnvelope"]["payload"])
    (signature,) = bundle["dsseEnvelope"]["signatures"]
    key = serialization.load_pem_public_key(public_key.read_bytes())
    assert isinstance(key, ec.EllipticCurvePublicKey)
    message = b"DSSEv1 28 application/vnd.in-toto+json %d %b" % (len(payload), payload)
    key.verify(base64.b64decode(signature["sig"]), message, ec.ECDSA(hashes.SHA256()))
    resources = json.loads(payload)["predicate"]["resources"]
    assert {resource["name"]: resource["digest"] for resource in resources} == check_files(version)


def test_what_ships_is_as_specified() -> None:
    """Every version with its signature, and the alias."""
    for key, numbers in {"efsnet-release": (1, 2, 3, 4), "efsnet-release-2": (5,)}.items():
        for number in numbers:
            check_signature(SHIPPED / "efsnet" / "versions" / str(number), RELEASE_KEYS / f"{key}.pub")
    production = ModelStore(SHIPPED).version("efsnet", "production")
    assert {"production": str(production.digest)} == aliases(SHIPPED / "efsnet")


def test_what_is_published_promoted_and_signed_now_is_as_specified(signed: Signed) -> None:
    """In the newest schema, with another key, an alias that was ended, and a reason that overruled the gate."""
    check_signature(signed.version.path, signed.keys / "hospital.pub")
    signed.store.promote("efsnet", "night", 1, by="x", why="y")
    signed.store.withdraw("efsnet", "night", by="x", why="y")
    signed.store.promote("efsnet", "candidate", 1, by="x", why="y", force_because="z")

    names = aliases(signed.store.root / "efsnet")
    assert {"production": str(signed.version.digest), "candidate": str(signed.version.digest)} == names


def test_the_reader_does_look(signed: Signed) -> None:
    """A byte of the payload, and the reader from the specification refuses as ours does."""
    bundle = json.loads(signed.file.read_bytes())
    payload = bytearray(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    payload[len(payload) // 2] ^= 1
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    signed.file.unlink()
    signed.file.write_text(json.dumps(bundle))

    with pytest.raises(InvalidSignature):
        check_signature(signed.version.path, signed.keys / "hospital.pub")


def test_the_fingerprints_of_the_release_keys_are_the_documented_ones(repository: Path) -> None:
    """Who compares the two gets what he expects."""
    page = (repository / "docs" / "model-format.md").read_text(encoding="utf-8")

    assert all(digest(key.read_bytes()) in page for key in RELEASE_KEYS.glob("*.pub"))
