"""Tests of the way into the network."""

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from efsnet.image import Image
from efsnet.preprocessing import to_input
from efsnet.specification import InputSpecification


def grid(rows: int, columns: int) -> InputSpecification:
    """An input of this size."""
    return InputSpecification(rows=rows, columns=columns, resize="stretch", filter="bilinear", value_range=(0.0, 1.0))


@given(
    rows=st.integers(1, 90),
    columns=st.integers(1, 90),
    value=st.integers(0, 255),
    side=st.sampled_from([32, 40, 64]),
)
def test_an_even_image_stays_even(rows: int, columns: int, value: int, side: int) -> None:
    """Whatever the sizes are; nothing adapts to the brightness of the image at hand."""
    tensor = to_input(Image(np.full((rows, columns), value, np.uint8)), grid(side, 64))
    assert tensor.dtype == np.uint8
    np.testing.assert_array_equal(np.full((1, side, 64), value), tensor)


def test_an_image_of_the_inputs_size_is_taken_as_it_is() -> None:
    """No pixel is changed."""
    pixels = np.arange(32 * 40).reshape(32, 40).astype(np.uint8)
    np.testing.assert_array_equal(pixels[np.newaxis], to_input(Image(pixels), grid(32, 40)))


def test_rows_are_rows_and_columns_columns() -> None:
    """The left half of an image stays its left half, at another aspect ratio."""
    pixels = np.zeros((100, 50), np.uint8)
    pixels[:, :25] = 255
    tensor = to_input(Image(pixels), grid(40, 64))
    assert tensor.shape == (1, 40, 64)
    assert (tensor[0, :, :31] == 255).all()
    assert (tensor[0, :, 33:] == 0).all()


def test_a_reduction_does_not_alias() -> None:
    """Lines finer than the grid become grey, because the filter grows with the reduction."""
    pixels = np.zeros((256, 256), np.uint8)
    pixels[:, ::2] = 255
    inner = to_input(Image(pixels), grid(64, 64))[0, :, 2:-2].astype(int)
    assert abs(inner - 128).max() <= 2


@pytest.mark.parametrize("size", [(100, 130), (600, 800), (64, 64)])
@pytest.mark.requirement("SEG-7")
def test_it_is_pillows_bilinear_filter(size: tuple[int, int]) -> None:
    """The one that the network was trained with."""
    pixels: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    expected = PIL.Image.fromarray(pixels).resize((72, 64), PIL.Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(np.asarray(expected)[np.newaxis], to_input(Image(pixels), grid(64, 72)))
