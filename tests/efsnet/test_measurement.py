"""Tests of the measurements: areas, axes, places and confidences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from efsnet.image import PixelSpacing
from efsnet.maps import LabelMap, ProbabilityMap
from efsnet.measurement import Measurement, measure
from efsnet.postprocessing import to_grid
from efsnet.specification import ClassSpecification

Classes = tuple[ClassSpecification, ...]
MASKS = arrays.arrays(np.bool_, st.tuples(st.integers(1, 16), st.integers(1, 16)))
SPACINGS = st.builds(PixelSpacing, st.floats(0.01, 10), st.floats(0.01, 10))


def sure(label_map: LabelMap) -> ProbabilityMap:
    """A probability map on the same grid that gives each pixel's class 0.75, and the others the rest."""
    return ProbabilityMap(np.where(label_map.array == np.arange(3)[:, None, None], 0.75, 0.125).astype(np.float32))


def measured(array: NDArray[np.uint8], classes: Classes, spacing: PixelSpacing | None = None) -> Measurement:
    """The measurement of a label map of which the network was sure."""
    label_map = LabelMap(array)
    return measure(label_map, probability_map=sure(label_map), classes=classes, spacing=spacing)


def ellipse(rows: int, columns: int) -> NDArray[np.uint8]:
    """An ellipse with these axes, in the middle of an image with a margin of 5 pixels."""
    row, column = np.mgrid[: rows + 10, : columns + 10]
    row_radii = (row - (rows + 9) / 2) / (rows / 2)
    column_radii = (column - (columns + 9) / 2) / (columns / 2)
    return np.asarray(row_radii**2 + column_radii**2 <= 1, np.uint8)


@pytest.mark.requirement("AREA-1")
def test_without_lesions_every_class_is_listed_with_zeros(classes: Classes) -> None:
    """An answer says what was looked for."""
    for spacing, area in ((None, None), (PixelSpacing(0.1, 0.1), 0.0)):
        found = measured(np.zeros((4, 6), np.uint8), classes, spacing)
        assert [(each.number, each.label, each.pixels, each.fraction) for each in found.classes] == [
            (1, "benign", 0, 0.0),
            (2, "malignant", 0, 0.0),
        ]
        assert {each.area_mm2 for each in found.classes} == {area}
        assert {each.mean_confidence for each in found.classes} == {None}
        assert found.lesions == ()


@pytest.mark.requirement("AREA-4")
def test_a_rectangle_is_measured(classes: Classes) -> None:
    """Each figure of it can be told by hand."""
    array = np.zeros((10, 20), np.uint8)
    array[2:5, 4:9] = 2
    found = measured(array, classes, PixelSpacing(row_mm=0.5, column_mm=0.25))
    (lesion,) = found.lesions
    assert (lesion.number, lesion.class_number, lesion.label) == (1, 2, "malignant")
    assert (lesion.pixels, lesion.fraction, lesion.area_mm2) == (15, 15 / 200, 15 * 0.125)
    assert lesion.bbox_xywh == (4, 2, 5, 3)
    assert lesion.centroid_xy == (6.0, 3.0)
    assert lesion.mean_confidence == 0.75
    assert [each.pixels for each in found.classes] == [0, 15]
    assert found.classes[1].area_mm2 == lesion.area_mm2
    assert found.classes[1].mean_confidence == 0.75


@pytest.mark.requirement("AREA-2")
def test_millimetres_are_never_invented(classes: Classes) -> None:
    """Without a spacing there are pixels alone."""
    found = measured(ellipse(7, 9), classes)
    assert found.classes[0].area_mm2 is None
    assert found.lesions[0].area_mm2 is None
    assert found.lesions[0].axes_mm is None


def test_a_row_of_pixels_is_as_long_as_they_are_many(classes: Classes) -> None:
    """And one pixel wide, lying or standing."""
    array = np.zeros((9, 9), np.uint8)
    array[4, 1:8] = 1
    for lying_or_standing in (array, array.T.copy()):
        axes = measured(lying_or_standing, classes).lesions[0].axes_px
        assert (axes.longest, axes.across) == pytest.approx((7, 1))


@pytest.mark.parametrize(("rows", "columns"), [(40, 40), (30, 80), (91, 25)])
@pytest.mark.requirement("AREA-4")
def test_an_ellipse_has_the_axes_that_it_was_drawn_with(classes: Classes, rows: int, columns: int) -> None:
    """Within a pixel."""
    axes = measured(ellipse(rows, columns), classes).lesions[0].axes_px
    assert axes.longest == pytest.approx(max(rows, columns), abs=1)
    assert axes.across == pytest.approx(min(rows, columns), abs=1)


def test_axes_in_millimetres_go_by_both_spacings(classes: Classes) -> None:
    """What is round in the body can be an ellipse in pixels, and the other way round."""
    round_in_mm = measured(ellipse(40, 80), classes, PixelSpacing(row_mm=0.2, column_mm=0.1)).lesions[0].axes_mm
    assert round_in_mm is not None
    assert (round_in_mm.longest, round_in_mm.across) == pytest.approx((8, 8), abs=0.2)
    round_in_pixels = measured(ellipse(60, 60), classes, PixelSpacing(row_mm=0.1, column_mm=0.3)).lesions[0].axes_mm
    assert round_in_pixels is not None
    assert (round_in_pixels.longest, round_in_pixels.across) == pytest.approx((18, 6), abs=0.3)


@given(mask=MASKS.filter(np.any), spacing=SPACINGS)
def test_the_longest_axis_is_the_largest_distance_of_the_outline(
    classes: Classes, mask: NDArray[np.bool_], spacing: PixelSpacing
) -> None:
    """Told from all pairs of the middles of pixel sides."""
    for lesion in measured(mask.astype(np.uint8), classes, spacing).lesions:
        x, y, width, height = lesion.bbox_xywh
        if lesion.pixels != mask[y : y + height, x : x + width].sum():
            continue  # another lesion reaches into its box
        pixels = np.argwhere(mask[y : y + height, x : x + width])
        sides = [pixels + side for side in ((0, 0.5), (0, -0.5), (0.5, 0), (-0.5, 0))]
        points = np.concatenate(sides) * (spacing.row_mm, spacing.column_mm)
        longest = np.hypot(*(points[:, np.newaxis] - points).T).max()
        assert lesion.axes_mm is not None
        assert longest * 0.99996 <= lesion.axes_mm.longest <= longest * 1.00001
        assert 0 < lesion.axes_mm.across <= lesion.axes_mm.longest * 1.00001


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 16), st.integers(1, 16)), elements=st.integers(0, 2)))
def test_lesions_make_up_their_classes(classes: Classes, array: NDArray[np.uint8]) -> None:
    """No pixel is lost and none counted twice; the largest lesion is the first."""
    found = measured(array, classes, PixelSpacing(0.5, 0.25))
    for each in found.classes:
        own = [lesion for lesion in found.lesions if lesion.class_number == each.number]
        assert each.pixels == np.count_nonzero(array == each.number) == sum(lesion.pixels for lesion in own)
        assert each.fraction == pytest.approx(each.pixels / array.size)
        assert each.area_mm2 == each.pixels * 0.125
        assert each.mean_confidence == (pytest.approx(0.75) if own else None)
    assert [lesion.number for lesion in found.lesions] == list(range(1, len(found.lesions) + 1))
    assert [lesion.pixels for lesion in found.lesions] == sorted((each.pixels for each in found.lesions), reverse=True)


@given(array=arrays.arrays(np.uint8, (7, 9), elements=st.integers(0, 2)), times=st.integers(1, 4))
def test_an_enlarged_grid_holds_the_same_lesions(classes: Classes, array: NDArray[np.uint8], times: int) -> None:
    """Shares, millimetres and confidences are those of the network's own grid."""
    label_map = LabelMap(array)
    scores = np.random.default_rng(7).random((3, *array.shape), np.float32)
    probability_map = ProbabilityMap(scores / scores.sum(axis=0))
    own = measure(label_map, probability_map=probability_map, classes=classes, spacing=PixelSpacing(0.4, 0.8))
    large = measure(
        to_grid(label_map, 7 * times, 9 * times),
        probability_map=probability_map,
        classes=classes,
        spacing=PixelSpacing(0.4 / times, 0.8 / times),
    )
    assert len(own.lesions) == len(large.lesions)
    for one, other in zip(own.classes + own.lesions, large.classes + large.lesions, strict=True):
        assert other.pixels == one.pixels * times**2
        assert other.fraction == pytest.approx(one.fraction)
        assert other.area_mm2 == pytest.approx(one.area_mm2)
        assert other.mean_confidence == (None if one.mean_confidence is None else pytest.approx(one.mean_confidence))


def test_a_confidence_is_that_of_the_network_pixel_it_came_from(classes: Classes) -> None:
    """A mask of two network pixels, on a grid of six by three."""
    probability_map = ProbabilityMap(np.array([[[0.5, 0.25]], [[0.25, 0.5]], [[0.25, 0.25]]], np.float32))
    array = np.zeros((3, 6), np.uint8)
    array[1, 2:5] = 1  # one pixel of the left half, two of the right
    found = measure(LabelMap(array), probability_map=probability_map, classes=classes, spacing=None)
    assert found.lesions[0].mean_confidence == pytest.approx((0.25 + 0.5 + 0.5) / 3)


def test_a_confidence_is_that_of_the_whole_lesion_however_long_it_is(classes: Classes) -> None:
    """Of one that is gathered in several strips, a third each under three pixels of the network's."""
    column = np.array([[0.5], [0.625], [0.875]], np.float32)
    probability_map = ProbabilityMap(np.stack([1 - column, column, np.zeros_like(column)]))
    label_map = LabelMap(np.ones((3000, 2), np.uint8))

    (lesion,) = measure(label_map, probability_map=probability_map, classes=classes, spacing=None).lesions

    assert lesion.pixels == 6000
    assert lesion.mean_confidence == pytest.approx(2 / 3)


def test_a_class_is_as_sure_as_its_pixels(classes: Classes) -> None:
    """Not as its lesions: a large one weighs more."""
    benign = np.array([[0.9, 0.0, 0.5, 0.5, 0.5]], np.float32)
    probability_map = ProbabilityMap(np.stack([1 - benign, benign, 0 * benign]))
    label_map = LabelMap(np.array([[1, 0, 1, 1, 1]], np.uint8))
    found = measure(label_map, probability_map=probability_map, classes=classes, spacing=None)
    assert [lesion.mean_confidence for lesion in found.lesions] == pytest.approx([0.5, 0.9])
    assert found.classes[0].mean_confidence == pytest.approx((0.9 + 3 * 0.5) / 4)


def test_neighbours_of_two_classes_are_two_lesions(classes: Classes) -> None:
    """A lesion has one class."""
    found = measured(np.array([[1, 1, 2, 2, 2]], np.uint8), classes)
    assert [(lesion.number, lesion.label, lesion.bbox_xywh) for lesion in found.lesions] == [
        (1, "malignant", (2, 0, 3, 1)),
        (2, "benign", (0, 0, 2, 1)),
    ]


def test_a_lesion_as_long_as_an_image_can_be_has_its_axes(classes: Classes) -> None:
    """Its outline is looked at piece by piece."""
    (lesion,) = measured(np.ones((65_535, 2), np.uint8), classes).lesions

    assert lesion.axes_px.longest == 65_535
    assert lesion.axes_px.across == pytest.approx(2)


def test_axes_of_a_single_pixel_are_its_sides(classes: Classes) -> None:
    """In millimetres these differ where the spacing does."""
    (lesion,) = measured(np.array([[0, 1]], np.uint8), classes, PixelSpacing(row_mm=0.5, column_mm=0.25)).lesions
    assert (lesion.axes_px.longest, lesion.axes_px.across) == pytest.approx((1, 1))
    assert lesion.axes_mm is not None
    assert (lesion.axes_mm.longest, lesion.axes_mm.across) == pytest.approx((0.5, 0.25))
