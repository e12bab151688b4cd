"""How a picture moved, and maps moved along."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from efsnet.motion import STILL, Motion, correlation, motion_between, small


@pytest.fixture
def picture() -> NDArray[np.float32]:
    """Tissue-like, (64, 64) float32 from 0 to 255."""
    noise = ndimage.gaussian_filter(np.random.default_rng(1).standard_normal((64, 64)), 3, mode="wrap")
    return np.asarray((128 + 60 * noise / noise.std()).clip(0, 255), dtype=np.float32)


def test_small_copy_holds_the_means_of_squares() -> None:
    """Known answers, also where a sum passes what 8 bits hold."""
    tensor = np.zeros((1, 16, 24), np.uint8)
    tensor[0, :8, 8:16] = 255
    tensor[0, 8:, :4] = 100

    np.testing.assert_array_equal([[0, 255, 0], [50, 0, 0]], small(tensor))


@pytest.mark.parametrize("motion", [Motion(0.02, 1.0, -0.03, 1.0), Motion(0.0, 0.97, 0.0, 1.02), STILL])
def test_known_motion_is_found(picture: NDArray[np.float32], motion: Motion) -> None:
    """A shift and a stretch come back to a tenth of a pixel."""
    found = motion_between(picture, motion.moved(picture))

    expected = (motion.row_shift, motion.row_stretch, motion.column_shift, motion.column_stretch)
    actual = (found.row_shift, found.row_stretch, found.column_shift, found.column_stretch)
    np.testing.assert_allclose(actual, expected, atol=0.1 * 2 / 64)


def test_gain_is_no_motion(picture: NDArray[np.float32]) -> None:
    """A picture that becomes darker has not moved."""
    found = motion_between(picture, picture * np.float32(0.7) + 10)

    assert found.row_shift == pytest.approx(0, abs=1e-3)
    assert found.column_stretch == pytest.approx(1, abs=1e-3)


def test_even_pictures_tell_no_motion() -> None:
    """Black, as before the probe is on the skin."""
    black = np.zeros((8, 8), np.float32)

    assert STILL == motion_between(black, black)


def test_map_moves_by_whole_pixels() -> None:
    """A shift by a quarter of the picture takes each value from a quarter further on; the edge goes on outside."""
    array = np.arange(8, dtype=np.float32)[np.newaxis, np.newaxis].repeat(4, axis=1)

    moved = Motion(column_shift=0.5).moved(array)

    np.testing.assert_allclose(moved[0, 0], [2, 3, 4, 5, 6, 7, 7, 7], atol=1e-5)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([[1, 2], [3, 4]], [[2, 4], [6, 8]], 1),
        ([[1, 2]], [[2, 1]], -1),
        ([[1, 1]], [[5, 5]], 1),
        ([[1, 1]], [[1, 2]], 0),
    ],
)
def test_correlation_of_known_pictures(one: list[list[float]], other: list[list[float]], expected: float) -> None:
    """Gain does not count, and pictures without contrast are like each other alone."""
    assert expected == pytest.approx(correlation(np.array(one, np.float32), np.array(other, np.float32)))
