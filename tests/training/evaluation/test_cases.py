"""Cases are kept in tables that people open, and read back as they were."""

from collections.abc import Callable
from pathlib import Path

import pytest

from efsnet.maps import LabelMap
from training.errors import EvaluationUnusable
from training.evaluation.cases import Case, EvaluationFolder

MakeMap = Callable[..., LabelMap]
MakeCase = Callable[..., Case]

LEFT = (1, slice(2, 8), slice(2, 8))


def test_cases_read_back_as_they_were_written(label_map: MakeMap, case: MakeCase, tmp_path: Path) -> None:
    """To the last digit, what is unknown too."""
    known = {
        "device": "LOGIQ E9, first",
        "remarks": ("text", "axilla"),
        "malignant_share": 1 / 3,
        "row_mm": 0.1,
        "column_mm": 0.1,
        "predicted_axis_mm": 0.0,
        "reference_axis_mm": 0.7,
        "fold": 0,
        "seed": 0,
    }
    cases = (case(label_map(LEFT), label_map(LEFT), **known), case(label_map(), label_map()))
    folder = EvaluationFolder(tmp_path / "new" / "folder")
    folder.write(cases)

    assert cases == folder.read()


def test_the_table_says_what_people_look_for(label_map: MakeMap, case: MakeCase, tmp_path: Path) -> None:
    """Dice, IoU, areas and the answer stand in it, though they follow from the counts."""
    EvaluationFolder(tmp_path).write([case(label_map(LEFT), label_map(LEFT), name='a "1".png')])
    header, line = (tmp_path / "cases.csv").read_text(encoding="utf-8").splitlines()

    assert header.endswith("malignant_as_malignant,dice,iou,predicted_share,reference_share,predicted_kind")
    assert line.endswith(",36,0,0,0,0,1.0,1.0,0.09,0.09,benign".replace("0.09", str(1 - 364 / 400)))


def test_label_maps_lie_beside_each_other_by_key(tmp_path: Path) -> None:
    """Whatever format the image had, its label map is a PNG."""
    folder = EvaluationFolder(tmp_path)

    assert tmp_path / "label_maps/BUSI/benign/benign (1).png" == folder.label_map_file("BUSI/benign/benign (1).png")
    assert tmp_path / "label_maps/UDIAT/1.bmp.png" == folder.label_map_file("UDIAT/1.bmp")


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "cases.csv").unlink(),
        lambda folder: (folder / "calibration.json").unlink(),
        lambda folder: (folder / "calibration.json").write_text("{}"),
        lambda folder: (folder / "calibration.json").write_text("[]"),
        lambda folder: (folder / "cases.csv").write_text("dataset,name\nBUSI,0.png\n"),
        lambda folder: (folder / "cases.csv").write_text((folder / "cases.csv").read_text()[:-200]),
        lambda folder: (folder / "cases.csv").write_text((folder / "cases.csv").read_text().partition("\n")[0] + "\n"),
        lambda folder: (folder / "cases.csv").write_text(
            (folder / "cases.csv").read_text().replace(",benign,", ",strange,")
        ),
    ],
    ids=[
        "no cases",
        "no calibration",
        "calibration of nothing",
        "calibration as a list",
        "columns missing",
        "cut off in a line",
        "cut off between lines",
        "unknown kind",
    ],
)
def test_what_was_not_written_by_an_evaluation_is_refused(
    damage: Callable[[Path], object], label_map: MakeMap, case: MakeCase, tmp_path: Path
) -> None:
    """In words, with what to do."""
    EvaluationFolder(tmp_path).write([case(label_map(LEFT), label_map(LEFT))])
    damage(tmp_path)

    with pytest.raises(EvaluationUnusable, match="run `evaluate` first"):
        EvaluationFolder(tmp_path).read()


def test_a_case_of_no_kind_cannot_be(label_map: MakeMap, case: MakeCase) -> None:
    """Nor one without pixels."""
    with pytest.raises(ValueError, match="strange"):
        case(label_map(), label_map(), kind="strange")
    with pytest.raises(ValueError, match="0 pixels"):
        case(label_map(), label_map(), counts=(0,) * 9)


def test_a_tumour_too_small_for_the_grid_is_missed(label_map: MakeMap, case: MakeCase) -> None:
    """Where nothing is marked it is no hit; of a healthy breast it is."""
    unseen, healthy = case(label_map(), label_map(), kind="benign"), case(label_map(), label_map())

    assert (0, 0, False) == (unseen.dice, unseen.iou, unseen.found)
    assert (1, 1) == (healthy.dice, healthy.iou)


def test_what_is_answered_is_the_class_of_most_pixels(label_map: MakeMap, case: MakeCase) -> None:
    """And normal where nothing is marked."""
    small, large = (1, slice(0, 2), slice(0, 2)), (2, slice(5, 9), slice(5, 9))

    assert "malignant" == case(label_map(small, large), label_map(LEFT)).predicted_kind
    assert "benign" == case(label_map(small), label_map(LEFT)).predicted_kind
    assert "normal" == case(label_map(), label_map(LEFT)).predicted_kind
