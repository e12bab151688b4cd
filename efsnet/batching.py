"""Images of several threads go through the network together, which is what a GPU is good at."""

from dataclasses import dataclass, field
from threading import Event, Lock

import numpy as np
from numpy.typing import NDArray

from efsnet.image import Image
from efsnet.maps import ProbabilityMap
from efsnet.predictor import Predictor
from efsnet.preprocessing import to_input


@dataclass(slots=True, eq=False)
class _Group:
    """Images that will be predicted at once; the thread that brought the first does it for all."""

    tensors: list[NDArray[np.uint8]] = field(default_factory=list)
    full: Event = field(default_factory=Event)
    done: Event = field(default_factory=Event)
    answers: list[ProbabilityMap] = field(default_factory=list)
    error: Exception | None = None


class Batcher:
    """A predictor for any number of threads.

    The first image of a group waits for others until the group is full, but not longer than `wait_s`, and while the
    network is at work on the group before. There is no thread of its own to be ended.

    Args:
        predictor: Of as many images at once as shall be taken together.
        wait_s: Longest time that an image waits for others while the network has nothing to do.
    """

    def __init__(self, predictor: Predictor, *, wait_s: float) -> None:
        self.specification = predictor.specification
        self.engine = predictor.engine
        self._predictor = predictor
        self._wait_s = wait_s
        self._group = _Group()
        self._gathering = Lock()
        self._predicting = Lock()

    def predict(self, image: Image) -> ProbabilityMap:
        """As of a predictor."""
        return self.run(to_input(image, self.specification.input))

    def run(self, tensor: NDArray[np.uint8]) -> ProbabilityMap:
        """As of a predictor. What goes wrong with one image of a group goes wrong with all."""
        with self._gathering:
            group = self._group
            place = len(group.tensors)
            group.tensors.append(tensor)
            if len(group.tensors) == self._predictor.batch:
                self._group = _Group()
                group.full.set()
        if place == 0:
            self._predict(group)
        group.done.wait()
        if group.error is not None:
            raise group.error
        return group.answers[place]

    def _predict(self, group: _Group) -> None:
        group.full.wait(self._wait_s)
        with self._predicting:
            with self._gathering:
                if self._group is group:
                    self._group = _Group()
            try:
                group.answers = self._predictor.run_batch(group.tensors)
            except Exception as error:  # noqa: BLE001 - each thread of the group raises it
                group.error = error
            finally:
                group.done.set()


Predicting = Predictor | Batcher
"""What predicts for one thread, or for several."""
