"""Loading: only what is intact, and does here what it did where it was made, becomes a predictor."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnxruntime import get_available_providers
from PIL import Image as PillowImage

from efsnet.errors import EFSNetError, ModelUnusable
from efsnet.predictor import Computation, has_bfloat16
from model_store.errors import DigestMismatch, FileMissing, FileUnexpected, ReplayDiffers
from model_store.loading import ReplayedImage, load
from model_store.manifest import Draft, MeasuredPrecision, Metric
from model_store.store import ModelStore
from model_store.version import Version

LABEL_MAP = "reference/squares.label_map.png"


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """An empty one."""
    return ModelStore(tmp_path)


def label_map(contents: Mapping[str, bytes]) -> NDArray[np.uint8]:
    """The class numbers that the tiny model must give, writable."""
    return np.array(PillowImage.open(io.BytesIO(contents[LABEL_MAP])))


def png(array: NDArray[np.uint8]) -> bytes:
    """As a file."""
    file = io.BytesIO()
    PillowImage.fromarray(array).save(file, "PNG")
    return file.getvalue()


def test_an_intact_version_predicts(version: Version) -> None:
    """Its reference image gives its label map, pixel for pixel on one machine."""
    loaded = load(version, Computation(provider="cpu"))

    assert version == loaded.version
    assert (ReplayedImage("reference/squares", pixels=64 * 64, differing_pixels=0),) == loaded.replay
    assert "cpu" == loaded.predictor.engine.provider


def test_each_worker_has_a_predictor_of_its_own(version: Version) -> None:
    """From one verification; each with the asked number of threads."""
    loaded = load(version, Computation(provider="cpu", threads=2), workers=3)

    assert 3 == len(set(loaded.predictors))
    assert {2} == {predictor.engine.threads for predictor in loaded.predictors}


def test_workers_share_a_predictor_where_images_go_together(version: Version) -> None:
    """Its batches are of all of them, and the replay has gone through it."""
    loaded = load(version, Computation(provider="cpu", batch=4, batch_wait_s=0.001), workers=3)

    assert [loaded.predictor] * 3 == list(loaded.predictors)
    assert [0] == [image.differing_pixels for image in loaded.replay]


@pytest.mark.requirement("VER-2")
def test_damaged_files_are_not_loaded(version: Version) -> None:
    """Changed, missing, and added ones."""
    card = version.path / "MODEL_CARD.md"
    (version.path / "more").write_bytes(b"")
    with pytest.raises(FileUnexpected, match="more"):
        load(version)
    (version.path / "more").unlink()

    content = card.read_bytes()
    card.unlink()
    with pytest.raises(FileMissing, match=r"MODEL_CARD\.md"):
        load(version)

    card.write_bytes(content.upper())
    with pytest.raises(DigestMismatch, match=r"MODEL_CARD\.md"):
        load(version)


@pytest.mark.parametrize(("differing", "fits"), [(4, True), (5, False)])
@pytest.mark.requirement("VER-2")
def test_one_pixel_in_a_thousand_may_differ(
    store: ModelStore, tiny_draft: Draft, tiny_contents: Mapping[str, bytes], *, differing: int, fits: bool
) -> None:
    """Of the 4096 of the reference image, four may: ties fall differently on other engines. The count is told."""
    expected = label_map(tiny_contents)
    expected[0, :differing] = 2
    version = store.publish("efsnet", tiny_draft, {**tiny_contents, LABEL_MAP: png(expected)})

    if fits:
        assert differing == load(version).replay[0].differing_pixels
    else:
        with pytest.raises(ReplayDiffers, match=r"5 of 4096 pixels of reference/squares\.png.* at most 0\.1%"):
            load(version)


def test_each_reference_image_is_replayed(
    store: ModelStore, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]
) -> None:
    """A fault in the last is found."""
    blank = np.zeros((64, 64), np.uint8)
    more = {"reference/z.png": png(blank), "reference/z.label_map.png": png(blank + 1)}
    version = store.publish("efsnet", tiny_draft, {**tiny_contents, **more})

    with pytest.raises(ReplayDiffers, match=r"4096 of 4096 pixels of reference/z\.png"):
        load(version)


def test_a_label_map_of_another_size_differs(
    store: ModelStore, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]
) -> None:
    """It must be on the network's grid."""
    small = label_map(tiny_contents)[::2, ::2]
    version = store.publish("efsnet", tiny_draft, {**tiny_contents, LABEL_MAP: png(small)})

    with pytest.raises(ReplayDiffers, match=r"32, 32"):
        load(version)


@pytest.mark.parametrize("path", ["reference/squares.png", LABEL_MAP])
@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n"])
def test_reference_files_that_are_no_images_are_named(
    store: ModelStore, tiny_draft: Draft, tiny_contents: Mapping[str, bytes], path: str, content: bytes
) -> None:
    """Published so, they are what was published, and still cannot prove anything."""
    version = store.publish("efsnet", tiny_draft, {**tiny_contents, path: content})

    with pytest.raises(ReplayDiffers, match=r"reference/squares\.png or its label map"):
        load(version)


def test_a_graph_that_is_none_cannot_be_used(
    store: ModelStore, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]
) -> None:
    """The error is the inference package's own."""
    version = store.publish("efsnet", tiny_draft, {**tiny_contents, "model.onnx": b"no graph"})

    with pytest.raises(ModelUnusable):
        load(version)


def test_a_graph_of_other_classes_cannot_be_used(
    store: ModelStore, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]
) -> None:
    """What the manifest promises is compared with the graph."""
    classes = tiny_draft.specification.classes[:2]
    draft = tiny_draft.model_copy(
        update={
            "specification": tiny_draft.specification.model_copy(update={"classes": classes}),
            "network": tiny_draft.network.model_copy(update={"classes": 2}),
        }
    )

    with pytest.raises(EFSNetError):
        load(store.publish("efsnet", draft, tiny_contents))


def measured_in_bf16(high: float) -> MeasuredPrecision:
    """With a change of the Dice that may be as large as this."""
    return MeasuredPrecision(
        precision="bf16",
        engine="ONNX Runtime",
        images=100,
        dice_change=Metric(value=0.0, interval=(-0.001, high)),
        differing_pixels=0.001,
    )


@pytest.mark.parametrize(
    ("precisions", "allowed"),
    [((), False), ((measured_in_bf16(0.005),), True), ((measured_in_bf16(0.0051),), False)],
    ids=["not measured", "harmless", "not harmless"],
)
@pytest.mark.requirement("SEG-13")
def test_a_reduced_precision_is_taken_where_it_was_measured_and_found_harmless(
    store: ModelStore,
    tiny_draft: Draft,
    tiny_contents: Mapping[str, bytes],
    precisions: tuple[MeasuredPrecision, ...],
    allowed: bool,  # noqa: FBT001 - a column of the table above
) -> None:
    """Else the version computes in f32; full precision is always allowed."""
    draft = tiny_draft.model_copy(update={"precisions": precisions})
    version = store.publish("efsnet", draft, tiny_contents)

    assert allowed == version.manifest.allows("bf16")
    assert version.manifest.allows("f32")
    if not allowed or ("OpenVINOExecutionProvider" in get_available_providers() and has_bfloat16()):
        assert ("bf16" if allowed else "f32") == load(version, Computation(precision="bf16")).predictor.engine.precision
