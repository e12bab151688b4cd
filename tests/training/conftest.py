"""Made data sets and recipes, small enough to be trained on in seconds."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image as PillowImage

from training.configuration import Configuration, read_configuration

SIDE = 64

# On pictures this small, threads wait for each other longer than they work.
torch.set_num_threads(1)


def save(path: Path, pixels: NDArray[np.integer]) -> None:
    """Writes grey values, its folder too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(pixels.astype(np.uint8)).save(path)


def disc(row: int, column: int, radius: int, side: int = SIDE) -> NDArray[np.uint8]:
    """A disc of 255 on 0: (side, side) uint8."""
    rows, columns = np.ogrid[:side, :side]
    inside: NDArray[np.bool_] = (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
    return inside.astype(np.uint8) * np.uint8(255)


@pytest.fixture
def make_busi(tmp_path: Path) -> Callable[[Sequence[tuple[str, int]]], Path]:
    """Writes images of drawn lesions in BUSI's layout: dark discs are benign, small bright ones malignant.

    Their numbers begin far behind BUSI's own, so that the curation table knows none of them.
    """

    def make(kinds: Sequence[tuple[str, int]]) -> Path:
        root = tmp_path / "Dataset_BUSI_with_GT"
        random = np.random.default_rng(0)
        for kind, count in kinds:
            for number in range(1001, 1001 + count):
                grey = random.integers(90, 150, (SIDE, SIDE))
                mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
                if kind != "normal":
                    row, column = random.integers(20, 44, 2)
                    mask = disc(row, column, 14 if kind == "benign" else 9)
                    grey[mask > 0] += -70 if kind == "benign" else 90
                save(root / kind / f"{kind} ({number}).png", grey)
                save(root / kind / f"{kind} ({number})_mask.png", mask)
        return root

    return make


@pytest.fixture
def tiny_configuration() -> Configuration:
    """The shipped recipe with 32 pixels and three epochs of two steps."""
    default = read_configuration("default").model_dump()
    return Configuration.model_validate(
        {
            **default,
            "name": "tiny",
            "source": 64,
            "phases": [{"size": 32, "batch": 4, "steps": 4}, {"size": 64, "batch": 4, "steps": 2}],
            "steps_per_epoch": 2,
            "epochs_per_validation": 1,
            "bfloat16": False,
        }
    )


@pytest.fixture
def recipe(tmp_path: Path, tiny_configuration: Configuration) -> Path:
    """The tiny recipe as a user's TOML file."""
    lines = []
    for key, value in tiny_configuration.model_dump(exclude_none=True).items():
        match value:
            case dict():
                inline = ", ".join(f"{name} = {json.dumps(part)}" for name, part in value.items() if part is not None)
                lines.append(f"{key} = {{{inline}}}")
            case tuple():
                phases = ", ".join(
                    "{" + ", ".join(f"{name} = {json.dumps(part)}" for name, part in phase.items()) + "}"
                    for phase in value
                )
                lines.append(f"{key} = [{phases}]")
            case _:
                lines.append(f"{key} = {json.dumps(value)}")
    path = tmp_path / "tiny.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path
