"""Tests of the run lengths."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from pycocotools import mask as coco

from efsnet.errors import ArrayInvalid
from efsnet.rle import RunLengths, decode, encode

MASKS = arrays.arrays(np.bool_, st.tuples(st.integers(1, 30), st.integers(1, 30)))


def runs(counts: str) -> list[int]:
    """The numbers in COCO's string, read by the rules of maskApi.c: 5 bits a character, differences from the third."""
    numbers: list[int] = []
    value = shift = 0
    for character in counts:
        bits = ord(character) - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16 and 1) << shift
            numbers.append(value + (numbers[-2] if len(numbers) > 2 else 0))
            value = shift = 0
    return numbers


@given(MASKS)
def test_a_mask_reads_back_from_its_run_lengths(mask: NDArray[np.bool_]) -> None:
    """Through JSON, as it travels."""
    run_lengths: RunLengths = json.loads(json.dumps(encode(mask)))
    assert run_lengths["size"] == list(mask.shape)
    np.testing.assert_array_equal(mask, decode(run_lengths))


@given(MASKS)
@pytest.mark.requirement("SEG-4")
def test_another_reader_finds_the_same_mask(mask: NDArray[np.bool_]) -> None:
    """One that goes by COCO's description: down the columns, first what is outside."""
    lengths = runs(encode(mask)["counts"])
    values = np.repeat(np.arange(len(lengths)) % 2, lengths)
    np.testing.assert_array_equal(mask, values.reshape(mask.shape, order="F"))


def test_the_first_run_is_outside_the_mask() -> None:
    """Two rows, three columns: 3 outside, 2 inside, 1 outside, going down the columns."""
    mask = np.array([[False, False, True], [False, True, False]])
    assert runs(encode(mask)["counts"]) == [3, 2, 1]


@given(mask=MASKS, margins=st.tuples(*[st.integers(0, 9)] * 4))
def test_a_lesion_is_written_as_pycocotools_writes_it(
    mask: NDArray[np.bool_], margins: tuple[int, int, int, int]
) -> None:
    """However much background there is on each side of it, of which not every pixel is turned."""
    top, bottom, left, right = margins
    padded = np.pad(mask, ((top, bottom), (left, right)))

    assert coco.encode(np.asfortranarray(padded.view(np.uint8)))["counts"].decode() == encode(padded)["counts"]


def test_an_empty_mask_is_written_as_pycocotools_writes_it() -> None:
    """It is not looked at pixel by pixel, and nobody can tell."""
    mask = np.zeros((3, 50), np.bool_)

    assert coco.encode(np.asfortranarray(mask.view(np.uint8)))["counts"].decode() == encode(mask)["counts"]


@pytest.mark.parametrize(
    "counts", ["", "0", "1", "031", "~~~~", "ooooooo", "031o", "oooooooooo1", "é", "0\0", "031N0001020O0N31M11O" * 3]
)
def test_runs_that_do_not_fit_their_size_are_refused(counts: str) -> None:
    """Too few, too many, or no runs at all: pycocotools itself would give what happens to lie in its memory."""
    with pytest.raises(ArrayInvalid):
        decode({"size": [5, 7], "counts": counts})
