"""Examinations made from stills, and what is measured with them."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from benchmarks.examinations import COLUMNS, FRAME_RATE, ROWS, Scene, Still, Window, carried, examination, read_still
from benchmarks.live import CHOSEN, RAW, as_markdown, measure
from efsnet.predictor import Computation
from model_store.loading import load
from model_store.store import ModelStore

SCENES = (
    Scene(0, 0.3, slide=(0.02, 0.05)),
    Scene(0, 0.2, zoom=0.9, gain=0.8),
    Scene(1, 0.7, breathing=0.02),
    Scene(1, 0.2, frozen=True),
)


@pytest.fixture
def stills(busi: Path) -> tuple[Still, ...]:
    """A benign one and a malignant one."""
    return read_still(busi, "benign", 51), read_still(busi, "malignant", 14)


def test_examination_is_the_same_for_the_same_seed(stills: tuple[Still, ...]) -> None:
    """And another one for another."""
    one, same, other = ([frame.pixels for frame in examination(stills, seed=seed, scenes=SCENES)] for seed in (1, 1, 2))

    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_frames_have_their_reference(stills: tuple[Still, ...]) -> None:
    """Every frame has its size, its time and the expert's lesion in its class; a frozen one is the one before."""
    frames = list(examination(stills, seed=1, scenes=SCENES))

    assert round(sum(scene.seconds for scene in SCENES) * FRAME_RATE) == len(frames)
    assert {(ROWS, COLUMNS)} == {frame.pixels.shape for frame in frames}
    assert [{0, 1}, {0, 2}] == [set(np.unique(frame.reference).tolist()) for frame in (frames[0], frames[-1])]
    assert frames[-1].frozen
    assert frames[-1].pixels is frames[-2].pixels
    assert frames[4].at_s == pytest.approx(4 / FRAME_RATE)


def test_reference_is_carried_to_where_the_window_shows_it(stills: tuple[Still, ...]) -> None:
    """The lesion of a frame, carried along, is that of the next but for its outermost pixels."""
    frames = list(examination(stills, seed=1, scenes=SCENES[:2]))
    for before, now in pairwise(frames):
        moved = carried(before.reference > 0, before.window, now.window)
        assert (moved != (now.reference > 0)).sum() < 0.05 * (now.reference > 0).sum()


def test_mask_is_carried_by_known_pixels() -> None:
    """A window that begins half a width later shows what was in the right half on the left."""
    mask = np.array([[True, False, True, True]])

    moved = carried(mask, Window(0.5, 0.25, 1.0, 0.5), Window(0.5, 0.5, 1.0, 0.5))

    np.testing.assert_array_equal([[True, True, False, False]], moved)


def test_figures_of_raw_and_smoothed_masks(published_store: ModelStore, busi: Path) -> None:
    """Smoothed masks flicker less than raw ones, and the table has a row for each way."""
    predictor = load(published_store.version("efsnet", "production"), Computation(provider="cpu")).predictor

    text = measure(predictor, busi, [(("benign", 51), ("malignant", 14))], SCENES)

    figures = json.loads(text)["figures"]
    assert figures[CHOSEN]["flicker"] < figures[RAW]["flicker"]
    assert len(as_markdown(text).splitlines()) == 4 + len(figures)
