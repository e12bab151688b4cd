"""Answers made steady, by known answers."""

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from efsnet.errors import ArrayInvalid
from efsnet.maps import ProbabilityMap
from efsnet.smoothing import FLOOR, Smoother, Smoothing
from efsnet.specification import PostProcessing

RULES = PostProcessing(tumour_threshold=0.5, minimum_area_fraction=0.0, fill_holes=False, one_class_per_lesion=True)
PLAIN = Smoothing(resistance=0, lean=0, appears_s=0, disappears_s=0)
TAU_S = PLAIN.time_constant_s


def scene(seed: int) -> NDArray[np.uint8]:
    """A picture of its own for each seed."""
    small = np.random.default_rng(seed).integers(0, 200, (8, 8))
    return small.repeat(8, axis=0).repeat(8, axis=1).astype(np.uint8)[np.newaxis]


def trembling(frame: int) -> NDArray[np.uint8]:
    """One scene, a little different in each frame."""
    return scene(0) + np.random.default_rng(1000 + frame).integers(0, 20, (1, 64, 64), dtype=np.uint8)


def answer(tumour: float, kind: int = 1) -> ProbabilityMap:
    """A square with this probability of a tumour of the class, and next to none elsewhere."""
    array = np.full((3, 64, 64), 0.001, np.float32)
    array[kind, 16:48, 16:48] = tumour
    array[0] = 1 - array[1:].sum(axis=0)
    return ProbabilityMap(array)


LESION, NONE = answer(0.9), answer(0.001)


def floored(probability_map: ProbabilityMap) -> NDArray[np.float32]:
    """The probabilities as they count."""
    return np.maximum(probability_map.array, FLOOR)


def shown(smoother: Smoother, answers: list[ProbabilityMap], *, rate: float = 30.0) -> list[bool]:
    """Whether a lesion is shown for each of these answers to frames of one scene."""
    return [
        bool(smoother.step(trembling(index), each, index / rate).label_map.array.any())
        for index, each in enumerate(answers)
    ]


def test_first_frame_is_shown_as_it_is() -> None:
    """There is nothing yet to be steadied."""
    first = Smoother(RULES).step(scene(0), LESION, 0.0)

    assert first.is_cut
    assert (first.label_map.array[20, 20], first.label_map.array[0, 0]) == (1, 0)


@pytest.mark.parametrize("rate", [10.0, 30.0, 60.0])
def test_change_follows_the_time_constant_at_any_rate(rate: float) -> None:
    """After a time constant, the odds have gone 63 % of their way, as a logarithm."""
    smoother = Smoother(RULES, PLAIN)
    smoother.step(trembling(0), NONE, 0.0)
    frames = round(0.6 * rate)
    for index in range(1, frames + 1):
        last = smoother.step(trembling(index), LESION, index / rate)

    def log_odds(map_: NDArray[np.float32]) -> float:
        return math.log(map_[1, 30, 30] / map_[0, 30, 30])

    left = math.exp(-frames / rate / TAU_S)
    expected = left * log_odds(floored(NONE)) + (1 - left) * log_odds(floored(LESION))
    assert log_odds(last.probability_map.array) == pytest.approx(expected, abs=0.05)


@pytest.mark.requirement("UI-6")
def test_one_missed_frame_is_not_seen() -> None:
    """What flickers in the network's answers does not in what is shown."""
    answers = [LESION, LESION, LESION, NONE, LESION, LESION, NONE, LESION]

    assert all(shown(Smoother(RULES), answers))


def test_one_false_alarm_is_not_seen() -> None:
    """Nor does a finding of a single frame appear."""
    assert not any(shown(Smoother(RULES), [NONE, NONE, NONE, LESION, NONE, NONE]))


@pytest.mark.requirement("UI-6")
def test_new_lesion_is_shown_within_200_ms() -> None:
    """In a scene that goes on; with 30 frames a second, the seventh frame with it is 200 ms after the first."""
    assert shown(Smoother(RULES), [*4 * [NONE], *7 * [LESION]])[-1]


def test_lesion_that_is_gone_is_dropped() -> None:
    """Half a second later nothing is shown."""
    assert not shown(Smoother(RULES), [*4 * [LESION], *16 * [NONE]])[-1]


def test_cut_begins_anew() -> None:
    """Nothing of one picture is in the answer to another, in either direction, from its first frame on."""
    smoother = Smoother(RULES)
    for index in range(5):
        smoother.step(trembling(index), LESION, index / 30)
    cut = smoother.step(scene(7), NONE, 5 / 30)
    back = smoother.step(scene(0), answer(0.9, kind=2), 6 / 30)

    assert cut.is_cut
    assert not cut.label_map.array.any()
    assert 2 == back.label_map.array[20, 20]


def test_gap_begins_anew() -> None:
    """Who sends nothing for longer than a second has moved on."""
    smoother = Smoother(RULES)
    smoother.step(trembling(0), LESION, 0.0)

    assert smoother.step(trembling(1), NONE, 1.5).is_cut


def test_frozen_image_stands_still() -> None:
    """Its mask becomes the network's own for it and stays, though noise makes the network waver."""
    smoother = Smoother(RULES)
    for index in range(4):
        smoother.step(trembling(index), LESION, index / 30)
    answers = [LESION if index % 3 else NONE for index in range(30)]
    stood = [smoother.step(trembling(3), each, (4 + index) / 30) for index, each in enumerate(answers)]

    still = [each for each in stood if each.is_still]
    assert len(still) > 15
    assert all(each is still[0] for each in still)


def test_frames_shown_twice_are_not_frozen() -> None:
    """A capture card that is faster than the scanner repeats frames."""
    smoother = Smoother(RULES)
    steps = [smoother.step(trembling(index // 3), LESION, index / 60) for index in range(30)]

    assert not any(each.is_still for each in steps)


def test_moving_lesion_is_followed() -> None:
    """The mask moves along with what is seen: at most two pixels are missing where averaging alone lags by five."""
    smoother = Smoother(RULES)
    rng = np.random.default_rng(5)
    wide = np.kron(rng.integers(0, 200, (8, 32)), np.ones((8, 8))).astype(np.uint8)
    for index in range(20):
        place = 2 * index
        array = np.full((3, 64, 64), 0.001, np.float32)
        array[1, 16:48, 60 - place : 80 - place] = 0.9
        array[0] = 1 - array[1:].sum(axis=0)
        last = smoother.step(wide[np.newaxis, :, place : place + 64], ProbabilityMap(array), index / 30)

    columns = np.flatnonzero(last.label_map.array.any(axis=0))
    assert (22, 41) == pytest.approx((columns[0], columns[-1]), abs=2)


def test_resistance_keeps_a_wavering_pixel_on_its_side() -> None:
    """Around the threshold, a pixel stays as it was until the odds are clearly passed."""
    answers = [answer(0.9), *(answer(0.53 if index % 2 else 0.45) for index in range(30))]
    constants = Smoothing(time_constant_s=0, resistance=0.2, lean=0, appears_s=0, disappears_s=0)

    assert all(shown(Smoother(RULES, constants), answers))
    assert not all(shown(Smoother(RULES, replace(constants, resistance=0)), answers))


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_constants_that_cannot_be_are_refused(value: float) -> None:
    """A time below zero, or without end."""
    with pytest.raises(ArrayInvalid, match="zero or above"):
        Smoothing(time_constant_s=value)
