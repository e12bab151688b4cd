"""BUS-BRA is read as it is published; what is wrong with a copy is listed whole."""

from pathlib import Path

import numpy as np
import pytest

from tests.training.datasets.conftest import write_image, write_mask
from training.datasets.bus_bra import read_bus_bra
from training.datasets.folds import split
from training.datasets.reading import read
from training.errors import DatasetInvalid


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Thirty cases of two views each, and one of a single view."""
    lines = ["ID,Case,Histology,Pathology,BIRADS,Device,Width,Height,Side,BBOX"]
    for case in range(1, 31):
        for side in "lr":
            write_image(tmp_path / f"Images/bus_{case:04d}-{side}.png")
            write_mask(tmp_path / f"Masks/mask_{case:04d}-{side}.png")
            kind = "malignant" if case % 3 == 0 else "benign"
            lines.append(f'bus_{case:04d}-{side},{case},cyst,{kind},3,GE Logiq 5,64,48,{side},"[1,2,3,4]"')
    write_image(tmp_path / "Images/bus_0031-s.png")
    write_mask(tmp_path / "Masks/mask_0031-s.png")
    lines.append('bus_0031-s,31,cyst,benign,2,Toshiba,64,48,single,"[1,2,3,4]"')
    (tmp_path / "bus_data.csv").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path


def test_every_image_of_the_table_is_a_record(folder: Path) -> None:
    """With kind, patient and machine; the layout is known by its table."""
    records = read([folder])

    assert records == read_bus_bra(folder)
    assert 61 == len(records)
    assert ("BUS-BRA", "bus_0003-l.png", "malignant", "3", "GE Logiq 5") == (
        *(records[4].dataset, records[4].name, records[4].kind),
        *(records[4].patient, records[4].device),
    )
    reference = records[4].read_reference()
    assert {0, 2} == set(np.unique(reference).tolist())
    assert 600 == (reference == 2).sum()


def test_the_views_of_a_case_stay_together(folder: Path) -> None:
    """All of them are tested, and none is learnt from."""
    parts = split(read_bus_bra(folder), 0)
    tested = [record.patient for record in parts.test]

    assert len(tested) > len(set(tested))
    assert not set(tested) & {record.patient for record in (*parts.train, *parts.validation)}


def test_every_problem_is_listed(folder: Path) -> None:
    """A missing image, a missing mask, a file of no row, an unknown kind, an empty mask, a mask of another size."""
    (folder / "Images/bus_0001-l.png").unlink()
    (folder / "Masks/mask_0002-l.png").unlink()
    write_image(folder / "Images/bus_0099-s.png")
    write_mask(folder / "Masks/mask_0003-l.png", value=0)
    write_mask(folder / "Masks/mask_0004-l.png", rows=40)
    table = folder / "bus_data.csv"
    table.write_text(table.read_text().replace("bus_0031-s,31,cyst,benign", "bus_0031-s,31,cyst,unclear"))

    with pytest.raises(DatasetInvalid) as caught:
        read_bus_bra(folder)

    problems = "\n".join(caught.value.problems)
    assert 6 == len(caught.value.problems)
    for word in ("bus_0001-l", "mask_0002-l", "bus_0099-s", "bus_0003-l", "mask_0004-l", "unclear"):
        assert word in problems


@pytest.mark.parametrize("content", ["", "ID,Case\n", "ID,Case,Pathology,Device\n", "\xff\xfe"])
def test_a_table_that_is_none_is_refused(folder: Path, content: str) -> None:
    """Empty, without a column, without a row, in another encoding."""
    (folder / "bus_data.csv").write_text(content, encoding="latin-1")

    with pytest.raises(DatasetInvalid, match=r"bus_data\.csv"):
        read_bus_bra(folder)
