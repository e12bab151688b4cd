"""The manifest: written for people to compare, read with suspicion."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from efsnet.specification import (
    ClassSpecification,
    CodedConcept,
    InputSpecification,
    PostProcessing,
    Specification,
)
from model_store.baseline import Baseline, Distribution
from model_store.digest import Digest
from model_store.errors import DigestMismatch, DraftInvalid, ManifestInvalid, SchemaUnknown
from model_store.manifest import (
    MANIFEST_MAX_BYTES,
    SCHEMA_VERSION,
    Draft,
    Evaluated,
    Manifest,
    Metric,
    Network,
    TrainingData,
)
from model_store.seal import sealed

MOMENT = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)

# ---------------------------------------------------------------------------- any manifest at all

words = st.text(min_size=1, max_size=20)
finite = st.floats(allow_nan=False, allow_infinity=False)
fractions = st.floats(min_value=0, max_value=1)
digests = st.binary(max_size=8).map(Digest.of)
sides = st.integers(4, 512).map(lambda eighth: 8 * eighth)
bytes8 = st.integers(0, 255)
parts = st.text("abz019_", min_size=1, max_size=9)
concepts = st.builds(CodedConcept, value=words, scheme=words, meaning=words)
intervals = st.tuples(finite, finite).map(lambda pair: (min(pair), max(pair)))
metrics = st.dictionaries(
    st.text("abyz_", min_size=1, max_size=9).map("m".__add__),
    st.builds(Metric, value=finite, interval=st.none() | intervals),
    max_size=4,
)

evaluations = st.builds(
    Evaluated,
    name=st.text("Bb 9-", min_size=1, max_size=9),
    images=st.integers(1, 999),
    digest=digests,
    metrics=metrics,
)


@st.composite
def specifications(draw: st.DrawFn) -> Specification:
    """Any specification."""
    labels = draw(st.lists(words, min_size=2, max_size=5))
    return Specification(
        input=InputSpecification(
            rows=draw(sides),
            columns=draw(sides),
            resize="stretch",
            filter="bilinear",
            value_range=draw(st.tuples(finite, finite)),
        ),
        classes=tuple(
            ClassSpecification(
                number=number,
                label=label,
                colour=draw(st.tuples(bytes8, bytes8, bytes8)),
                concept=draw(st.none() | concepts),
                modifier=draw(st.none() | concepts),
            )
            for number, label in enumerate(labels)
        ),
        post_processing=draw(
            st.builds(
                PostProcessing,
                tumour_threshold=fractions,
                minimum_area_fraction=fractions,
                fill_holes=st.booleans(),
                one_class_per_lesion=st.booleans(),
            )
        ),
    )


@st.composite
def drafts(draw: st.DrawFn) -> Draft:
    """Any draft."""
    specification = draw(specifications())
    return Draft(
        network=Network(
            name=draw(words),
            in_channels=draw(st.integers(1, 4)),
            classes=len(specification.classes),
            parameters=draw(st.integers(1, 10**9)),
        ),
        specification=specification,
        temperature=draw(st.floats(min_value=1e-6, max_value=1e6)),
        metrics=draw(metrics),
        training_data=tuple(
            draw(
                st.lists(st.builds(TrainingData, name=words, images=st.integers(1, 10**6), digest=digests), max_size=3)
            )
        ),
        code_commit=draw(words),
        intended_use=draw(words),
        licence=draw(words),
        evaluated=tuple(draw(st.lists(evaluations, max_size=2))),
    )


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    """Any manifest."""
    stems = draw(st.lists(parts, min_size=1, max_size=3, unique=True))
    paths = [f"reference/{stem}{ending}" for stem in stems for ending in (".png", ".label_map.png")]
    paths += [f"more/{name}" for name in draw(st.lists(parts, max_size=3, unique=True))]
    contents = {path: draw(st.binary(max_size=4)) for path in ["model.onnx", *paths]}
    return Manifest.made(
        draw(drafts()),
        name=draw(st.text("abz09_-", max_size=9).map("m".__add__)),
        version=draw(st.integers(1, 999_999_999)),
        created_at=draw(st.datetimes(timezones=st.just(UTC))),
        files=contents,
    )


@settings(max_examples=40)
@given(manifests())
def test_a_manifest_is_read_as_it_is_written(manifest: Manifest) -> None:
    """`Manifest.parse(str(m)) == m`, and the text is the same again."""
    text = str(manifest)

    assert manifest == Manifest.parse(text)
    assert text == str(Manifest.parse(text))


# ---------------------------------------------------------------------------- the text


@pytest.fixture
def manifest(tiny_draft: Draft, tiny_contents: Mapping[str, bytes]) -> Manifest:
    """Of the tiny model."""
    return Manifest.made(tiny_draft, name="efsnet", version=3, created_at=MOMENT, files=tiny_contents)


def test_the_text_is_for_people(manifest: Manifest) -> None:
    """It begins with what identifies the version, one fact a line, metrics and files in alphabetical order."""
    lines = str(manifest).splitlines()

    assert ["schema_version", "name", "version", "created_at"] == [line.split('"')[1] for line in lines[2:6]]
    assert '  "created_at": "2026-11-23T06:00:00Z",' in lines
    content = json.loads(str(manifest))
    assert sorted(content["files"]) == list(content["files"])
    assert sorted(content["metrics"]) == list(content["metrics"])


def test_a_file_is_listed_with_its_digest_and_size(manifest: Manifest) -> None:
    """As `sha256sum` and `wc -c` give them."""
    assert {
        "sha256": Digest.of(b"# Brightness\n").hex,
        "bytes": 13,
    } == json.loads(str(manifest))["files"]["MODEL_CARD.md"]


def test_reference_images_are_named_without_their_endings(manifest: Manifest) -> None:
    """One name stands for the image and its label map."""
    assert ("reference/squares",) == manifest.references


def test_a_changed_character_anywhere_is_found(manifest: Manifest) -> None:
    """The seal covers all of the text, so that damage shows where nobody noted the digest."""
    text = str(manifest)
    for place, character in enumerate(text):
        damaged = text[:place] + ("0" if character != "0" else "1") + text[place + 1 :]
        with pytest.raises(DigestMismatch):
            Manifest.parse(damaged)


def test_a_missing_or_an_added_character_is_found(manifest: Manifest) -> None:
    """Truncated and padded texts are no manifests."""
    text = str(manifest)
    for damaged in ("", text[:-1], text[:100], text[1:], text + "\n", text + text, "\n" + text):
        with pytest.raises(DigestMismatch):
            Manifest.parse(damaged)


# ---------------------------------------------------------------------------- what is refused


def changed(manifest: Manifest, changes: dict[str, object]) -> str:
    """The text with other values and a seal that fits: what somebody could write on purpose."""
    content: dict[str, object] = json.loads(str(manifest))
    del content["seal"]
    return sealed(json.dumps(content | changes, indent=2))


@pytest.mark.parametrize("number", [1, 2])
def test_every_released_manifest_stays_readable(repository: Path, number: int) -> None:
    """Those that ship are of schema version 1: they are written again as they were, without what came later."""
    path = repository / "model_store" / "versions" / "efsnet" / "versions" / str(number) / "manifest.json"
    text = path.read_text(encoding="utf-8")

    manifest = Manifest.parse(text)

    assert 1 == manifest.schema_version
    assert text == str(manifest)
    assert ((), ()) == (manifest.evaluated, manifest.precisions)


@pytest.mark.parametrize("number", [3, 4])
def test_manifests_of_schema_2_stay_as_they_are(repository: Path, number: int) -> None:
    """They have no baseline, and are written again without one."""
    path = repository / "model_store" / "versions" / "efsnet" / "versions" / str(number) / "manifest.json"
    text = path.read_text(encoding="utf-8")
    manifest = Manifest.parse(text)

    assert 2 == manifest.schema_version
    assert text == str(manifest)
    assert manifest.baseline is None


def test_a_baseline_is_read_as_it_is_written(
    manifest: Manifest, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]
) -> None:
    """With a share for each bin."""
    even = Distribution(edges=(0.5, 1.0), shares=(0.25, 0.75))
    baseline = Baseline(images=4, brightness=even, class_fraction={"benign": even}, mask_confidence={})
    draft = tiny_draft.model_copy(update={"baseline": baseline})
    made = Manifest.made(draft, name="efsnet", version=4, created_at=MOMENT, files=tiny_contents)

    assert baseline == Manifest.parse(str(made)).baseline


@pytest.mark.parametrize(
    "wrong",
    [
        {"edges": (), "shares": ()},
        {"edges": (1.0, 0.5), "shares": (0.5, 0.5)},
        {"edges": (0.5, 1.0), "shares": (1.0,)},
        {"edges": (0.5, 1.0), "shares": (0.5, 0.6)},
        {"edges": (0.5, 1.0), "shares": (-0.5, 1.5)},
    ],
)
def test_a_distribution_has_ascending_bins_and_shares_that_make_up_1(wrong: dict[str, Any]) -> None:
    """Or it is none."""
    with pytest.raises(ValidationError):
        Distribution.model_validate(wrong)


def test_what_is_published_now_has_the_newest_schema(manifest: Manifest, tiny_contents: Mapping[str, bytes]) -> None:
    """Also where an older manifest is the draft."""
    again = Manifest.made(manifest, name="efsnet", version=4, created_at=MOMENT, files=tiny_contents)

    assert {SCHEMA_VERSION} == {manifest.schema_version, again.schema_version}


def test_a_newer_schema_asks_for_an_upgrade(manifest: Manifest) -> None:
    """Whatever else a future manifest holds, the message says that this release is too old."""
    with pytest.raises(SchemaUnknown, match=r"schema version 4.*upgrade"):
        Manifest.parse(sealed('{\n  "schema_version": 4,\n  "something": "new"\n}\n'))


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": 0},
        {"schema_version": 1},
        {"evaluated": [{"name": "BUSI", "images": 0, "digest": f"sha256:{'0' * 64}", "metrics": {}}]},
        {"evaluated": [{"name": "a\nb", "images": 1, "digest": f"sha256:{'0' * 64}", "metrics": {}}]},
        {"schema_version": "one"},
        {"surprise": 1},
        {"version": 0},
        {"version": 10**9},
        {"name": "../efsnet"},
        {"name": "3"},
        {"created_at": "2026-11-23T06:00:00+01:00"},
        {"created_at": "2026-11-23T06:00:00"},
        {"created_at": "0001-01-01T00:00:00+14:00"},
        {"temperature": 0},
        {"temperature": "NaN"},
        {"network": {"name": "EFSNet", "in_channels": 1, "classes": 7, "parameters": 1}},
        {"metrics": {"lesion_dice": {"value": 0.7, "interval": [0.8, 0.6]}}},
        {"metrics": {"Lesion Dice": {"value": 0.7}}},
        {"training_data": [{"name": "BUSI", "images": 1, "digest": "sha256:short"}]},
        {"files": {}},
        {"licence": ""},
    ],
)
def test_a_manifest_that_cannot_be_is_refused(manifest: Manifest, change: dict[str, object]) -> None:
    """Valid JSON with a fitting seal is not enough."""
    with pytest.raises(ManifestInvalid):
        Manifest.parse(changed(manifest, change))


def test_what_is_not_json_is_refused() -> None:
    """Whatever bytes somebody sealed, the answer is the same error."""
    for text in ("{\n", "{\nnull", "{\n" + "[" * 100_000):
        with pytest.raises(ManifestInvalid):
            Manifest.parse(sealed(text))


def test_a_manifest_beyond_the_limit_is_refused_unread() -> None:
    """Nobody can make the store parse a gigabyte."""
    with pytest.raises(ManifestInvalid, match="at most"):
        Manifest.parse("x" * (MANIFEST_MAX_BYTES + 1))


def test_the_message_names_the_places_and_not_the_content(manifest: Manifest) -> None:
    """Three problems in full and the number of the others, on one line."""
    changes: dict[str, object] = {
        "temperature": -1,
        "licence": "",
        "code_commit": "",
        "intended_use": "",
        "version": "secret",
    }

    with pytest.raises(ManifestInvalid) as raised:
        Manifest.parse(changed(manifest, changes))

    assert "temperature: Input should be greater than 0" in str(raised.value)
    assert "and 2 more" in str(raised.value)
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "path",
    [
        "../model.onnx",
        "reference/../../x",
        "/etc/passwd",
        "reference//x",
        "reference/",
        "./x",
        "..",
        ".",
        "",
        "reference\\x",
        "C:x",
        ".hidden",
        "reference/.hidden",
        "x ",
        "x.",
        "x\n",
        "x\0",
        "ü",
        "x" * 201,
        "manifest.json",
        "Manifest.JSON",
        "model.sig",
        "Model.sig",
    ],
)
def test_a_file_outside_the_folder_or_of_an_odd_name_is_refused(
    tiny_draft: Draft, tiny_contents: Mapping[str, bytes], path: str
) -> None:
    """Names are plain on every file system, and the manifest is not among its own files."""
    with pytest.raises(DraftInvalid):
        Manifest.made(tiny_draft, name="efsnet", version=1, created_at=MOMENT, files={**tiny_contents, path: b""})


@pytest.mark.parametrize("path", ["MODEL.onnx", "reference/Squares.png", "model.onnx/x", "Reference"])
def test_two_files_at_one_place_are_refused(tiny_draft: Draft, tiny_contents: Mapping[str, bytes], path: str) -> None:
    """A version can be copied to a memory stick, where letters have no case."""
    with pytest.raises(DraftInvalid, match=r"same place|label_map"):
        Manifest.made(tiny_draft, name="efsnet", version=1, created_at=MOMENT, files={**tiny_contents, path: b""})


@pytest.mark.parametrize("path", ["model.onnx", "reference/squares.png", "reference/squares.label_map.png"])
def test_a_version_needs_its_model_and_its_self_test(
    tiny_draft: Draft, tiny_contents: Mapping[str, bytes], path: str
) -> None:
    """The graph, and at least one reference image with its label map."""
    files = {name: content for name, content in tiny_contents.items() if name != path}

    with pytest.raises(DraftInvalid):
        Manifest.made(tiny_draft, name="efsnet", version=1, created_at=MOMENT, files=files)


def test_a_version_without_reference_images_is_refused(tiny_draft: Draft, tiny_contents: Mapping[str, bytes]) -> None:
    """It could not be tested when it is loaded."""
    files = {name: content for name, content in tiny_contents.items() if not name.startswith("reference/")}

    with pytest.raises(DraftInvalid, match="reference images"):
        Manifest.made(tiny_draft, name="efsnet", version=1, created_at=MOMENT, files=files)


def test_what_could_not_be_read_back_is_not_published(tiny_draft: Draft, tiny_contents: Mapping[str, bytes]) -> None:
    """More files than a manifest may list."""
    many = {f"more/{number}": b"" for number in range(9_000)}

    with pytest.raises(DraftInvalid, match="at most"):
        Manifest.made(tiny_draft, name="efsnet", version=1, created_at=MOMENT, files={**tiny_contents, **many})


def test_moments_are_in_utc(tiny_draft: Draft, tiny_contents: Mapping[str, bytes]) -> None:
    """An hour means the same in every hospital."""
    berlin = timezone(timedelta(hours=1))

    with pytest.raises(DraftInvalid, match="UTC"):
        Manifest.made(tiny_draft, name="efsnet", version=1, created_at=MOMENT.astimezone(berlin), files=tiny_contents)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_metric_is_a_number(value: float) -> None:
    """A figure that could not be computed is left out by its maker, and not published as NaN."""
    with pytest.raises(ValidationError):
        Metric(value=value)


def test_a_manifest_cannot_be_changed(manifest: Manifest) -> None:
    """It is a value."""
    with pytest.raises(ValidationError):
        manifest.version = 4  # type: ignore[misc]
