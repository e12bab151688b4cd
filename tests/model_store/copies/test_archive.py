"""A version as one tar: what is written is read, and nothing else is."""

import gzip
import io
import subprocess
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.copies import archive
from model_store.copies.arrival import Order, arrive
from model_store.errors import CopyInvalid, DigestMismatch, IntegrityError, ModelStoreError, StoreUnusable
from model_store.manifest import MANIFEST, SIGNATURE
from model_store.store import ModelStore
from model_store.version import Version

FOLDER = "efsnet/versions/2/"


@pytest.fixture
def tar(tmp_path: Path, second: Version) -> Path:
    """The archive of version 2."""
    archive.write(second, tmp_path / "efsnet-2.tar")
    return tmp_path / "efsnet-2.tar"


@pytest.fixture
def packed(tmp_path: Path, second: Version) -> Callable[..., Path]:
    """Writes an archive of the manifest, whatever is given, and the other files."""

    def pack(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.USTAR_FORMAT, whole: bool = True) -> Path:
        contents = dict(second.contents())
        first = member(MANIFEST, contents.pop(MANIFEST))
        others = [member(path, content) for path, content in contents.items()] if whole else []
        path = tmp_path / "packed.tar"
        with tarfile.open(path, "w", format=form) as file:
            for info, content in (first, *members, *others):
                file.addfile(info, io.BytesIO(content))
        return path

    return pack


def member(path: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE) -> tuple[tarfile.TarInfo, bytes]:
    """A member in the version's folder."""
    return named(f"{FOLDER}{path}", content, kind)


def named(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE) -> tuple[tarfile.TarInfo, bytes]:
    """A member with exactly this name."""
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, len(content), "/etc/passwd"
    return info, content


def test_what_is_written_is_read(tar: Path, second: Version) -> None:
    """Every file, byte for byte."""
    assert second.contents() == archive.read(tar)


def test_a_signature_is_in_the_archive(tmp_path: Path, second: Version) -> None:
    """It belongs to the version, though the manifest cannot list it."""
    (second.path / SIGNATURE).write_bytes(b"a signature")

    archive.write(second, tmp_path / "signed.tar")

    assert b"a signature" == archive.read(tmp_path / "signed.tar")[SIGNATURE]


def test_an_archive_is_the_same_whenever_it_is_written(tar: Path, second: Version, tmp_path: Path) -> None:
    """Two people can compare theirs with `sha256sum`."""
    archive.write(second, tmp_path / "again.tar")

    assert tar.read_bytes() == (tmp_path / "again.tar").read_bytes()


def test_an_archive_that_is_unpacked_by_hand_is_a_store(tar: Path, second: Version, tmp_path: Path) -> None:
    """The system's own `tar` reads it."""
    (tmp_path / "unpacked").mkdir()
    subprocess.run(["tar", "-xf", tar], cwd=tmp_path / "unpacked", check=True)

    unpacked = ModelStore(tmp_path / "unpacked").version("efsnet", "2")

    assert second.contents() == unpacked.contents()


def test_a_version_that_goes_round_comes_back(tar: Path, second: Version, published_store: ModelStore) -> None:
    """From one store to the other."""
    assert second.digest == arrive(published_store, archive.read(tar), Order("efsnet")).version.digest


def test_an_archive_comes_through_a_pipe(tar: Path, second: Version) -> None:
    """Into a container, for instance."""
    with subprocess.Popen(["cat", tar], stdout=subprocess.PIPE) as sending:
        assert sending.stdout
        assert second.contents() == archive.read(Path(f"/dev/fd/{sending.stdout.fileno()}"))


def test_writing_the_same_archive_again_is_no_error(tar: Path, second: Version) -> None:
    """What a killed process has left of it is in nobody's way."""
    tar.with_name(f"{tar.name}.part").write_bytes(b"half")

    archive.write(second, tar)

    assert second.contents() == archive.read(tar)
    assert [] == list(tar.parent.glob("*.part"))


def test_no_other_file_is_overwritten(second: Version, tmp_path: Path) -> None:
    """Its content stays, and nothing is left beside it."""
    thesis = tmp_path / "thesis.doc"
    thesis.write_bytes(b"years of work")

    with pytest.raises(StoreUnusable, match="exists already"):
        archive.write(second, thesis)

    assert b"years of work" == thesis.read_bytes()
    assert [] == list(tmp_path.glob("*.part"))


def test_a_link_in_the_way_is_not_followed(second: Version, tmp_path: Path) -> None:
    """In a folder that others can write to, too."""
    (tmp_path / "own").write_bytes(b"own")
    (tmp_path / "out.tar.part").symlink_to(tmp_path / "own")

    with pytest.raises(StoreUnusable):
        archive.write(second, tmp_path / "out.tar")

    assert b"own" == (tmp_path / "own").read_bytes()


def test_a_damaged_version_is_not_written(second: Version, tmp_path: Path) -> None:
    """Nothing appears."""
    (second.path / "model.onnx").chmod(0o644)
    (second.path / "model.onnx").write_bytes(b"x")

    with pytest.raises(DigestMismatch):
        archive.write(second, tmp_path / "out.tar")

    assert [] == list(tmp_path.glob("out*"))


def test_a_name_that_no_tar_holds_is_named(tmp_path: Path, second: Version, elsewhere: ModelStore) -> None:
    """A part of a path has at most 100 letters there."""
    contents = {**second.contents(), "x" * 150: b""}
    del contents[MANIFEST]
    version = elsewhere.publish("efsnet", second.manifest, contents)

    with pytest.raises(CopyInvalid, match="too long"):
        archive.write(version, tmp_path / "out.tar")

    assert [] == list(tmp_path.glob("out*"))


def test_a_full_disk_is_told(second: Version) -> None:
    """In one line that names the file."""
    with pytest.raises(StoreUnusable, match=r"/dev/full/x|Not a directory"):
        archive.write(second, Path("/dev/full/x"))


def test_an_archive_that_is_not_there_is_told(tmp_path: Path) -> None:
    """As the system says it."""
    with pytest.raises(StoreUnusable, match="No such file"):
        archive.read(tmp_path / "none.tar")


@pytest.mark.parametrize(
    "stranger",
    [
        named("/etc/passwd", b"x"),
        named(f"/{FOLDER}model.onnx", b"x"),
        named(f"{FOLDER}../../../outside", b"x"),
        named(f"{FOLDER}reference/../model.onnx", b"x"),
        named(f"{FOLDER}./model.onnx", b"x"),
        named("efsnet/versions/3/manifest.json", b"x"),
        named("efsnet/promotions/000001.json", b"x"),
        member("more", b"x"),
        member("MODEL.ONNX", b"x"),
        member("Reference/squares.png", b"x"),
        member(MANIFEST, b"x"),
        member("C:\\model.onnx", b"x"),
    ],
    ids=lambda stranger: str(stranger[0].name),
)
def test_a_name_that_the_manifest_does_not_list_is_refused(
    packed: Callable[..., Path], stranger: tuple[tarfile.TarInfo, bytes]
) -> None:
    """Absolute ones, ones that climb, and ones that differ in case only are of that kind."""
    with pytest.raises(CopyInvalid) as refused:
        archive.read(packed(stranger))

    assert repr(stranger[0].name) in str(refused.value)


def test_a_file_that_is_there_twice_is_refused(packed: Callable[..., Path], second: Version) -> None:
    """Even if both are what was published."""
    with pytest.raises(CopyInvalid, match="twice"):
        archive.read(packed(member("model.onnx", second.read("model.onnx"))))


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
        tarfile.DIRTYPE,
        tarfile.CONTTYPE,
    ],
)
@pytest.mark.parametrize("path", ["model.onnx", "more"])
def test_only_regular_files_are_read(packed: Callable[..., Path], kind: bytes, path: str) -> None:
    """No link, device, pipe or folder, whatever its name."""
    with pytest.raises(CopyInvalid, match="not a regular file"):
        archive.read(packed(member(path, kind=kind), whole=False))


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_extensions_are_not_read(packed: Callable[..., Path], form: int) -> None:
    """They can say another name and another size than the header."""
    with pytest.raises(CopyInvalid, match="not a regular file"):
        archive.read(packed(member("x" * 200, b"x"), form=form))


def test_the_manifest_comes_first(tmp_path: Path, second: Version) -> None:
    """It says what may follow."""
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.USTAR_FORMAT) as file:
        info, content = member("model.onnx", second.read("model.onnx"))
        file.addfile(info, io.BytesIO(content))

    with pytest.raises(CopyInvalid, match="begins with"):
        archive.read(tmp_path / "x.tar")


def test_the_folder_is_that_of_the_manifest(tmp_path: Path, second: Version) -> None:
    """An archive cannot say one thing to who lists it and another to who takes it."""
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.USTAR_FORMAT) as file:
        info, content = named("efsnet/versions/7/manifest.json", second.read(MANIFEST))
        file.addfile(info, io.BytesIO(content))

    with pytest.raises(CopyInvalid, match="that of efsnet 2"):
        archive.read(tmp_path / "x.tar")


def claiming(path: str, size: int) -> bytes:
    """The header of a file that is said to be so large."""
    info = tarfile.TarInfo(f"{FOLDER}{path}")
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.fixture
def begun(tar: Path, second: Version) -> bytes:
    """An archive up to the end of the manifest."""
    size = len(second.read(MANIFEST))
    return tar.read_bytes()[: 512 + size + -size % 512]


@pytest.mark.parametrize("size", [101, 10_000_000, (1 << 33) - 1, 1 << 40, 1 << 62])
def test_a_size_is_not_believed(tar: Path, begun: bytes, size: int) -> None:
    """A card of 13 bytes that claims more is refused before a byte of it is read."""
    tar.write_bytes(begun + claiming("MODEL_CARD.md", size))

    tracemalloc.start()
    with pytest.raises(CopyInvalid, match=f"claims {size} bytes; it may have 13"):
        archive.read(tar)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 5_000_000


def test_a_manifest_of_any_size_is_not_read(tmp_path: Path) -> None:
    """A million bytes at most."""
    (tmp_path / "x.tar").write_bytes(claiming(MANIFEST, 1_000_001))

    with pytest.raises(CopyInvalid, match="it may have 1000000"):
        archive.read(tmp_path / "x.tar")


def test_a_negative_size_is_refused(tar: Path, begun: bytes) -> None:
    """It would read to the end."""
    tar.write_bytes(begun + claiming("model.onnx", -1))

    with pytest.raises(CopyInvalid, match="claims -1 bytes"):
        archive.read(tar)


def test_a_compressed_archive_is_none(tar: Path) -> None:
    """Nothing is unpacked, so nothing can grow."""
    tar.write_bytes(gzip.compress(tar.read_bytes()))

    with pytest.raises(CopyInvalid, match="no tar archive"):
        archive.read(tar)


def test_nothing_is_behind_the_end(tar: Path) -> None:
    """Two readers could take different parts for the archive."""
    tar.write_bytes(tar.read_bytes() + tar.read_bytes())

    with pytest.raises(CopyInvalid, match="behind"):
        archive.read(tar)


def test_an_archive_that_was_cut_off_is_refused(tar: Path, published_store: ModelStore) -> None:
    """Wherever it ends: at a block, within a header, within a file."""
    content = tar.read_bytes()
    for length in {*range(0, len(content) - 1024, 512), *range(7, len(content) - 1024, 997)}:
        tar.write_bytes(content[:length])
        with pytest.raises((CopyInvalid, IntegrityError)):
            arrive(published_store, archive.read(tar), Order("efsnet"))


def test_a_flipped_byte_is_found(tar: Path, published_store: ModelStore, second: Version) -> None:
    """In any place that matters; what is in the store is what was published, or nothing."""
    content = bytearray(tar.read_bytes())
    for place in range(0, len(content) - 1024, 61):
        content[place] ^= 0x10
        tar.write_bytes(content)
        content[place] ^= 0x10
        try:
            found = archive.read(tar)
        except ModelStoreError:
            continue
        if found != second.contents():  # neither was it padding
            with pytest.raises(IntegrityError):
                arrive(published_store, found, Order("efsnet"))

    assert (1,) == published_store.numbers("efsnet")


@given(content=st.binary(max_size=2000))
def test_whatever_the_file_holds_is_an_error_of_ours(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Never a traceback."""
    path = tmp_path_factory.mktemp("any") / "any.tar"
    path.write_bytes(content)

    with pytest.raises(ModelStoreError):
        archive.read(path)
