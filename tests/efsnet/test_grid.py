"""Tests of the arithmetic of grids."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from efsnet.grid import bounding_box, nearest

MASKS = arrays.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)))


@given(MASKS)
def test_a_bounding_box_holds_all_and_no_border_of_nothing(mask: NDArray[np.bool_]) -> None:
    """It is the smallest one."""
    rows, columns = bounding_box(mask)
    inside = mask[rows, columns]
    assert inside.sum() == mask.sum()
    if inside.size:
        assert inside[0].any()
        assert inside[-1].any()
        assert inside[:, 0].any()
        assert inside[:, -1].any()
    else:
        assert not mask.any()


@given(st.integers(1, 300))
def test_a_grid_is_nearest_to_itself(size: int) -> None:
    """Each pixel comes from itself."""
    assert nearest(size, size).tolist() == list(range(size))


@given(source=st.integers(1, 300), target=st.integers(1, 300))
def test_each_pixel_comes_from_the_one_that_its_centre_lies_in(source: int, target: int) -> None:
    """The centre of pixel i lies at (i + 0.5) / target of the whole side."""
    found = nearest(source, target)
    for index, pixel in enumerate(found.tolist()):
        # pixel / source <= (index + 0.5) / target < (pixel + 1) / source, in whole numbers
        assert 2 * pixel * target <= (2 * index + 1) * source < 2 * (pixel + 1) * target


@given(source=st.integers(1, 60), times=st.integers(1, 5))
def test_a_whole_enlargement_repeats_each_pixel_equally_often(source: int, times: int) -> None:
    """And in its place."""
    assert nearest(source, source * times).tolist() == np.repeat(np.arange(source), times).tolist()
