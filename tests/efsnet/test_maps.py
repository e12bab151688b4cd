"""Tests of the arrays that travel through the product."""

import numpy as np
import pytest
from numpy.typing import NDArray

from efsnet.errors import ArrayInvalid
from efsnet.maps import LabelMap, ProbabilityMap


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 4), np.float32), np.zeros((1, 4, 4), np.float32), np.zeros((3, 4, 4)), np.zeros((3, 4, 4), np.uint8)],
    ids=["no classes", "one class", "float64", "uint8"],
)
def test_a_probability_map_has_classes_rows_and_columns_of_float32(array: NDArray[np.float32]) -> None:
    """Or it is not made."""
    with pytest.raises(ArrayInvalid):
        ProbabilityMap(array)


@pytest.mark.parametrize(
    "array", [np.zeros((1, 4, 4), np.uint8), np.zeros((4, 4), np.int64), np.zeros((4, 4), np.bool_)]
)
def test_a_label_map_has_rows_and_columns_of_uint8(array: NDArray[np.uint8]) -> None:
    """Or it is not made."""
    with pytest.raises(ArrayInvalid):
        LabelMap(array)


def test_tumour_is_all_that_is_not_background() -> None:
    """The probabilities of the lesion classes together."""
    probability_map = ProbabilityMap(np.array([[[0.2]], [[0.5]], [[0.25]]], np.float32))
    assert probability_map.tumour.tolist() == [[0.75]]
    assert probability_map.tumour.dtype == np.float32


def test_a_mask_is_where_one_class_is() -> None:
    """Rows and columns are the map's."""
    label_map = LabelMap(np.array([[0, 1, 2], [2, 1, 1]], np.uint8))
    assert (label_map.rows, label_map.columns) == (2, 3)
    assert label_map.mask(2).tolist() == [[False, False, True], [True, False, False]]
