"""What is measured is what a network never saw, through the path that serves, and the folder says so afterwards."""

import csv
import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image as PillowImage
from safetensors.torch import save_file

from efsnet.network import EFSNet
from model_store.manifest import Draft
from model_store.store import ModelStore
from model_store.version import Version
from training.configuration import read_configuration
from training.datasets.busi import read_busi
from training.datasets.folds import Split, split
from training.datasets.records import Record
from training.errors import EvaluationUnusable, NothingToTest, RunUnusable, SplitDiffers
from training.evaluation.cases import EvaluationFolder
from training.evaluation.operating_point import OperatingPoint, read_operating_point
from training.evaluation.pooling import evaluation_of, pool
from training.evaluation.subjects import (
    context_of_runs,
    evaluate_again,
    evaluate_elsewhere,
    evaluate_run,
    evaluate_version,
)
from training.evaluation.unseen import (
    LEARNT_FROM,
    check_start,
    check_teacher,
    learnt_by,
    split_of,
    to_be_tested,
    unseen_by,
)
from training.provenance import Start, describe
from training.run_folder import RunFolder

MakeBusi = Callable[[Sequence[tuple[str, int]]], Path]

SIDE = 64


@pytest.fixture
def records(make_busi: MakeBusi) -> tuple[Record, ...]:
    """Eight benign, eight malignant and eight normal images, each a scene of its own."""
    return read_busi(make_busi([("benign", 8), ("malignant", 8), ("normal", 8)]))


def in_another_set(record: Record) -> Record:
    """The same image under another set's name."""
    return Record(f"other {record.name}", record.image, record.masks, record.kind, record.scene, dataset="other")


def make_run(path: Path, parts: Split) -> RunFolder:
    """The folder of a run that was trained to the end, with random weights."""
    torch.manual_seed(0)
    folder = RunFolder(path)
    path.mkdir(parents=True)
    configuration = read_configuration("default").model_copy(update={"input": SIDE})
    folder.configuration_file.write_text(configuration.model_dump_json(), encoding="utf-8")
    folder.split_file.write_text(parts.as_csv(), encoding="utf-8")
    save_file(EFSNet().state_dict(), folder.weights_file)
    return folder


def version_that_learnt_from(
    seen: Mapping[str, Sequence[Record]], store: ModelStore, draft: Draft, contents: Mapping[str, bytes]
) -> Version:
    """A version of the network that goes by brightness, which says that it learnt from parts."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["part", "dataset", "file", "group", "sha256"])
    for part, members in seen.items():
        for each in members:
            digest = hashlib.sha256(each.image.read_bytes()).hexdigest()
            table.writerow([part, each.dataset, each.name, each.group, digest])
    return store.publish("efsnet", draft, {**contents, LEARNT_FROM: text.getvalue().encode()})


def test_a_run_is_measured_through_the_exported_graph_and_says_all(records: Sequence[Record], tmp_path: Path) -> None:
    """Operating point, cases, label maps, figures and page lie in its folder; elsewhere it is measured at it."""
    parts = split(records, 0)
    folder = make_run(tmp_path / "run", parts)
    figures = evaluate_run(folder, parts)
    cases = evaluation_of(folder).read()
    content = json.loads(folder.metrics_file.read_text(encoding="utf-8"))

    assert {record.key for record in parts.test} == {case.key for case in cases}
    assert all(evaluation_of(folder).label_map_file(case.key).is_file() for case in cases)
    assert {"part": "test", "folds": [], "grid": [SIDE, SIDE], "images": len(cases)}.items() <= content.items()
    assert content["figures"]["lesion_dice"]["value"] == pytest.approx(figures["lesion_dice"].value)
    assert {case.seed for case in cases} == {folder.configuration().seed}
    assert (folder.path / "report.html").is_file()

    out = tmp_path / "elsewhere"
    others = [in_another_set(record) for record in records[:3]]
    point = read_operating_point(folder)
    evaluate_elsewhere(folder, [*records, *others], "validation", out)
    measured = EvaluationFolder(out).read()

    assert {record.key for record in (*parts.validation, *others)} == {case.key for case in measured}
    assert point == read_operating_point(folder)
    assert cases == evaluation_of(folder).read()
    assert "validation" == json.loads((out / "metrics.json").read_text(encoding="utf-8"))["part"]
    assert "with which the network was made" in (out / "report.html").read_text(encoding="utf-8")


def test_a_run_is_measured_again_only_on_what_it_was_split_over(records: Sequence[Record], tmp_path: Path) -> None:
    """Figures of other images never take the place of a run's own."""
    folder = make_run(tmp_path / "run", split(records, 0))
    other = in_another_set(records[0])

    with pytest.raises(RunUnusable, match="split over BUSI: give exactly these"):
        evaluate_again(folder, [*records, other])
    with pytest.raises(RunUnusable, match="say with --out"):
        evaluate_again(folder, [other])
    with pytest.raises(SplitDiffers):
        evaluate_again(folder, records[1:])
    assert not folder.metrics_file.exists()


def test_elsewhere_a_run_needs_an_operating_point_and_images(records: Sequence[Record], tmp_path: Path) -> None:
    """It chooses nothing on what it is measured on."""
    parts = split(records, 0)
    folder = make_run(tmp_path / "run", parts)
    with pytest.raises(RunUnusable, match="run `evaluate` first"):
        evaluate_elsewhere(folder, records, "test", tmp_path / "out")

    folder.operating_point_file.write_text(OperatingPoint(1.0, 0.5, 0.0).as_json(), encoding="utf-8")
    folder.split_file.write_text(Split(parts.train, (), (), ()).as_csv(), encoding="utf-8")
    with pytest.raises(NothingToTest, match="test part"):
        evaluate_elsewhere(folder, parts.train, "test", tmp_path / "out")
    with pytest.raises(RunUnusable, match="holds nothing out"):
        evaluate_again(folder, parts.train)


def test_a_split_is_told_from_what_is_at_hand(records: Sequence[Record], tmp_path: Path) -> None:
    """Sets that are not given are named, and sets that it never saw are apart."""
    others = [in_another_set(record) for record in records]
    both = split([*records, *others], 0)
    folder = make_run(tmp_path / "run", both)
    unknown = Record("1.png", records[0].image, records[0].masks, "benign", "1", dataset="unknown")
    at_hand, unseen, missing = split_of(folder, [*records, unknown])

    assert tuple(record for record in both.test if record.dataset == "BUSI") == at_hand.test
    assert ((unknown,), ("other",)) == (unseen, missing)
    with pytest.raises(RunUnusable, match="no training run"):
        split_of(RunFolder(tmp_path), records)


def test_of_a_set_one_image_of_a_scene_is_tested_and_no_contradiction() -> None:
    """As in the folds; sets do not share scenes, though these may be called alike."""
    names = {"a": ("1", False), "b": ("1", False), "c": ("2", True)}
    made = [
        Record(f"{name}.png", Path(), (), "benign", scene, dataset, contradictory=contradictory)
        for dataset in ("one", "two")
        for name, (scene, contradictory) in names.items()
    ]

    assert ["one/a.png", "two/a.png"] == [record.key for record in to_be_tested(made)]


@pytest.mark.requirement("TRAIN-4")
def test_a_version_is_measured_on_what_it_has_not_learnt_from(
    records: Sequence[Record],
    published_store: ModelStore,
    tiny_draft: Draft,
    tiny_contents: Mapping[str, bytes],
    tmp_path: Path,
) -> None:
    """Neither on what it chose on; the report says how many images that leaves out."""
    parts = {"train": records[:9], "validation": records[9:12], "test": records[12:14]}
    version = version_that_learnt_from(parts, published_store, tiny_draft, tiny_contents)
    figures = evaluate_version(version, records, tmp_path / "out")

    assert {record.key for record in records[12:]} == {case.key for case in EvaluationFolder(tmp_path / "out").read()}
    assert "12 images were left out" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert 8 == figures["false_alarms"].count
    with pytest.raises(NothingToTest, match="learnt from all"):
        evaluate_version(version, records[:12], tmp_path / "out")


def test_an_image_is_known_again_by_its_bytes_and_by_its_group(
    records: Sequence[Record], published_store: ModelStore, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]
) -> None:
    """Copied into another folder, or another view of the same patient."""
    learnt = Record("1.png", records[0].image, records[0].masks, "benign", "1", dataset="own", patient="A")
    version = version_that_learnt_from({"train": [learnt]}, published_store, tiny_draft, tiny_contents)
    copied = records[0]
    same_patient = Record("2.png", records[1].image, records[1].masks, "benign", "2", dataset="own", patient="A")
    namesake = Record("3.png", records[2].image, records[2].masks, "benign", "3", dataset="other", patient="A")

    kept, notes = unseen_by(version, [copied, same_patient, namesake])

    assert (namesake,) == kept
    assert "2 images were left out" in notes[0]


def test_a_file_of_many_images_tells_nothing_of_a_single_one(
    records: Sequence[Record], published_store: ModelStore, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]
) -> None:
    """A table of all scans is the same bytes for each: there the group decides."""
    scans = [
        Record(str(number), records[0].image, records[0].masks, "benign", str(number), dataset="scans")
        for number in range(3)
    ]
    version = version_that_learnt_from({"train": scans[:1]}, published_store, tiny_draft, tiny_contents)

    assert tuple(scans[1:]) == unseen_by(version, scans)[0]


def test_a_version_that_does_not_say_what_it_learnt_from_is_measured_with_a_warning(
    records: Sequence[Record], published_store: ModelStore, tmp_path: Path
) -> None:
    """In the first lines of the report and in the JSON: the figures may be too good."""
    evaluate_version(published_store.version("efsnet", "1"), records[:4], tmp_path)

    note = "does not say which images it learnt from"
    assert note in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert note in json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))["notes"][0]


def test_a_brightness_network_is_right_about_brightness(published_store: ModelStore, tmp_path: Path) -> None:
    """End to end: a drawn malignant square of which all is known is found, named and outlined."""
    pixels = {"image": 30, "mask": 0}
    for name, level in pixels.items():
        picture = PillowImage.new("L", (128, 128), level)
        picture.paste(230 if name == "image" else 255, (32, 32, 96, 96))
        picture.save(tmp_path / f"{name}.png")
    record = Record("1.png", tmp_path / "image.png", (tmp_path / "mask.png",), "malignant", "1", dataset="own")
    figures = evaluate_version(published_store.version("efsnet", "1"), [record], tmp_path / "out")

    assert figures["lesion_dice"].value == pytest.approx(1, abs=0.05)
    assert 1 == figures["type_right_when_found"].value == figures["image_accuracy"].value
    assert figures["malignant_auc"].count == 0


def test_runs_that_are_not_evaluated_are_not_pooled(records: Sequence[Record], tmp_path: Path) -> None:
    """They are named, with what to do."""
    folder = make_run(tmp_path / "fold-0", split(records, 0))

    with pytest.raises(EvaluationUnusable, match=r"fold-0.*run `evaluate` first"):
        pool([folder])


def test_a_report_of_runs_says_where_they_began(records: Sequence[Record], tmp_path: Path) -> None:
    """What the version before learnt from is not looked at, and the reader is told."""
    folders = [make_run(tmp_path / f"fold-{fold}", split(records, fold)) for fold in (0, 1)]
    for folder, temperature in zip(folders, (1.5, 1.25), strict=True):
        folder.operating_point_file.write_text(OperatingPoint(temperature, 0.5, 0.002).as_json(), encoding="utf-8")
    environment = {"code_commit": "abc", "started_from": "sha256:1", "images": {"train": {"count": 16}}}
    folders[1].environment_file.write_text(json.dumps(environment), encoding="utf-8")
    context = context_of_runs(folders, records)

    assert "Recipe default, 2 runs pooled" == context.title
    assert "1.5, 1.25" == context.facts["Temperature"]
    assert "0.2 % of the image" == context.facts["Lesions dropped below"]
    assert "unknown, abc" == context.facts["Code"]
    assert ["sha256:1" in note for note in context.notes] == [True]


def test_weights_that_have_seen_what_is_to_be_tested_are_no_start(
    records: Sequence[Record], published_store: ModelStore, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]
) -> None:
    """A version of the same split is one, and one that does not say what it learnt from is let through."""
    parts, other = split(records, 0), split(records, 1)
    silent = published_store.version("efsnet", "1")
    same, chosen_on_test, everything = (
        version_that_learnt_from(seen, published_store, tiny_draft, tiny_contents)
        for seen in (
            {"train": parts.train, "validation": parts.validation, "test": parts.test},
            {"train": parts.train, "validation": parts.test[:1]},
            {"train": records},
        )
    )
    check_start(silent, parts)
    check_start(same, parts)

    for version, split_ in ((chosen_on_test, parts), (everything, parts), (same, other)):
        with pytest.raises(RunUnusable, match="start from a version of the same split"):
            check_start(version, split_)
    check_start(everything, Split(tuple(records), (), (), ()))


def test_what_a_teacher_has_seen_is_its_pupils_too(records: Sequence[Record], tmp_path: Path) -> None:
    """Also of the version that the teacher began with: it is tested on nothing of that, and the pupil neither."""
    parts = split(records, 0)
    before = Split(tuple(in_another_set(record) for record in parts.train[:6]), (), (), ())
    known, teacher, pupil = (RunFolder(tmp_path / name) for name in ("known", "teacher", "pupil"))
    configuration = read_configuration("default")
    describe(known, configuration, before)
    describe(teacher, configuration, parts, start=Start("sha256:1", known.learnt_from()))
    describe(pupil, configuration, parts, taught_by=teacher.path)

    assert set(known.learnt_from().splitlines()) < set(pupil.learnt_from().splitlines())
    assert len(parts.train) + len(parts.validation) + 6 == len(pupil.learnt_from().splitlines()) - 1
    check_teacher(teacher, parts)
    with pytest.raises(RunUnusable, match="take a teacher of the same split"):
        check_teacher(teacher, Split(parts.train, parts.validation, before.train[:1], ()))


def test_a_teacher_is_named_without_where_it_lies(records: Sequence[Record], tmp_path: Path) -> None:
    """What is written of a run may be published."""
    parts, configuration = split(records, 0), read_configuration("default")
    teacher, pupil = (RunFolder(tmp_path / name / "fold-0") for name in ("teacher", "pupil"))
    describe(teacher, configuration, parts)
    describe(pupil, configuration, parts, taught_by=teacher.path)
    written = pupil.environment_file.read_text()

    assert "teacher/fold-0" == json.loads(written)["taught_by"]
    assert str(tmp_path) not in written


@pytest.mark.requirement("TRAIN-4")
def test_what_was_learnt_before_is_not_forgotten(
    records: Sequence[Record],
    published_store: ModelStore,
    tiny_draft: Draft,
    tiny_contents: Mapping[str, bytes],
    tmp_path: Path,
) -> None:
    """A run that begins with a version, and the version that it becomes, are not measured on that one's images."""
    old, new = records[:6], [in_another_set(record) for record in records[8:]]
    first = version_that_learnt_from({"train": old}, published_store, tiny_draft, tiny_contents)
    parts = split(new, 0)
    folder = make_run(tmp_path / "run", parts)
    describe(folder, folder.configuration(), parts, start=Start(str(first.digest), learnt_by(first)))
    content = {**tiny_contents, LEARNT_FROM: folder.learnt_from_file.read_bytes()}
    second = published_store.publish("efsnet", tiny_draft, content)
    folder.operating_point_file.write_text(OperatingPoint(1.0, 0.5, 0.0).as_json(), encoding="utf-8")
    evaluate_elsewhere(folder, [*new, *records[:8]], "test", tmp_path / "out")

    assert tuple(records[6:8]) == unseen_by(second, records[:8])[0]
    measured = {case.key for case in EvaluationFolder(tmp_path / "out").read()}
    assert {record.key for record in (*parts.test, *records[6:8])} == measured
    notes = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))["notes"]
    assert ["6 images were left out" in note for note in notes] == [True]
