"""The page says everything, needs nothing beside it, and is well-formed; the JSON holds the same figures."""

import base64
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, fromstring

import numpy as np
import pytest
from PIL import Image as PillowImage

from efsnet.maps import LabelMap
from efsnet.rendering import palette_png
from training.datasets.records import Record
from training.evaluation.cases import Case, EvaluationFolder
from training.evaluation.charts import risk_coverage
from training.evaluation.figures import HEADLINE
from training.evaluation.report import Context, write_report
from training.evaluation.sample import Sample
from training.evaluation.subsets import folds, subsets
from training.specification import CLASSES

MakeMap = Callable[..., LabelMap]
MakeCase = Callable[..., Case]

MIDDLE = slice(5, 15)
SPECK = (1, slice(0, 3), slice(0, 3))


@pytest.fixture
def cases(label_map: MakeMap, case: MakeCase) -> tuple[Case, ...]:
    """A perfect answer, a half, one of the wrong type, a miss, a false alarm, and a healthy breast left alone."""
    empty, benign, malignant = label_map(), label_map((1, MIDDLE, MIDDLE)), label_map((2, MIDDLE, MIDDLE))
    half, speck = label_map((1, slice(5, 10), MIDDLE)), label_map(SPECK)
    answers = {
        "perfect <&>.png": (malignant, malignant),
        "half.png": (half, benign),
        "type.png": (malignant, benign),
        "miss.png": (speck, benign),
        "alarm.png": (speck, empty),
        "quiet.png": (empty, empty),
    }
    return tuple(
        case(
            predicted, reference, name=name, remarks=("text",) if name == "half.png" else (), expected_error=number / 10
        )
        for number, (name, (predicted, reference)) in enumerate(answers.items())
    )


@pytest.fixture
def context(cases: Sequence[Case], label_map: MakeMap, tmp_path: Path) -> Context:
    """With a record and a label map of each case."""
    folder = EvaluationFolder(tmp_path / "evaluation")
    records = {}
    for number, case in enumerate(cases):
        image, mask = (tmp_path / f"{number}{suffix}.png" for suffix in ("", "_mask"))
        PillowImage.fromarray(np.full((40, 60), 100, np.uint8)).save(image)
        lesion = np.zeros((40, 60), np.uint8)
        lesion[10:30, 15:45] = 255 if case.kind != "normal" else 0
        PillowImage.fromarray(lesion).save(mask)
        records[case.key] = Record(case.name, image, (mask,), case.kind, case.scene)
        file = folder.label_map_file(case.key)
        file.parent.mkdir(parents=True, exist_ok=True)
        marked = label_map(SPECK) if case.largest_share else label_map()
        file.write_bytes(palette_png(marked, CLASSES))
    return Context(
        title="Recipe <made>",
        facts={"Network": "efsnet"},
        grid=(20, 20),
        records=records,
        label_maps=(folder,),
        notes=("Nothing of this is real.",),
    )


def page(folder: Path) -> tuple[str, Element]:
    """The report as text, and parsed as XML, which forgives nothing."""
    text = (folder / "report.html").read_text(encoding="utf-8")
    return text, fromstring(re.sub(r"^\s*<!DOCTYPE html>", "", text))  # noqa: S314 (our own page)


def words_of(element: Element) -> str:
    """All text in an element, with single spaces."""
    return " ".join(" ".join(element.itertext()).split())


def test_the_page_loads_nothing_from_anywhere(cases: Sequence[Case], context: Context, tmp_path: Path) -> None:
    """No script, no network: what is referred to lies in the page itself."""
    write_report(cases, context, tmp_path / "out")
    text, root = page(tmp_path / "out")

    referred = [value for each in root.iter() for name, value in each.attrib.items() if name in {"href", "src"}]
    assert referred
    assert all(value.startswith(("#", "data:image/jpeg;base64,")) for value in referred)
    assert "http" not in text
    assert "url(" not in text
    assert "<script" not in text
    assert text.lstrip().startswith("<!DOCTYPE html>")


def test_each_link_within_the_page_leads_somewhere(cases: Sequence[Case], context: Context, tmp_path: Path) -> None:
    """The contents at its top too."""
    write_report(cases, context, tmp_path)
    _, root = page(tmp_path)
    names = [each.attrib["id"] for each in root.iter() if "id" in each.attrib]

    assert len(names) == len(set(names))
    assert {a.attrib["href"] for a in root.iter("a")} <= {f"#{name}" for name in names}


def test_the_measured_images_are_known_by_their_digest(cases: Sequence[Case], context: Context, tmp_path: Path) -> None:
    """Images and references together: equal for the same ones, another if a byte is, none where one is not at hand."""

    def evaluated(context: Context) -> Mapping[str, Any]:
        write_report(cases, context, tmp_path / "out")
        found: Mapping[str, Any] = json.loads((tmp_path / "out" / "metrics.json").read_text())["evaluated"]
        return found

    first = evaluated(context)
    assert {name: sum(case.dataset == name for case in cases) for name in first} == {
        name: each["images"] for name, each in first.items()
    }
    assert {case.dataset for case in cases} == first.keys()
    assert first == evaluated(context)

    record = context.records[cases[0].key]
    record.masks[0].write_bytes(record.masks[0].read_bytes() + b"\0")
    changed = evaluated(context)
    assert first[cases[0].dataset]["sha256"] != changed[cases[0].dataset]["sha256"]

    others = {key: each for key, each in context.records.items() if key != cases[0].key}
    assert cases[0].dataset not in evaluated(replace(context, records=others))


def test_the_page_has_every_figure_with_its_interval_and_definition(
    cases: Sequence[Case], context: Context, tmp_path: Path
) -> None:
    """As they are given, and as `metrics.json` has them."""
    figures = write_report(cases, context, tmp_path)
    _, root = page(tmp_path)
    rows = [words_of(row) for row in root.iter("tr")]
    content = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))

    for name, figure in figures.items():
        assert (name in content["figures"]) == bool(figure.count)
        if figure.count:
            assert content["figures"][name]["value"] == pytest.approx(figure.value)
            assert any(
                all(part in row for part in (figure.label, figure.shown(), figure.interval(), name)) for row in rows
            ), name
    assert set(HEADLINE) <= content["figures"].keys()


def test_every_miss_and_every_false_alarm_is_drawn(cases: Sequence[Case], context: Context, tmp_path: Path) -> None:
    """With its name, Dice, areas and both outlines; what went well is drawn too, a healthy breast left alone is not."""
    write_report(cases, context, tmp_path)
    _, root = page(tmp_path)
    drawn = {words_of(each): each for each in root.iter("figure") if each.attrib.get("class") == "case"}
    (miss,) = {text for text in drawn if text.startswith("miss.png")}
    (alarm,) = {text for text in drawn if text.startswith("alarm.png")}

    assert "benign, answered benign; Dice 0.00 marked 2.2 %, reference 25.0 % of the image" in miss
    assert "normal, answered benign marked 2.2 %, reference 0.0 % of the image" in alarm
    assert ["reference", "predicted"] == [path.attrib["class"] for path in drawn[miss].iter("path")]
    assert ["predicted"] == [path.attrib["class"] for path in drawn[alarm].iter("path")]
    assert any(text.startswith("perfect <&>.png") for text in drawn)
    assert not any(text.startswith("quiet.png") for text in drawn)
    for picture in root.iter("image"):
        assert base64.b64decode(picture.attrib["href"].split(",")[1]).startswith(b"\xff\xd8\xff")


def test_the_page_can_be_read_without_seeing_it(cases: Sequence[Case], context: Context, tmp_path: Path) -> None:
    """Language, described pictures and charts, headings of tables."""
    write_report(cases, context, tmp_path)
    _, root = page(tmp_path)

    assert "en" == root.attrib["lang"]
    assert all(svg.attrib["role"] == "img" and svg.attrib["aria-label"] for svg in root.iter("svg"))
    assert all(heading.attrib["scope"] in {"row", "col"} for heading in root.iter("th"))
    assert 6 == sum(svg.attrib["class"] == "chart" for svg in root.iter("svg") if "class" in svg.attrib)


def test_the_page_says_in_words_what_happened(cases: Sequence[Case], context: Context, tmp_path: Path) -> None:
    """For someone who reads the first lines alone; and what not to conclude."""
    write_report(cases, context, tmp_path)
    said = words_of(page(tmp_path)[1])

    assert "Recipe <made>" in said
    assert "6 images (3 benign, 1 malignant, 2 normal) of 6 patients or scenes" in said
    assert "Nothing of this is real." in said
    assert "Of 4 images with a tumour, the tumour was found in 3 and missed in 1 (25.0 %;" in said
    assert "Of the 3 found tumours, 2 were rightly named benign or malignant" in said
    assert "Of 2 images of healthy breasts, 1 were marked all the same (50.0 %;" in said
    assert "BUSI is of one hospital and two machines." in said


def test_the_matrices_count_images_and_pixels(cases: Sequence[Case], context: Context, tmp_path: Path) -> None:
    """Rows of the reference, columns of the answer."""
    write_report(cases, context, tmp_path)
    confusion = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))["confusion"]

    assert [[1, 1, 0], [0, 2, 1], [0, 0, 1]] == confusion["images"]
    assert 6 * 400 == sum(map(sum, confusion["pixels"]))
    assert [150, 50, 100] == confusion["pixels"][1]


def test_what_has_no_picture_is_named(cases: Sequence[Case], context: Context, tmp_path: Path) -> None:
    """Without the data set at hand, or without label maps."""
    write_report(cases, replace(context, records={}), tmp_path / "one")
    write_report(cases, replace(context, label_maps=()), tmp_path / "two")

    for folder in ("one", "two"):
        assert "Not at hand: BUSI/miss.png (Dice 0.00)." in words_of(page(tmp_path / folder)[1])


@pytest.mark.parametrize("kept", [["quiet.png"], ["alarm.png"], ["miss.png"], ["half.png"]])
def test_few_images_of_one_sort_make_a_page_too(
    cases: Sequence[Case], context: Context, tmp_path: Path, kept: list[str]
) -> None:
    """Healthy breasts alone, a single tumour: nothing is drawn of nothing."""
    write_report([case for case in cases if case.name in kept], context, tmp_path)
    content = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)

    assert 1 == content["images"]
    assert page(tmp_path)[1] is not None
    assert all(math.isfinite(figure["value"]) for figure in content["figures"].values())


def test_a_risk_curve_is_drawn_to_its_top(label_map: MakeMap, case: MakeCase) -> None:
    """The surest answer is the worst: a curve that is cut off at the border would say that the next is as bad."""
    lesion = label_map((1, MIDDLE, MIDDLE))
    answers = [(label_map(SPECK), 0.1), (lesion, 0.2), (lesion, 0.3)]
    chart = risk_coverage(Sample([case(answer, lesion, expected_error=doubt) for answer, doubt in answers]))
    curve = re.search(r'class="first" points="([^"]*)"', chart)

    assert curve is not None
    assert 3 == len({point.split(",")[1] for point in curve[1].split()})


def test_folds_and_seeds_are_shown_as_spread(cases: Sequence[Case], context: Context, tmp_path: Path) -> None:
    """The figures are those of the first seed: six images, not twelve."""
    first = [replace(case, fold=number % 2, seed=1) for number, case in enumerate(cases)]
    second = [replace(case, seed=2) for case in first]
    write_report([*first, *second], context, tmp_path)
    said = words_of(page(tmp_path)[1])

    assert 6 == json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))["images"]
    assert all(row in said for row in ("fold 0, seed 1 3", "fold 1, seed 2 3"))
    assert {} == folds(cases)
    assert ["fold 0", "fold 1"] == list(folds(first))


def test_parts_are_those_that_differ_from_the_whole(cases: Sequence[Case]) -> None:
    """By kind, size, number of lesions, remark and device; what nobody has, or all have, is not told."""
    named = subsets([replace(case, device="A" if case.kind == "normal" else "B") for case in cases])

    assert {
        "benign images": 3,
        "malignant images": 1,
        "normal images": 2,
        "large lesions, 10 % of the image and more": 4,
        "nothing burned in": 5,
        "anything burned in": 1,
        "remark: text": 1,
        "device A": 2,
        "device B": 4,
    } == {name: len(members) for name, members in named.items()}


def test_nobody_looked_for_marks_in_a_set_without_remarks(cases: Sequence[Case]) -> None:
    """Its images are not said to be free of them."""
    other = [replace(case, dataset="other", remarks=()) for case in cases]
    named = subsets([*cases, *other])

    assert 5 == len(named["nothing burned in"])
    assert 6 == len(named["data set other"])
