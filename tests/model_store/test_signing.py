"""Keys are made and versions signed once, by who has the key, and nothing is lost on the way."""

import stat
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from model_store.errors import AlreadySigned, DigestMismatch, KeyUnusable, SigningUnavailable
from model_store.signatures import TrustedKeys, verify
from model_store.signing import generate, sign
from model_store.version import Version
from tests.model_store.conftest import Signed

RIGHT, WRONG = "säbel rasseln", "saebel rasseln"


def test_a_pair_of_keys_lies_side_by_side(tmp_path: Path) -> None:
    """The private one for its owner alone, the public one for everybody; folders are made."""
    public = generate(tmp_path / "deep" / "hospital.pem")

    assert 0o400 == stat.S_IMODE((tmp_path / "deep" / "hospital.pem").stat().st_mode)
    assert 0o444 == stat.S_IMODE((tmp_path / "deep" / "hospital.pub").stat().st_mode)
    assert (public,) == TrustedKeys.read(tmp_path / "deep").keys


@pytest.mark.parametrize("taken", ["hospital.pem", "hospital.pub"])
def test_a_key_is_never_overwritten(tmp_path: Path, taken: str) -> None:
    """Versions would be without the key that signed them."""
    (tmp_path / taken).write_bytes(b"precious")

    with pytest.raises(KeyUnusable, match=f"{taken} is taken"):
        generate(tmp_path / "hospital.pem")
    assert [taken] == [path.name for path in tmp_path.iterdir()]


def test_the_private_key_is_not_named_as_the_public_one(tmp_path: Path) -> None:
    """One file cannot hold both."""
    with pytest.raises(KeyUnusable, match=r"NAME\.pem"):
        generate(tmp_path / "hospital.pub")


def test_a_locked_key_signs_with_its_passphrase_only(signed: Signed, tmp_path: Path) -> None:
    """Any other, and none, is told from a file that is no key."""
    generate(tmp_path / "locked.pem", passphrase=RIGHT)
    signed.file.unlink()

    with pytest.raises(KeyUnusable, match=r"locked\.pem needs its passphrase"):
        sign(signed.version, tmp_path / "locked.pem")
    with pytest.raises(KeyUnusable, match="or the passphrase is another"):
        sign(signed.version, tmp_path / "locked.pem", passphrase=WRONG)
    with pytest.raises(KeyUnusable, match=r"hospital\.pem has no passphrase"):
        sign(signed.version, signed.private_key, passphrase=RIGHT)
    assert not signed.file.exists()

    assert "locked" == sign(signed.version, tmp_path / "locked.pem", passphrase=RIGHT).signer
    assert "locked" == verify(signed.version, TrustedKeys.read(tmp_path)).signer


def test_a_signature_is_read_only_and_nothing_temporary_is_left(signed: Signed) -> None:
    """In the version's folder and round it."""
    assert 0o444 == stat.S_IMODE(signed.file.stat().st_mode)
    assert [] == list(signed.store.root.rglob(".*"))
    assert () == signed.version.damage()


def test_signing_again_changes_nothing(signed: Signed) -> None:
    """With the same key it is no error, so that what was interrupted can be repeated."""
    content = signed.file.read_bytes()

    assert signed.signature == sign(signed.version, signed.private_key)
    assert content == signed.file.read_bytes()


def test_another_key_does_not_replace_a_signature(signed: Signed, tmp_path: Path) -> None:
    """Nor does the same key one that it did not make: somebody must take it away, knowing why."""
    generate(tmp_path / "other.pem")
    with pytest.raises(AlreadySigned, match=r"model\.sig that other did not make of it: take it away"):
        sign(signed.version, tmp_path / "other.pem")

    signed.file.unlink()
    signed.file.write_bytes(b"{}")
    with pytest.raises(AlreadySigned, match="hospital"):
        sign(signed.version, signed.private_key)
    assert b"{}" == signed.file.read_bytes()


def test_a_damaged_version_is_not_signed(version: Version, signed: Signed) -> None:
    """A signature is a promise about every byte."""
    card = version.path / "MODEL_CARD.md"
    card.unlink()
    card.write_bytes(b"x")

    with pytest.raises(DigestMismatch, match=r"MODEL_CARD\.md"):
        sign(version, signed.private_key)
    assert not (version.path / "model.sig").exists()


@pytest.mark.parametrize("name", ["missing.pem", "folder.pem", "text.pem", "hospital.pub", "p384.pem"])
def test_what_is_no_private_key_does_not_sign(version: Version, signed: Signed, name: str) -> None:
    """Each is named, in one line."""
    folder = signed.keys
    (folder / "folder.pem").mkdir()
    (folder / "text.pem").write_text("-----BEGIN PRIVATE KEY-----\n")
    (folder / "p384.pem").write_bytes(
        ec.generate_private_key(ec.SECP384R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )

    with pytest.raises(KeyUnusable, match=name.partition(".")[0]) as raised:
        sign(version, folder / name)
    assert "\n" not in str(raised.value)
    assert not (version.path / "model.sig").exists()


def test_without_its_library_signing_says_what_to_install(
    version: Version, signed: Signed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the image of the service, which verifies without."""
    monkeypatch.setitem(sys.modules, "model_signing", None)

    with pytest.raises(SigningUnavailable, match="scripts/setup cpu signing"):
        sign(version, signed.private_key)
    assert [] == list(version.path.parents[2].rglob(".*"))
