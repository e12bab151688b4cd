"""Bound memory gives what the session gives without it. Here it lies on the CPU; on a GPU only its place differs."""

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from efsnet.binding import BoundSession


@pytest.fixture
def session(tiny_model_bytes: bytes) -> onnxruntime.InferenceSession:
    """Of any number of images."""
    return onnxruntime.InferenceSession(tiny_model_bytes, providers=["CPUExecutionProvider"])


def images(*values: int) -> NDArray[np.uint8]:
    """Of one grey value each."""
    return np.stack([np.full((1, 64, 64), value, np.uint8) for value in values])


def test_bound_memory_changes_no_probability(session: onnxruntime.InferenceSession) -> None:
    """One image and several, in any order."""
    bound = BoundSession(session, "cpu")

    for batch in (images(10), images(10, 150, 240), images(240), images(150, 240, 10)):
        (expected,) = session.run(["probabilities"], {"image": batch})
        np.testing.assert_array_equal(bound.run(batch), expected)


def test_an_answer_does_not_change_with_the_next(session: onnxruntime.InferenceSession) -> None:
    """The memory is used again; what was given stays as it was given."""
    bound = BoundSession(session, "cpu")
    dark = bound.run(images(0))
    bound.run(images(255))

    assert (dark[0, 0] == np.float32(0.9)).all()
