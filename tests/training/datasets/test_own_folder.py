"""A hospital's own folder is taken as it is described, and every slip in it is told at once."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from efsnet.maps import LabelMap
from efsnet.rendering import palette_png
from tests.training.datasets.conftest import COLUMNS, ROWS, write_image, write_mask
from training.datasets.own_folder import read_own_folder
from training.datasets.reading import read
from training.errors import DatasetInvalid
from training.specification import CLASSES

TABLE = "file,class,patient\na.png,benign,p1\nb.jpg,malignant,p1\nc.png,normal,p2\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A benign, a malignant and a normal image of two patients."""
    folder = tmp_path / "St. Mary"
    for name in ("a.png", "b.jpg", "c.png"):
        write_image(folder / "images" / name)
    write_mask(folder / "masks" / "a.png")
    write_mask(folder / "masks" / "b.png", value=2)
    (folder / "list.csv").write_text(TABLE, encoding="utf-8")
    return folder


@pytest.mark.requirement("TRAIN-7")
def test_images_are_read_as_the_table_says(folder: Path) -> None:
    """The set has the folder's name; a normal image needs no mask; images of a patient go together."""
    benign, malignant, normal = read([folder])

    assert ("St. Mary", "St. Mary/p1", "St. Mary/p1", "St. Mary/p2") == (
        benign.dataset,
        *(record.group for record in (benign, malignant, normal)),
    )
    assert 600 == (benign.read_reference() == 1).sum()
    assert 600 == (malignant.read_reference() == 2).sum()
    assert (ROWS, COLUMNS) == normal.read_reference().shape
    assert not normal.read_reference().any()


def test_a_mask_of_the_service_goes_back_in_as_it_is(folder: Path) -> None:
    """A palette PNG whose values are the classes, corrected in any program or not, two kinds of lesion and all."""
    label_map = np.zeros((ROWS, COLUMNS), np.uint8)
    label_map[5:15, 5:15], label_map[30:40, 30:50] = 1, 2
    (folder / "masks" / "b.png").write_bytes(palette_png(LabelMap(label_map), CLASSES))

    assert np.array_equal(label_map, read_own_folder(folder)[1].read_reference())


@pytest.mark.parametrize(
    "table",
    [
        TABLE.replace(",", ";"),
        "\ufeff" + TABLE,
        TABLE.replace("file,class,patient", "File,CLASS,Patient").replace("benign", "Benign"),
        TABLE.replace("\n", "\r\n") + ",,\r\n",
        "\n;;\n" + TABLE.replace(",", ";"),
    ],
    ids=["semicolons", "byte order mark", "capitals", "an empty line at the end", "empty lines first"],
)
def test_tables_are_taken_as_spreadsheets_write_them(folder: Path, table: str) -> None:
    """With the semicolons and marks that they like."""
    (folder / "list.csv").write_text(table, encoding="utf-8")

    assert ["benign", "malignant", "normal"] == [record.kind for record in read_own_folder(folder)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("../a.png,benign,p1", "not the name of a file"),
        ("/etc/passwd,benign,p1", "not the name of a file"),
        (",benign,p1", "not the name of a file"),
        ("a.png,bening,p1", "'bening'"),
        ("a.png,benign,", "patient is empty"),
        ("z.png,benign,p1", r"z\.png: it is not here"),
        ("a.png,benign,p2", "a.png has several lines"),
        ("/,benign,p1", "not the name of a file"),
        ("a.png/,benign,p1", "not the name of a file"),
        ("..,benign,p1", "not the name of a file"),
        ("a" * 300 + ".png,benign,p1", "it is not here"),
        ("\n,,\nd.png,none,p1", "line 7: class is 'none'"),
    ],
)
def test_a_wrong_line_is_told(folder: Path, line: str, words: str) -> None:
    """With what is wrong in it."""
    (folder / "list.csv").write_text(TABLE + line + "\n", encoding="utf-8")

    with pytest.raises(DatasetInvalid, match=words):
        read_own_folder(folder)


@pytest.mark.requirement("TRAIN-7")
def test_every_problem_of_the_files_is_listed(folder: Path) -> None:
    """An empty mask of a tumour, a lesion in a normal image, another size, other values, files that nothing names."""
    for name, kind in (("d", "benign"), ("e", "benign"), ("f", "benign"), ("g", "benign")):
        write_image(folder / f"images/{name}.png")
        (folder / "list.csv").write_text((folder / "list.csv").read_text() + f"{name}.png,{kind},p3\n")
    write_mask(folder / "masks/c.png")
    write_mask(folder / "masks/d.png", value=0)
    write_mask(folder / "masks/e.png", rows=40)
    write_mask(folder / "masks/f.png", value=77)
    PillowImage.new("RGB", (COLUMNS, ROWS)).save(folder / "masks/g.png")
    write_image(folder / "images/x.png")
    write_mask(folder / "masks/y.png")

    with pytest.raises(DatasetInvalid) as caught:
        read_own_folder(folder)

    problems = "\n".join(caught.value.problems)
    assert 7 == len(caught.value.problems)
    for word in ("image is normal", "is empty", "(40, 64)", "[0, 77]", "RGB", "x.png", "y.png"):
        assert word in problems


def test_one_table_is_taken(folder: Path) -> None:
    """Two could contradict each other."""
    (folder / "old.csv").write_text(TABLE, encoding="utf-8")

    with pytest.raises(DatasetInvalid, match="one table"):
        read_own_folder(folder)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (TABLE.replace("patient", "woman"), "no column patient"),
        ("file,class,patient\n", "no row below its header"),
        ("", "no column class, file, patient"),
        (TABLE + "d.png,benign\n", "patient is empty"),
        (TABLE.replace("\n", ",\n").replace("patient,", "patient,Patient"), "several columns patient"),
        (None, "it takes one table"),
    ],
    ids=["a column is missing", "no rows", "empty", "a line ends early", "a column is there twice", "no table"],
)
def test_a_folder_with_a_bad_table_is_still_an_own_folder(folder: Path, table: str | None, words: str) -> None:
    """It is told what its table lacks, not that it is no copy of some published set."""
    if table is None:
        (folder / "list.csv").unlink()
    else:
        (folder / "list.csv").write_text(table, encoding="utf-8")

    with pytest.raises(DatasetInvalid, match=words):
        read([folder])


def test_a_table_in_other_letters_is_told(folder: Path) -> None:
    """Spreadsheets of Windows write them; names of patients would be read wrongly."""
    (folder / "list.csv").write_bytes(TABLE.replace("p1", "Muñoz").encode("cp1252"))

    with pytest.raises(DatasetInvalid, match="save it as CSV UTF-8"):
        read_own_folder(folder)


def test_the_class_of_a_label_map_is_the_class_of_the_table(folder: Path) -> None:
    """One of the two is a slip, and nobody but the hospital knows which."""
    write_mask(folder / "masks" / "a.png", value=2)

    with pytest.raises(DatasetInvalid, match="a malignant lesion is the gravest in it, and the image is benign"):
        read_own_folder(folder)


def test_what_desktops_leave_is_no_image(folder: Path) -> None:
    """Nobody sees these files, and nobody put them there."""
    for name in ("images/Thumbs.db", "images/.DS_Store", "masks/desktop.ini"):
        (folder / name).write_bytes(b"")

    assert 3 == len(read_own_folder(folder))


def test_names_are_found_as_other_computers_write_them(folder: Path) -> None:
    """A Mac writes é as two signs, a spreadsheet as one; suffixes are in capitals; a stick has hidden copies."""
    accented = unicodedata.normalize("NFD", "é")
    (folder / "images/a.png").rename(folder / f"images/{accented}.PNG")
    (folder / "masks/a.png").rename(folder / f"masks/{accented}.PNG")
    (folder / "list.csv").rename(folder / "LIST.CSV")
    (folder / "LIST.CSV").write_text(TABLE.replace("a.png", "é.PNG"), encoding="utf-8")
    (folder / "._LIST.CSV").write_bytes(b"\0\5\x16\7")
    record = read([folder])[0]

    assert "é.PNG" == record.name
    assert 600 == (record.read_reference() == 1).sum()


def test_capitals_do_not_make_two_patients_of_one(folder: Path) -> None:
    """Nor does the way in which an accent is written: one woman would be on both sides of a split."""
    names = ("NÚÑEZ", "Núñez", unicodedata.normalize("NFD", "núñez"))
    lines = zip(("a.png,benign", "b.jpg,malignant", "c.png,normal"), names, strict=True)
    (folder / "list.csv").write_text("file,class,patient\n" + "\n".join(map(",".join, lines)), encoding="utf-8")

    assert 1 == len({record.group for record in read_own_folder(folder)})


@pytest.mark.requirement("TRAIN-7")
def test_one_picture_of_two_patients_is_refused(folder: Path, tmp_path: Path) -> None:
    """It would be learnt from and tested on: in one folder, or as a correction of what is in another one."""
    corrections = tmp_path / "corrections"
    (corrections / "images").mkdir(parents=True)
    with PillowImage.open(folder / "images/a.png") as picture:
        picture.convert("RGB").save(corrections / "images/0f.bmp")
    (corrections / "corrections.csv").write_text("file,class,patient\n0f.bmp,normal,c0de\n", encoding="utf-8")
    with pytest.raises(DatasetInvalid, match=r"0f\.bmp: the same picture as .*a\.png, of another patient"):
        read([folder, corrections])

    (folder / "images/c.png").write_bytes((folder / "images/a.png").read_bytes())
    with pytest.raises(DatasetInvalid, match=r"c\.png: the same picture as .*a\.png, of another patient"):
        read([folder])
    (folder / "list.csv").write_text(TABLE.replace("p2", "p1"), encoding="utf-8")
    assert 3 == len(read([folder]))


def test_a_set_cannot_take_the_name_of_a_published_one(folder: Path) -> None:
    """Its images would be taken for that set's."""
    with pytest.raises(DatasetInvalid, match="give the folder another"):
        read_own_folder(folder.rename(folder.with_name("BUSI")))


def test_a_folder_that_is_no_data_set_is_told_what_there_is(tmp_path: Path) -> None:
    """The layouts that are read, or that the folder is not there."""
    with pytest.raises(DatasetInvalid, match="nothing here says which data set it is"):
        read([tmp_path])
    with pytest.raises(DatasetInvalid, match="no such folder"):
        read([tmp_path / "nowhere"])


def test_a_set_given_twice_is_refused(folder: Path) -> None:
    """Its images would be on both sides of a split, and count twice."""
    with pytest.raises(DatasetInvalid, match="in another folder too"):
        read([folder, folder])
