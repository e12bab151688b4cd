"""Tests of the pictures that are made of label maps."""

import io
import struct
import tracemalloc

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from efsnet.errors import ArrayInvalid
from efsnet.image import Image
from efsnet.maps import LabelMap
from efsnet.rendering import overlay, overlay_png, palette_png
from efsnet.specification import ClassSpecification

Classes = tuple[ClassSpecification, ...]
BENIGN, MALIGNANT = (86, 180, 233), (230, 159, 0)


def some_classes(number: int) -> Classes:
    """So many classes, each of its own grey."""
    return tuple(ClassSpecification(number=i, label=str(i), colour=(i, i, i)) for i in range(number))


@given(
    array=arrays.arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20)), elements=st.integers(0, 2)),
    number=st.sampled_from([3, 4, 5, 16, 17, 256]),
)
@pytest.mark.requirement("SEG-5")
def test_a_palette_png_reads_back_as_its_label_map(array: NDArray[np.uint8], number: int) -> None:
    """A pixel's value is its class number, whatever the number of classes."""
    with PIL.Image.open(io.BytesIO(palette_png(LabelMap(array), some_classes(number)))) as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(array, np.asarray(image))


def test_a_palette_png_shows_the_colours_of_the_classes(classes: Classes) -> None:
    """So that any viewer shows what is meant."""
    with PIL.Image.open(io.BytesIO(palette_png(LabelMap(np.array([[0, 1, 2]], np.uint8)), classes))) as image:
        assert np.asarray(image.convert("RGB")).tolist() == [[[0, 0, 0], list(BENIGN), list(MALIGNANT)]]


@pytest.mark.parametrize(("number", "bits"), [(2, 1), (3, 2), (4, 2), (5, 4), (16, 4), (17, 8), (256, 8)])
def test_a_palette_png_has_as_few_bits_as_hold_the_classes(number: int, bits: int) -> None:
    """Its header says so."""
    data = palette_png(LabelMap(np.zeros((5, 7), np.uint8)), some_classes(number))
    columns, rows, depth, colour_type = struct.unpack(">IIBB", data[16:26])
    assert (columns, rows, depth, colour_type) == (7, 5, bits, 3)


def test_a_number_that_is_no_class_is_refused(classes: Classes) -> None:
    """Two bits would take 4 for 0."""
    with pytest.raises(ArrayInvalid, match="3 classes, and the label map has 4"):
        palette_png(LabelMap(np.array([[0, 4]], np.uint8)), classes)


def test_without_lesions_an_overlay_is_the_image(classes: Classes, grey: NDArray[np.uint8]) -> None:
    """In three equal channels."""
    drawn = overlay(Image(grey), LabelMap(np.zeros_like(grey)), classes)
    np.testing.assert_array_equal(np.stack([grey] * 3, axis=2), drawn)


def test_a_lesion_is_outlined_and_tinted(classes: Classes) -> None:
    """The outline is the colour of its class; inside, a quarter of the colour lies over the image."""
    pixels = np.full((20, 30), 100, np.uint8)
    labels = np.zeros_like(pixels)
    labels[4:10, 6:16] = 1
    labels[12:16, 0:5] = 2  # at the border of the image
    drawn = overlay(Image(pixels), LabelMap(labels), classes)
    assert drawn.shape == (20, 30, 3)
    assert drawn.dtype == np.uint8
    assert (drawn[4:10, 6] == BENIGN).all()
    assert (drawn[4, 6:16] == BENIGN).all()
    assert drawn[6, 10].tolist() == [96, 120, 133]
    assert (drawn[12:16, 0] == MALIGNANT).all()
    assert drawn[13, 2].tolist() == [132, 114, 75]
    assert (drawn[labels == 0] == 100).all()


def test_the_outline_grows_with_the_image(classes: Classes) -> None:
    """Or nobody would see it on a large one."""
    labels = np.ones((30, 1200), np.uint8)
    drawn = overlay(Image(np.zeros_like(labels)), LabelMap(labels), classes)
    outlined = (drawn == BENIGN).all(axis=2)
    assert outlined[:, 600].tolist() == [True] * 3 + [False] * 24 + [True] * 3


def test_an_overlay_takes_little_memory(classes: Classes) -> None:
    """A lesion that fills a large image must not multiply it: three bytes of a pixel are the overlay itself."""
    labels = np.ones((400, 400), np.uint8)
    tracemalloc.start()
    overlay(Image(labels), LabelMap(labels), classes)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * labels.size


def test_an_overlay_png_reads_back_as_the_overlay(classes: Classes, grey: NDArray[np.uint8]) -> None:
    """PNG loses nothing."""
    labels = LabelMap((grey // 90).clip(0, 2))
    with PIL.Image.open(io.BytesIO(overlay_png(Image(grey), labels, classes))) as image:
        assert image.mode == "RGB"
        np.testing.assert_array_equal(overlay(Image(grey), labels, classes), np.asarray(image))


def test_image_and_label_map_lie_on_the_same_grid(classes: Classes, grey: NDArray[np.uint8]) -> None:
    """Or the drawing would point at the wrong place."""
    with pytest.raises(ArrayInvalid, match="label map"):
        overlay(Image(grey), LabelMap(np.zeros((40, 55), np.uint8)), classes)
