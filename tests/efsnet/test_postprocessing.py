"""Tests of the way from probabilities to lesions."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from scipy import ndimage

from efsnet.errors import GeometryError
from efsnet.maps import LabelMap, ProbabilityMap
from efsnet.postprocessing import to_grid, to_label_map
from efsnet.specification import PostProcessing

LABEL_MAPS = arrays.arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20)), elements=st.integers(0, 2)).map(
    LabelMap
)


def rules(
    *, threshold: float = 0.5, minimum: float = 0.0, fill_holes: bool = False, one_class: bool = True
) -> PostProcessing:
    """Rules that do as little as possible but for what is asked."""
    return PostProcessing(
        tumour_threshold=threshold,
        minimum_area_fraction=minimum,
        fill_holes=fill_holes,
        one_class_per_lesion=one_class,
    )


def probabilities(benign: list[list[float]], malignant: list[list[float]]) -> ProbabilityMap:
    """Of three classes; background has what the two leave."""
    lesion = np.array([benign, malignant], np.float32)
    return ProbabilityMap(np.concatenate([1 - lesion.sum(axis=0, keepdims=True), lesion]))


def drawn(picture: str) -> ProbabilityMap:
    """From a drawing: `.` is background, `b` and `m` are surely benign and malignant."""
    letters = np.array([list(line) for line in picture.split()])
    return ProbabilityMap(np.stack([letters == letter for letter in ".bm"]).astype(np.float32))


def labels(picture: str) -> list[list[int]]:
    """The class numbers of a drawing."""
    return [[".bm".index(letter) for letter in line] for line in picture.split()]


def test_a_pixel_is_tumour_from_the_threshold_on() -> None:
    """The threshold itself counts; the lesion classes count together."""
    probability_map = probabilities(benign=[[0.25, 0.25, 0.25]], malignant=[[0.24, 0.25, 0.5]])
    assert to_label_map(probability_map, rules()).array.tolist() == [[0, 2, 2]]
    assert to_label_map(probability_map, rules(threshold=0.75)).array.tolist() == [[0, 0, 2]]


def test_without_tumour_there_is_background_alone() -> None:
    """By any rules."""
    for fill_holes in (False, True):
        for one_class in (False, True):
            found = to_label_map(drawn("... ..."), rules(fill_holes=fill_holes, one_class=one_class))
            assert found.array.tolist() == labels("... ...")


@pytest.mark.requirement("SEG-9")
def test_a_lesion_has_one_class_by_all_its_pixels() -> None:
    """Many doubtful pixels can outweigh a few sure ones."""
    probability_map = probabilities(benign=[[0.0, 0.6, 0.6, 0.6]], malignant=[[0.9, 0.2, 0.2, 0.2]])
    assert to_label_map(probability_map, rules()).array.tolist() == [[1, 1, 1, 1]]
    assert to_label_map(probability_map, rules(one_class=False)).array.tolist() == [[2, 1, 1, 1]]


def test_lesions_are_told_apart() -> None:
    """Each has its own class."""
    picture = "bb..m bm..m ....m"
    assert to_label_map(drawn(picture), rules()).array.tolist() == labels("bb..m bb..m ....m")
    assert to_label_map(drawn(picture), rules(one_class=False)).array.tolist() == labels(picture)


def test_pixels_that_touch_by_a_corner_are_one_lesion() -> None:
    """So the corner decides the class of the whole."""
    assert to_label_map(drawn("bb... bb... ..m.."), rules()).array.tolist() == labels("bb... bb... ..b..")


def test_a_tie_goes_to_the_higher_number() -> None:
    """The manifest numbers malignant above benign, and malignant is what must not be missed."""
    probability_map = probabilities(benign=[[0.375, 0.5]], malignant=[[0.375, 0.5]])
    for one_class in (False, True):
        assert to_label_map(probability_map, rules(one_class=one_class)).array.tolist() == [[2, 2]]


@pytest.mark.requirement("SEG-9")
def test_small_lesions_are_dropped() -> None:
    """The smallest share that is kept is the minimum itself."""
    picture = "bb..m bb... ....."
    assert to_label_map(drawn(picture), rules(minimum=2 / 15)).array.tolist() == labels("bb... bb... .....")
    assert to_label_map(drawn(picture), rules(minimum=4 / 15)).array.tolist() == labels("bb... bb... .....")
    assert to_label_map(drawn(picture), rules(minimum=5 / 15)).array.tolist() == labels("..... ..... .....")


def test_a_hole_counts_to_the_lesion_around_it() -> None:
    """A hole is closed also by corners, as lesions are joined by them."""
    picture = ".b... b.b.. .b..m"
    assert to_label_map(drawn(picture), rules(fill_holes=True)).array.tolist() == labels(".b... bbb.. .b..m")
    assert to_label_map(drawn(picture), rules()).array.tolist() == labels(picture)


def test_a_bay_at_the_border_is_no_hole() -> None:
    """Beyond the image there may be background."""
    picture = "b.b bbb"
    assert to_label_map(drawn(picture), rules(fill_holes=True)).array.tolist() == labels(picture)


def test_holes_are_filled_before_small_lesions_are_dropped() -> None:
    """The size of a lesion is that of the whole."""
    picture = "mmm. m.m. mmm. ...."
    assert to_label_map(drawn(picture), rules(fill_holes=True, minimum=9 / 16)).array.any()
    assert not to_label_map(drawn(picture), rules(minimum=9 / 16)).array.any()


def test_the_whole_image_can_be_a_lesion() -> None:
    """Nothing is taken for a frame."""
    assert to_label_map(drawn("mmm mmm"), rules(fill_holes=True)).array.tolist() == labels("mmm mmm")


@given(
    scores=arrays.arrays(np.float32, (3, 9, 11), elements=st.floats(0.0009765625, 1, width=32)),
    fill_holes=st.booleans(),
    one_class=st.booleans(),
    minimum=st.sampled_from([0.0, 0.03, 0.1]),
)
def test_the_rules_hold_for_any_probabilities(
    scores: NDArray[np.float32], *, fill_holes: bool, one_class: bool, minimum: float
) -> None:
    """Told on the whole image, without the short cuts that the product takes."""
    probability_map = ProbabilityMap((scores / scores.sum(axis=0)).astype(np.float32))
    found = to_label_map(probability_map, rules(minimum=minimum, fill_holes=fill_holes, one_class=one_class)).array
    tumour = probability_map.tumour >= 0.5
    if fill_holes:
        tumour = ndimage.binary_fill_holes(tumour)
    lesions, count = ndimage.label(tumour, np.ones((3, 3)))
    expected = np.zeros((9, 11), np.uint8)
    for lesion in (lesions == number for number in range(1, count + 1)):
        if lesion.sum() >= minimum * lesion.size:
            benign, malignant = probability_map.array[1:, lesion].astype(np.float64)
            graver = malignant.sum() >= benign.sum() if one_class else malignant >= benign
            expected[lesion] = np.where(graver, 2, 1)
    np.testing.assert_array_equal(expected, found)


@given(LABEL_MAPS)
def test_the_same_grid_changes_nothing(label_map: LabelMap) -> None:
    """Not even the object."""
    assert to_grid(label_map, label_map.rows, label_map.columns) is label_map


@given(label_map=LABEL_MAPS, times=st.integers(1, 4))
def test_an_enlarged_label_map_reads_back(label_map: LabelMap, times: int) -> None:
    """From any pixel of each square."""
    large = to_grid(label_map, label_map.rows * times, label_map.columns * times).array
    assert large.dtype == np.uint8
    for offset in range(times):
        np.testing.assert_array_equal(label_map.array, large[offset::times, offset::times])


@given(label_map=LABEL_MAPS, rows=st.integers(1, 50), columns=st.integers(1, 50))
def test_a_stretched_label_map_has_no_new_classes(label_map: LabelMap, rows: int, columns: int) -> None:
    """Class numbers are never mixed."""
    stretched = to_grid(label_map, rows, columns).array
    assert stretched.shape == (rows, columns)
    assert set(np.unique(stretched)) <= set(np.unique(label_map.array))


@given(label_map=LABEL_MAPS, rows=st.integers(1, 50), columns=st.integers(1, 50))
def test_a_pixel_of_a_stretched_label_map_has_the_class_that_its_centre_lies_in(
    label_map: LabelMap, rows: int, columns: int
) -> None:
    """Every pixel, also outside of the part that holds tumour, and where there is none."""
    row = [math.floor(Fraction(2 * each + 1, 2 * rows) * label_map.rows) for each in range(rows)]
    column = [math.floor(Fraction(2 * each + 1, 2 * columns) * label_map.columns) for each in range(columns)]
    np.testing.assert_array_equal(label_map.array[np.ix_(row, column)], to_grid(label_map, rows, columns).array)


@pytest.mark.parametrize("grid", [(0, 4), (4, 0), (-1, 4)])
def test_a_grid_has_a_row_and_a_column(grid: tuple[int, int]) -> None:
    """Or nothing can be put on it."""
    with pytest.raises(GeometryError):
        to_grid(LabelMap(np.zeros((4, 4), np.uint8)), *grid)
