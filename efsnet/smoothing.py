"""The answers to the frames of a live examination, made steady.

A network sees each frame for itself, so that outlines tremble and small findings come and go. Here the probabilities
follow the network's with a time constant, moved along with what is seen; a pixel changes sides only against some
resistance; a cut begins anew, a frozen image stands still, and a lesion is shown or dropped only when it has been
there, or gone, for a while. docs/live.md tells how the constants were chosen.

The mean over time is the geometric one, of the probabilities of a pixel to each other. The arithmetic one of an outline
that moves, of which a manifest's threshold cuts off more than half, would make lesions shrink.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from efsnet.errors import ArrayInvalid
from efsnet.maps import LabelMap, ProbabilityMap
from efsnet.motion import STILL, Motion, correlation, motion_between, small
from efsnet.postprocessing import to_label_map
from efsnet.specification import PostProcessing


@dataclass(frozen=True, slots=True)
class Smoothing:
    """The constants. Times are in seconds and hold at any frame rate.

    Raises:
        ArrayInvalid: one is below zero, or not finite.
    """

    time_constant_s: float = 0.09
    """Time in which 63 % of a change are taken over."""
    resistance: float = 0.2
    """Of a pixel against becoming tumour or background: logarithm of the factor by which the odds must be passed."""
    lean: float = 0.15
    """Towards tumour: logarithm of the factor by which the odds count more than the network says. A mean over time
    passes a threshold less often than what wavers around it, and lesions would shrink."""
    cut_correlation: float = 0.9
    """Below this correlation with the frame before, however it is moved, the picture is another one."""
    longest_gap_s: float = 1.0
    """After a longer time without a frame, the next is another picture."""
    still_difference: float = 0.25
    """Mean difference in grey values, of 255, up to which a frame is the one before once more."""
    still_s: float = 0.25
    """Time without a new picture after which the image is frozen. Some capture cards show each picture twice."""
    appears_s: float = 0.05
    """Time that a lesion must be there to be shown."""
    disappears_s: float = 0.3
    """Time that no lesion must be there for the last to be dropped."""

    def __post_init__(self) -> None:
        if not all(0 <= getattr(self, name) < math.inf for name in self.__slots__):
            raise ArrayInvalid(f"Constants of smoothing are zero or above, and finite, got {self}.")


FLOOR = 0.02
"""Least probability that counts as such: of what a network was certain, it could be convinced too slowly."""

AS_CHOSEN = Smoothing()


@dataclass(frozen=True, slots=True, eq=False)
class Steadied:
    """What is shown for a frame."""

    label_map: LabelMap
    probability_map: ProbabilityMap
    """What the label map was made of; another one where a lesion is not shown yet, or still."""
    is_cut: bool
    """It is another picture than the one before: nothing of that is in the answer."""
    is_still: bool
    """The image is frozen: the answer is the network's own for it, and stays as it is."""


class Smoother:
    """Of one examination, frame after frame in their order.

    Args:
        rules: Of the version that answers.
        constants: How steady.
    """

    def __init__(self, rules: PostProcessing, constants: Smoothing = AS_CHOSEN) -> None:
        self._rules = rules
        self._constants = constants
        self._picture: NDArray[np.float32] | None = None
        self._at_s = self._changed_at_s = 0.0
        self._probabilities = self._tumour = np.empty(0, np.float32)
        self._still: Steadied | None = None
        self._presence = _Presence(constants)

    def step(self, tensor: NDArray[np.uint8], probability_map: ProbabilityMap, at_s: float) -> Steadied:
        """What to show for the next frame.

        Args:
            tensor: What the network saw: (1, rows, columns) uint8.
            probability_map: What it answered.
            at_s: When the frame was taken, by any clock that does not go back.
        """
        before, self._picture = self._picture, small(tensor)
        elapsed_s, self._at_s = at_s - self._at_s, at_s
        if before is None or not 0 <= elapsed_s <= self._constants.longest_gap_s:
            return self._begin(probability_map)
        if float(np.abs(self._picture - before).mean()) <= self._constants.still_difference:
            if at_s - self._changed_at_s >= self._constants.still_s:
                return self._stand(probability_map)
            return self._follow(probability_map, STILL, elapsed_s)
        motion = motion_between(before, self._picture)
        if correlation(motion.moved(before), self._picture) < self._constants.cut_correlation:
            return self._begin(probability_map)
        self._changed_at_s = at_s
        return self._follow(probability_map, motion, elapsed_s)

    def _begin(self, probability_map: ProbabilityMap) -> Steadied:
        """With the first frame of a picture, which is shown as the network answered it."""
        self._changed_at_s = self._at_s
        self._probabilities = probability_map.array
        found = to_label_map(probability_map, self._rules)
        self._tumour = _as_float(found)
        self._presence = _Presence(self._constants, found)
        self._still = None
        return Steadied(found, probability_map, is_cut=True, is_still=False)

    def _stand(self, probability_map: ProbabilityMap) -> Steadied:
        """With an image that is frozen: the answer to its first frame that counts as such."""
        if self._still is None:
            self._probabilities = probability_map.array
            found = to_label_map(probability_map, self._rules)
            self._tumour = _as_float(found)
            self._presence = _Presence(self._constants, found)
            self._still = Steadied(found, probability_map, is_cut=False, is_still=True)
        return self._still

    def _follow(self, probability_map: ProbabilityMap, motion: Motion, elapsed_s: float) -> Steadied:
        constant_s = self._constants.time_constant_s
        share = -math.expm1(-elapsed_s / constant_s) if constant_s else 1.0
        self._probabilities = _between(motion.moved(self._probabilities), probability_map.array, share)
        found = to_label_map(self._resisting(motion.moved(self._tumour)), self._rules)
        self._tumour = _as_float(found)
        self._still = None
        shown = self._presence.step(found, self._at_s)
        return Steadied(shown, ProbabilityMap(self._probabilities), is_cut=False, is_still=False)

    def _resisting(self, tumour: NDArray[np.float32]) -> ProbabilityMap:
        """The probabilities, with what was tumour in the frame before, (rows, columns) from 0 to 1, more likely so."""
        odds = self._probabilities.copy()
        constants = self._constants
        odds[0] *= np.exp((1 - 2 * tumour) * np.float32(constants.resistance) - np.float32(constants.lean))
        odds /= odds.sum(axis=0)
        return ProbabilityMap(odds)


def _between(old: NDArray[np.float32], new: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """The weighted geometric mean of two probability maps; `share` is the weight of the new one."""
    mean = np.log(np.maximum(old, np.float32(FLOOR)))
    mean *= np.float32(1 - share)
    mean += np.float32(share) * np.log(np.maximum(new, np.float32(FLOOR)))
    np.exp(mean, out=mean)
    mean /= mean.sum(axis=0)
    return mean


def _as_float(label_map: LabelMap) -> NDArray[np.float32]:
    """1 where there is tumour, 0 elsewhere."""
    return (label_map.array > 0).astype(np.float32)


class _Presence:
    """Whether a lesion is shown, which lags behind whether there is one.

    Args:
        constants: How far.
        first: What is shown to begin with.
    """

    def __init__(self, constants: Smoothing, first: LabelMap | None = None) -> None:
        self._constants = constants
        self._shown = first if first is not None and first.array.any() else None
        self._there_since_s: float | None = None
        self._there_at_s: float | None = None

    def step(self, found: LabelMap, at_s: float) -> LabelMap:
        """What is to be seen of what was found."""
        if found.array.any():
            self._there_at_s = at_s
            if self._there_since_s is None:
                self._there_since_s = at_s
            if self._shown is None and at_s - self._there_since_s < self._constants.appears_s:
                return LabelMap(np.zeros_like(found.array))
            self._shown = found
            return found
        self._there_since_s = None
        if self._there_at_s is None:
            self._there_at_s = at_s
        if self._shown is not None and at_s - self._there_at_s < self._constants.disappears_s:
            return self._shown
        self._shown = None
        return found
