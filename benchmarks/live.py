"""What smoothing is worth, on examinations made from still images: flicker, Dice and delay, raw beside smoothed.

No clinical video is behind these figures. The stills are of BUSI, and a version may have learnt from them: they compare
one way of showing its answers with another, and say nothing of how good the answers are.
"""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.examinations import EXAMINATION, FRAME_RATE, Frame, Scene, carried, examination, read_still
from benchmarks.requests import processor
from efsnet.batching import Predicting
from efsnet.image import Image
from efsnet.maps import LabelMap, ProbabilityMap
from efsnet.postprocessing import to_grid, to_label_map
from efsnet.preprocessing import to_input
from efsnet.smoothing import AS_CHOSEN, Smoother, Smoothing
from model_store.loading import load
from model_store.seeding import seed
from model_store.store import PRODUCTION, ModelStore

HALF = FRAME_RATE // 2
"""Frames of half a second."""
RAW = "raw"
CHOSEN = "as chosen"

CANDIDATES: Mapping[str, Smoothing] = {
    CHOSEN: AS_CHOSEN,
    **{f"time constant {s} s": Smoothing(time_constant_s=s) for s in (0.06, 0.12)},
    **{f"resistance {r}": Smoothing(resistance=r) for r in (0.0,)},
    **{f"lean {each}": Smoothing(lean=each) for each in (0.0,)},
    "no cuts found": Smoothing(cut_correlation=0.0),
}


@dataclass(slots=True, eq=False)
class Figures:
    """Of one way to show the answers, over all examinations."""

    flicker: list[float] = field(default_factory=list)
    """For each pair of frames of one still: pixels of the mask that differ from those of the frame before, carried
    along as the window moved, as a share of the reference's pixels."""
    dice: list[float] = field(default_factory=list)
    """For each frame with a lesion: of tumour against the reference."""
    lesion_delay_s: list[float] = field(default_factory=list)
    """For each still that begins: until tumour is shown, if most raw masks of half a second have any."""
    class_delay_s: list[float] = field(default_factory=list)
    """For each still that begins: until that class is shown which most raw masks of half a second have."""

    def as_json(self) -> dict[str, float]:
        """Means, and the longest delays."""
        return {
            "flicker": float(np.mean(self.flicker)),
            "dice": float(np.mean(self.dice)),
            "longest_lesion_delay_ms": 1000 * max(self.lesion_delay_s),
            "longest_class_delay_ms": 1000 * max(self.class_delay_s),
        }


def measure(
    predictor: Predicting,
    folder: Path,
    pairs: Sequence[tuple[tuple[str, int], tuple[str, int]]],
    scenes: tuple[Scene, ...] = EXAMINATION,
) -> str:
    """The figures as JSON: for each pair of stills one examination, which begins with one and is cut to the other."""
    figures = {name: Figures() for name in (RAW, *CANDIDATES)}
    before = os.getloadavg()[0]
    for number, pair in enumerate(pairs):
        stills = tuple(read_still(folder, kind, number) for kind, number in pair)
        shown: dict[str, list[LabelMap]] = {name: [] for name in figures}
        frames = list(examination(stills, seed=number, scenes=scenes))
        for masks in _shown(predictor, frames):
            for name, label_map in masks.items():
                shown[name].append(label_map)
        for name, label_maps in shown.items():
            _count(figures[name], frames, label_maps, shown[RAW])
    return json.dumps(
        {
            "machine": processor(),
            "load_average": [before, os.getloadavg()[0]],
            "frame_rate": FRAME_RATE,
            "seconds": sum(scene.seconds for scene in scenes),
            "pairs": pairs,
            "figures": {name: each.as_json() for name, each in figures.items()},
        },
        indent=2,
    )


def measure_shipped(folder: Path, pairs: int, skip: int) -> str:
    """As `measure`, of the version that ships, with so many pairs of the stills that there are, always the same.

    The constants were chosen with the first twenty-two of them.
    """
    benign, malignant = (_numbers(folder, kind) for kind in ("benign", "malignant"))
    random = np.random.default_rng(0)
    drawn = zip(
        random.permutation(benign)[skip : skip + pairs].tolist(),
        random.permutation(malignant)[skip : skip + pairs].tolist(),
        strict=True,
    )
    # The cut goes from benign to malignant, and in every other examination the other way.
    both = [(("benign", one), ("malignant", other)) for one, other in drawn]
    with tempfile.TemporaryDirectory() as scratch:
        seed(Path(scratch))
        loaded = load(ModelStore(Path(scratch)).version("efsnet", PRODUCTION))
        return measure(loaded.predictor, folder, [pair[::-1] if index % 2 else pair for index, pair in enumerate(both)])


def _numbers(folder: Path, kind: str) -> list[int]:
    """Of the images of a class."""
    return sorted(
        int(path.stem.split("(")[1].rstrip(")"))
        for path in (folder / kind).glob(f"{kind} (*).png")
        if "_" not in path.name
    )


def as_markdown(text: str) -> str:
    """The table of what `measure` gave; flicker beside that of the raw masks."""
    content: dict[str, Any] = json.loads(text)
    raw = content["figures"][RAW]
    lines = [
        f"{len(content['pairs'])} examinations of {content['seconds']:g} s, {content['frame_rate']} frames a second.",
        "",
        "| shown | flicker | of raw | Dice | to raw | lesion after ms | class after ms |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, each in content["figures"].items():
        lines.append(
            f"| {name} | {each['flicker']:.4f} | {each['flicker'] / raw['flicker']:.2f} | {each['dice']:.4f} "
            f"| {each['dice'] - raw['dice']:+.4f} | {each['longest_lesion_delay_ms']:.0f} "
            f"| {each['longest_class_delay_ms']:.0f} |"
        )
    return "\n".join(lines)


def _shown(predictor: Predicting, frames: Sequence[Frame]) -> Iterator[dict[str, LabelMap]]:
    """For each frame what each way shows: the network is asked once."""
    specification = predictor.specification
    rules = specification.post_processing
    smoothers = {name: Smoother(rules, constants) for name, constants in CANDIDATES.items()}
    tensor: NDArray[np.uint8] | None = None
    for frame in frames:
        if tensor is None or not frame.frozen:
            tensor = to_input(Image(frame.pixels), specification.input)
            probability_map: ProbabilityMap = predictor.run(tensor)
        masks = {RAW: to_label_map(probability_map, rules)}
        for name, smoother in smoothers.items():
            masks[name] = smoother.step(tensor, probability_map, frame.at_s).label_map
        yield {name: to_grid(mask, *frame.pixels.shape) for name, mask in masks.items()}


def _count(figures: Figures, frames: Sequence[Frame], shown: Sequence[LabelMap], raw: Sequence[LabelMap]) -> None:
    for index, (frame, label_map) in enumerate(zip(frames, shown, strict=True)):
        mask, reference = label_map.array > 0, frame.reference > 0
        if reference.any():
            figures.dice.append(2 * float((mask & reference).sum()) / float(mask.sum() + reference.sum()))
        before = frames[index - 1]
        if index == 0 or before.still != frame.still:
            ours, theirs = (
                [_class(label_map) for label_map in label_maps[index:][:HALF]] for label_maps in (shown, raw)
            )
            figures.class_delay_s.append(_delay_frames(ours, theirs) / FRAME_RATE)
            there = ([min(1, each) for each in classes] for classes in (ours, theirs))
            figures.lesion_delay_s.append(_delay_frames(*there) / FRAME_RATE)
        else:
            moved = carried(shown[index - 1].array > 0, before.window, frame.window)
            figures.flicker.append(float((moved != mask).sum()) / max(1, int(reference.sum())))


def _delay_frames(shown: Sequence[int], raw: Sequence[int]) -> int:
    """Frames until that is shown which is most often in the raw masks."""
    settled = int(np.bincount(raw).argmax())
    return next((index for index, each in enumerate(shown) if each == settled), len(shown))


def _class(label_map: LabelMap) -> int:
    """The class that most of the tumour has; 0 without any."""
    counts = np.bincount(label_map.array.ravel(), minlength=2)
    counts[0] = 0
    return int(counts.argmax())
