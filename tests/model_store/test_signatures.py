"""Signatures: who vouches for a version is found out, and nothing else passes for it."""

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from model_store.errors import (
    DigestMismatch,
    FileUnexpected,
    KeyUnusable,
    SignatureInvalid,
    SignatureUntrusted,
    SignerUnknown,
    Unsigned,
)
from model_store.loading import load
from model_store.manifest import Draft, Manifest
from model_store.seeding import SHIPPED, seed
from model_store.signatures import RELEASE_KEYS, Signature, Trust, TrustedKey, TrustedKeys, verify
from model_store.store import ModelStore
from model_store.version import Version
from tests.model_store.conftest import Signed

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


def public(key: PublicKey) -> bytes:
    """The key as a PEM file."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def overwrite(path: Path, content: bytes) -> None:
    """Writes to a read-only file."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def openssf(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command line of the other project, as anybody has it."""
    return subprocess.run(
        [sys.executable, "-m", "model_signing", *arguments], capture_output=True, text=True, check=False
    )


# ---------------------------------------------------------------------------- who vouches


def test_a_signature_names_its_key(signed: Signed) -> None:
    """By the name of the trusted file, and by the digest that `sha256sum` gives for it."""
    pem = (signed.keys / "hospital.pub").read_bytes()

    assert signed.signature == verify(signed.version, signed.trusted)
    assert f"hospital, sha256:{TrustedKey.parse('hospital.pub', pem).fingerprint.hex}" == str(signed.signature)


@pytest.mark.requirement("VER-7")
def test_what_is_signed_here_the_other_project_verifies(signed: Signed) -> None:
    """Its command line, unchanged; and it sees a changed file, so that it did look."""
    check = ("verify", "key", "--public_key", signed.keys / "hospital.pub", "--signature", signed.file)
    assert "Verification succeeded" in openssf(*check, signed.version.path).stdout

    overwrite(signed.version.path / "MODEL_CARD.md", b"# Better\n")

    assert 0 != openssf(*check, signed.version.path).returncode


def test_what_the_other_project_signs_is_verified_here(signed: Signed) -> None:
    """With a key that was made elsewhere."""
    signed.file.unlink()
    key = ("--private_key", signed.private_key, "--signature", signed.file)
    assert 0 == openssf("sign", "key", *key, signed.version.path).returncode

    assert signed.signature == verify(signed.version, signed.trusted)


def test_a_signature_that_leaves_files_out_is_none(signed: Signed) -> None:
    """The other project signs less than everything if it is told to; here the graph must be among it."""
    model = signed.version.path / "model.onnx"
    key = ("--private_key", signed.private_key, "--signature", signed.file, "--ignore-paths", model)
    signed.file.unlink()
    assert 0 == openssf("sign", "key", *key, signed.version.path).returncode

    with pytest.raises(SignatureInvalid, match=r"'model\.onnx'"):
        verify(signed.version, signed.trusted)


@pytest.mark.parametrize(("number", "signer"), [("1", "efsnet-release"), ("production", "efsnet-release-2")])
def test_what_ships_is_signed_with_a_key_that_ships(tmp_path: Path, number: str, signer: str) -> None:
    """In the store that a first start makes, too."""
    seed(tmp_path)

    for store in (ModelStore(SHIPPED), ModelStore(tmp_path)):
        signature = verify(store.version("efsnet", number), TrustedKeys.read(RELEASE_KEYS))
        assert signer == signature.signer


# ---------------------------------------------------------------------------- loading


def test_without_being_asked_nobody_vouches(signed: Signed) -> None:
    """A broken signature does not matter then."""
    overwrite(signed.file, b"nonsense")
    loaded = load(signed.version)

    assert (None, None) == (loaded.signature, loaded.doubt)


@pytest.mark.parametrize("policy", ["warn", "require"])
def test_a_loaded_version_says_who_signed_it(signed: Signed, policy: str) -> None:
    """Where that is asked for."""
    loaded = load(signed.version, trust=Trust("warn" if policy == "warn" else "require", signed.trusted))

    assert (signed.signature, None) == (loaded.signature, loaded.doubt)


def unsign(signed: Signed) -> None:
    """Takes the signature away."""
    signed.file.unlink()


def sign_with_another_key(signed: Signed) -> None:
    """As an employee of somebody else would."""
    key = ec.generate_private_key(ec.SECP256R1())
    envelope, bundle = _parts(signed)
    payload = base64.b64decode(envelope["payload"])
    kind = b"application/vnd.in-toto+json"
    message = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    envelope["signatures"][0]["sig"] = base64.b64encode(key.sign(message, ec.ECDSA(hashes.SHA256()))).decode()
    pem = TrustedKey.parse("x", public(key.public_key()))
    bundle["verificationMaterial"]["publicKey"]["hint"] = pem.fingerprint.hex
    overwrite(signed.file, json.dumps(bundle).encode())


def claim_the_trusted_key(signed: Signed) -> None:
    """The same, but with the name of the trusted key written over it."""
    sign_with_another_key(signed)
    _, bundle = _parts(signed)
    bundle["verificationMaterial"]["publicKey"]["hint"] = signed.signature.fingerprint.hex
    overwrite(signed.file, json.dumps(bundle).encode())


def change_what_was_signed(signed: Signed) -> None:
    """The list of files, without a new signature."""
    envelope, bundle = _parts(signed)
    payload = base64.b64decode(envelope["payload"]).replace(b"model.onnx", b"model_onnx")
    envelope["payload"] = base64.b64encode(payload).decode()
    overwrite(signed.file, json.dumps(bundle).encode())


def _parts(signed: Signed) -> tuple[dict[str, Any], dict[str, Any]]:
    bundle = json.loads(signed.file.read_bytes())
    return bundle["dsseEnvelope"], bundle


TAMPERINGS: list[tuple[Callable[[Signed], None], type[SignatureUntrusted], str]] = [
    (unsign, Unsigned, "efsnet 1 is not signed"),
    (sign_with_another_key, SignerUnknown, "efsnet 1 is signed by sha256:.* not among the trusted"),
    (claim_the_trusted_key, SignatureInvalid, "hospital did not make it"),
    (change_what_was_signed, SignatureInvalid, "was changed"),
]


@pytest.mark.parametrize(("tamper", "error", "words"), TAMPERINGS)
def test_each_lack_of_trust_has_its_own_error(
    signed: Signed, tamper: Callable[[Signed], None], error: type[SignatureUntrusted], words: str
) -> None:
    """`require` refuses, `warn` loads and tells, `off` does not look."""
    tamper(signed)

    with pytest.raises(error, match=words):
        load(signed.version, trust=Trust("require", signed.trusted))
    warned = load(signed.version, trust=Trust("warn", signed.trusted))
    assert (None, error) == (warned.signature, type(warned.doubt))
    assert None is load(signed.version).doubt
    # A traceback would keep the predictors of a version alive that is long dropped.
    assert warned.doubt
    assert None is warned.doubt.__traceback__


def test_who_may_write_to_the_store_cannot_sign(
    signed: Signed, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]
) -> None:
    """Another graph, a manifest that fits it, its seal, and all records anew: the store alone finds nothing wrong."""
    forged = {**tiny_contents, "MODEL_CARD.md": b"# Better\n"}
    was = signed.version
    manifest = Manifest.made(tiny_draft, name="efsnet", version=1, created_at=was.manifest.created_at, files=forged)
    overwrite(was.path / "MODEL_CARD.md", forged["MODEL_CARD.md"])
    overwrite(was.path / "manifest.json", str(manifest).encode())
    shutil.rmtree(signed.store.root / "efsnet" / "promotions")
    signed.store.promote("efsnet", "production", 1, by="the tests", why="the first")

    forgery = signed.store.version("efsnet", "production")
    assert () == forgery.damage()
    with pytest.raises(SignatureInvalid, match=r"'MODEL_CARD\.md' differs"):
        verify(forgery, signed.trusted)


def test_the_signature_of_another_version_is_none(
    signed: Signed, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]
) -> None:
    """Though it is the same graph by the same maker: number and day are signed too."""
    second = signed.store.publish("efsnet", tiny_draft, tiny_contents)
    shutil.copy(signed.file, second.path)

    with pytest.raises(SignatureInvalid, match=r"efsnet 2: model\.sig was made of something else: 'manifest\.json'"):
        verify(second, signed.trusted)


# ---------------------------------------------------------------------------- the file


def test_any_changed_byte_of_a_signature_is_found(signed: Signed) -> None:
    """In what is signed, in what signs, and in what is round it; cut off anywhere, too."""
    content = signed.file.read_bytes()
    for place in range(0, len(content), 17):
        overwrite(signed.file, content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(SignatureUntrusted):
            verify(signed.version, signed.trusted)
        overwrite(signed.file, content[:place])
        with pytest.raises(SignatureInvalid):
            verify(signed.version, signed.trusted)


PUT: list[Callable[[Path], None]] = [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/zero")]


@pytest.mark.parametrize("put", PUT, ids=["folder", "pipe", "link"])
def test_in_the_place_of_a_signature_is_a_file_or_nothing(signed: Signed, put: Callable[[Path], None]) -> None:
    """Whether signatures are asked for or not."""
    signed.file.unlink()
    put(signed.file)

    for read in (signed.version.contents, lambda: verify(signed.version, signed.trusted)):
        with pytest.raises(FileUnexpected, match=r"model\.sig"):
            read()
    assert [FileUnexpected] == [type(error) for error in signed.version.damage()]


def test_a_signature_travels_with_its_version(signed: Signed) -> None:
    """It is among the contents, and no other file is that the manifest does not list."""
    assert signed.file.read_bytes() == signed.version.contents()["model.sig"]
    (signed.version.path / "model.sig.bak").write_bytes(b"")

    with pytest.raises(FileUnexpected, match=r"model\.sig\.bak"):
        signed.version.contents()


def test_a_changed_file_of_a_signed_version_is_damage(signed: Signed) -> None:
    """Found before the signature is looked at."""
    overwrite(signed.version.path / "model.onnx", b"x")

    with pytest.raises(DigestMismatch, match=r"model\.onnx is not what was published"):
        load(signed.version, trust=Trust("require", signed.trusted))


# ---------------------------------------------------------------------------- trusted keys


def test_all_public_keys_of_a_folder_are_trusted(signed: Signed) -> None:
    """By name; links are followed, and other files are passed over, private keys among them."""
    shutil.copy(signed.private_key, signed.keys)
    (signed.keys / "a.pub").symlink_to(signed.keys / "hospital.pub")

    assert ["a", "hospital"] == [key.name for key in signed.trusted.keys]
    assert Signature("a", signed.signature.fingerprint) == verify(signed.version, signed.trusted)


UNUSABLE: Mapping[str, bytes] = {
    "empty": b"",
    "text": b"ssh-rsa AAAA",
    "another curve": public(ec.generate_private_key(ec.SECP384R1()).public_key()),
    "another kind": public(rsa.generate_private_key(65537, 2048).public_key()),
    "too long": b"x" * 20_000,
}


@pytest.mark.parametrize("content", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_a_key_of_another_kind_is_named(signed: Signed, content: bytes) -> None:
    """In one line, with what makes a right one: a folder with a key that nobody can use is a mistake to be told."""
    (signed.keys / "odd.pub").write_bytes(content)

    with pytest.raises(KeyUnusable, match=r"^odd\.pub is no .*keygen[^\n]*$"):
        TrustedKeys.read(signed.keys)


def test_what_is_no_key_signs_nothing(signed: Signed) -> None:
    """Also where it did not come from a file."""
    with pytest.raises(KeyUnusable, match="made up is no public key"):
        TrustedKey("made up", b"").signed(b"", b"")


def test_a_private_key_in_the_place_of_a_public_one_is_named(signed: Signed) -> None:
    """It does not belong where services run."""
    shutil.copy(signed.private_key, signed.keys / "oops.pub")

    with pytest.raises(KeyUnusable, match=r"oops\.pub is no public key"):
        TrustedKeys.read(signed.keys)


UNREADABLE: list[Callable[[Path], None]] = [
    Path.mkdir,
    lambda path: path.symlink_to(path),
    lambda path: path.symlink_to("x"),
]


@pytest.mark.parametrize("put", UNREADABLE, ids=["folder", "circle", "dead end"])
def test_a_key_that_cannot_be_read_is_named(signed: Signed, put: Callable[[Path], None]) -> None:
    """A folder, and links that lead nowhere."""
    put(signed.keys / "odd.pub")

    with pytest.raises(KeyUnusable, match=r"odd\.pub"):
        TrustedKeys.read(signed.keys)


def test_a_folder_without_keys_is_an_error(tmp_path: Path) -> None:
    """Rather than a service that refuses every version."""
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(KeyUnusable, match=r"holds no trusted key: put"):
            TrustedKeys.read(folder)


def test_a_policy_and_its_keys_belong_together(signed: Signed) -> None:
    """One that asks needs keys; one that does not ask does not look for them."""
    for make in (lambda: Trust("require"), lambda: Trust("off", signed.trusted), lambda: TrustedKeys(())):
        with pytest.raises(KeyUnusable):
            make()
    assert Trust() == Trust.read("off", signed.keys / "nowhere")
    assert Trust("warn", signed.trusted) == Trust.read("warn", signed.keys)


# ---------------------------------------------------------------------------- what it costs


@pytest.mark.parametrize(("policy", "imported"), [("off", set()), ("require", {"cryptography"})])
def test_a_service_imports_what_it_needs(signed: Signed, repository: Path, policy: str, imported: set[str]) -> None:
    """Nothing for signatures that nobody asks for, and the library that signs never."""
    program = (
        "import sys; from pathlib import Path; from model_store.loading import load; "
        "from model_store.signatures import Trust; from model_store.store import ModelStore; "
        "load(ModelStore(Path(sys.argv[1])).version('efsnet', '1'), trust=Trust.read(sys.argv[3], Path(sys.argv[2]))); "
        "print(*sys.modules)"
    )
    command = [sys.executable, "-c", program, str(signed.store.root), str(signed.keys), policy]

    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)

    assert imported == {"cryptography", "model_signing", "sigstore", "OpenSSL"} & set(done.stdout.split())


def test_a_version_found_again_is_the_same(signed: Signed, version: Version) -> None:
    """A signature changes neither digest nor manifest."""
    assert version.digest == signed.version.digest
    assert version.manifest == signed.version.manifest
