"""Images of several threads share the network's work, and each gets its own answer."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from efsnet.batching import Batcher
from efsnet.errors import ArrayInvalid
from efsnet.maps import ProbabilityMap
from efsnet.predictor import Computation, Engine, Predictor
from efsnet.specification import Specification

LONG_S = 30.0


class Recorder:
    """Stands for a predictor: answers with the first grey value, remembers its batches, and may be held up."""

    def __init__(self, specification: Specification, batch: int) -> None:
        self.specification = specification
        self.engine = Engine("recorder", "none", "f32", 1)
        self.batch = batch
        self.sizes: list[int] = []
        self.started, self.go_on = Event(), Event()
        self.go_on.set()

    def run_batch(self, tensors: list[NDArray[np.uint8]]) -> list[ProbabilityMap]:
        """As a predictor's."""
        self.started.set()
        self.go_on.wait()
        self.sizes.append(len(tensors))
        if any(tensor.ndim != 3 for tensor in tensors):
            raise ArrayInvalid("no image")
        return [ProbabilityMap(np.full((3, 64, 64), tensor.flat[0], np.float32)) for tensor in tensors]


def image(value: int) -> NDArray[np.uint8]:
    """Of one grey value."""
    return np.full((1, 64, 64), value, np.uint8)


def asked(batcher: Batcher, values: range) -> list[float]:
    """The answers of as many threads, which ask at the same time."""
    together = Barrier(len(values))

    def ask(value: int) -> float:
        together.wait()
        return float(batcher.run(image(value)).array[0, 0, 0])

    with ThreadPoolExecutor(len(values)) as pool:
        return list(pool.map(ask, values))


def test_a_full_group_goes_at_once_and_each_gets_its_own_answer(specification: Specification) -> None:
    """Sixteen images by fours: nobody waits for the end of the longest time."""
    recorder = Recorder(specification, 4)

    assert list(range(16)) == asked(Batcher(cast("Predictor", recorder), wait_s=LONG_S), range(16))
    assert [4, 4, 4, 4] == recorder.sizes


def test_one_alone_does_not_wait_for_ever(specification: Specification) -> None:
    """After the wait it goes by itself."""
    recorder = Recorder(specification, 4)

    assert [7] == asked(Batcher(cast("Predictor", recorder), wait_s=0.001), range(7, 8))
    assert [1] == recorder.sizes


def test_images_gather_while_the_network_is_at_work(specification: Specification) -> None:
    """Those that come meanwhile are the next group, without any wait of their own."""
    recorder = Recorder(specification, 4)
    batcher = Batcher(cast("Predictor", recorder), wait_s=0)
    recorder.go_on.clear()
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(batcher.run, image(0))
        recorder.started.wait()
        others = [pool.submit(batcher.run, image(value)) for value in (1, 2, 3)]
        while len(batcher._group.tensors) < 3:
            pass
        recorder.go_on.set()
        answers = [float(each.result().array[0, 0, 0]) for each in (first, *others)]

    assert [0, 1, 2, 3] == answers
    assert [1, 3] == recorder.sizes


def test_an_error_reaches_every_thread_of_its_group_and_the_next_group_is_well(specification: Specification) -> None:
    """Nobody waits for an answer that does not come."""
    batcher = Batcher(cast("Predictor", Recorder(specification, 2)), wait_s=LONG_S)
    with ThreadPoolExecutor(2) as pool:
        pending = [pool.submit(batcher.run, each) for each in (image(1), image(2)[0])]
        for each in pending:
            with pytest.raises(ArrayInvalid):
                each.result()

    assert [3, 4] == asked(batcher, range(3, 5))


def test_a_batch_gives_what_single_images_give(tiny_model_bytes: bytes, specification: Specification) -> None:
    """By a real graph, for any number up to the batch; more or none are refused."""
    single = Predictor(tiny_model_bytes, specification, Computation(provider="cpu"))
    several = Predictor(tiny_model_bytes, specification, Computation(provider="cpu", batch=4))
    images = [image(value) for value in (10, 150, 240, 60)]

    for count in (1, 3, 4):
        for tensor, answer in zip(images[:count], several.run_batch(images[:count]), strict=True):
            np.testing.assert_array_equal(single.run(tensor).array, answer.array)
    for wrong in ([], [*images, image(0)]):
        with pytest.raises(ArrayInvalid, match="1 to 4 images"):
            several.run_batch(wrong)
