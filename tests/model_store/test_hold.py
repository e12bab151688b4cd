"""What a store must hold out: changed bytes, files out of place, a full disk, a folder that nobody may write to."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from efsnet.image import decode_image
from efsnet.predictor import Computation
from model_store.digest import Digest
from model_store.errors import FileMissing, FileUnexpected, IntegrityError, ManifestInvalid, SignatureInvalid
from model_store.loading import load
from model_store.seeding import SHIPPED
from model_store.signatures import RELEASE_KEYS, Trust, TrustedKeys, verify
from model_store.store import ModelStore
from model_store.version import Version

SAMPLES = 2_000
"""Changed bytes that are tried, over all files of a version."""

TRUSTED = TrustedKeys.read(RELEASE_KEYS)


@pytest.fixture
def shipped(tmp_path: Path) -> ModelStore:
    """A copy of what ships, signed, that may be written to."""
    store = ModelStore(shutil.copytree(SHIPPED, tmp_path / "store"))
    for path in store.root.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return store


def verified(store: ModelStore, reference: str = "2") -> Version:
    """As a service under `require` verifies before the reference images: every file, then the signature."""
    version = store.version("efsnet", reference)
    version.contents()
    verify(version, TRUSTED)
    return version


def state(folder: Path) -> Mapping[str, Digest]:
    """Every file below a folder with its digest."""
    return {str(path.relative_to(folder)): Digest.of(path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.system
def test_any_changed_byte_of_any_file_is_refused_and_named(shipped: ModelStore) -> None:
    """Two thousand of them, over all files in proportion to their size, but at least eight in each.

    What was loaded before goes on as it did.
    """
    running = load(verified(shipped), Computation(provider="cpu"), trust=Trust("require", TRUSTED))
    image = decode_image(running.version.read("reference/busi_benign_396.png"))
    before = running.predictor.predict(image).array
    folder = running.version.path
    sizes = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    random, tried = np.random.default_rng(7), 0
    for path, size in sizes.items():
        count = max(8, round(SAMPLES * size / sum(sizes.values())))
        for place in random.choice(size, count, replace=False):
            with path.open("r+b") as file:
                file.seek(place)
                (byte,) = file.read(1)
                file.seek(place)
                file.write(bytes([byte ^ random.integers(1, 256)]))
                file.flush()
                with pytest.raises(IntegrityError, match=rf"efsnet 2.*({path.name}|sha256:)"):
                    verified(shipped)
                file.seek(place)
                file.write(bytes([byte]))
            tried += 1

    verified(shipped)
    assert SAMPLES <= tried
    assert np.array_equal(before, running.predictor.predict(image).array)


def exchange(first: Path, second: Path) -> None:
    """Each in the place of the other."""
    aside = first.rename(first.with_name("aside"))
    second.rename(first)
    aside.rename(second)


def truncate(path: Path) -> None:
    """To half its size."""
    os.truncate(path, path.stat().st_size // 2)


def replace_by_link(path: Path) -> None:
    """To the same content."""
    path.symlink_to(path.rename(path.parents[3] / path.name))


HARM: Mapping[str, tuple[Callable[[Path], object], type[IntegrityError], str]] = {
    "truncated graph": (lambda folder: truncate(folder / "model.onnx"), IntegrityError, r"model\.onnx"),
    "truncated manifest": (lambda folder: truncate(folder / "manifest.json"), IntegrityError, r"manifest\.json"),
    "truncated signature": (lambda folder: truncate(folder / "model.sig"), SignatureInvalid, r"model\.sig"),
    "another file": (lambda folder: (folder / "run.py").write_bytes(b""), FileUnexpected, r"'run\.py'"),
    "another folder": (lambda folder: (folder / "more").mkdir(), FileUnexpected, "'more'"),
    "missing weights": (lambda folder: (folder / "weights.safetensors").unlink(), FileMissing, "weights"),
    "missing manifest": (lambda folder: (folder / "manifest.json").unlink(), FileMissing, r"manifest\.json"),
    "linked graph": (lambda folder: replace_by_link(folder / "model.onnx"), FileUnexpected, r"model\.onnx"),
    "linked signature": (lambda folder: replace_by_link(folder / "model.sig"), FileUnexpected, r"model\.sig"),
    "versions exchanged": (
        lambda folder: exchange(folder, folder.with_name("1")),
        ManifestInvalid,
        "efsnet 2.*efsnet 1",
    ),
    "graphs exchanged": (
        lambda folder: exchange(folder / "model.onnx", folder.with_name("1") / "model.onnx"),
        IntegrityError,
        r"model\.onnx",
    ),
    "signatures exchanged": (
        lambda folder: exchange(folder / "model.sig", folder.with_name("1") / "model.sig"),
        SignatureInvalid,
        r"model\.sig was made of something else",
    ),
}


@pytest.mark.parametrize(("harm", "error", "words"), HARM.values(), ids=HARM.keys())
def test_what_is_out_of_place_is_refused_and_named(
    shipped: ModelStore, harm: Callable[[Path], object], error: type[IntegrityError], words: str
) -> None:
    """Of a version that ships, and the one beside it is named by its own name still."""
    harm(verified(shipped).path)

    with pytest.raises(error, match=words):
        verified(shipped)


# ---------------------------------------------------------------------------- what a computer may refuse


PROGRAM = """
import sys
from pathlib import Path
from model_store.cli import app
from model_store.store import ModelStore
root = Path(sys.argv[1])
store = ModelStore(root)
first = store.version("efsnet", "1")
contents = {path: first.read(path) for path in first.manifest.files}
for attempt in (
    lambda: store.publish("efsnet", first.manifest, contents),
    lambda: store.promote("efsnet", "production", 1, by="x", why="y"),
):
    try:
        attempt()
        print("done")
    except Exception as error:
        print(type(error).__name__, error)
"""


@pytest.mark.system
@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        ("dd if=/dev/zero of={disk}/filler bs=1k 2>&1 | true", "No space left on device"),
        ("mount -o remount,ro {disk}", "Read-only file system"),
    ],
    ids=["full", "read-only"],
)
def test_a_disk_that_takes_nothing_is_told_and_nothing_is_lost(
    published_store: ModelStore, repository: Path, tmp_path: Path, prepare: str, words: str
) -> None:
    """Neither a version nor a record comes half; with room again the same succeeds. In a mount of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    before = state(published_store.root)
    script = f"""
        set -e
        mount -t tmpfs -o size=128k none {disk}
        cp -r {published_store.root} {disk}/store
        {prepare.format(disk=disk)}
        "$0" -c "$1" {disk}/store
        mount -o remount,rw,size=64m {disk}
        rm -f {disk}/filler
        cp -r {disk}/store {tmp_path}/left
        "$0" -c "$1" {disk}/store
    """
    command = ["unshare", "--map-root-user", "--mount", "bash", "-c", script, sys.executable, PROGRAM]
    if subprocess.run([*command[:3], "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system does not let its users mount")

    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)

    refused, after = done.stdout.splitlines()[:2], done.stdout.splitlines()[2:]
    assert 2 == sum(line.startswith("StoreUnusable") and words in line for line in refused), done.stdout
    assert ["done", "done"] == after
    assert before == state(tmp_path / "left")
