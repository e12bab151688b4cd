"""What README.md tells a newcomer to paste works when pasted."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

pytestmark = pytest.mark.system


def example(repository: Path, language: str, word: str) -> str:
    """The one code block of README.md in this language that has this word."""
    blocks: list[str] = re.findall(rf"```{language}\n(.*?)```", (repository / "README.md").read_text(), re.DOTALL)
    [found] = [block for block in blocks if word in block]
    return found


@pytest.fixture
def checkout(repository: Path, tmp_path: Path) -> Path:
    """A folder in which the examples find the files they name, and can write."""
    for name in ("efsnet", "model_store", "service", "training", ".venv"):
        (tmp_path / name).symlink_to(repository / name)
    # Without this, curl takes a refusal for a success.
    (tmp_path / ".curlrc").write_text("fail-with-body\nsilent\nshow-error\n")
    return tmp_path


@pytest.mark.requirement("UI-8")
def test_curl_examples_give_a_mask_and_an_overlay(repository: Path, served: str, checkout: Path) -> None:
    """Each is answered; the mask is of the image's size and holds class numbers, the overlay is in colour."""
    commands = example(repository, "bash", "curl").replace("http://127.0.0.1:8000", served)
    subprocess.run(
        ["bash", "-e", "-c", commands], cwd=checkout, env={**os.environ, "CURL_HOME": str(checkout)}, check=True
    )

    with (
        Pillow.open(checkout / "training" / "reference_images" / "busi_malignant_189.png") as image,
        Pillow.open(checkout / "mask.png") as mask,
        Pillow.open(checkout / "overlay.png") as overlay,
    ):
        assert image.size == mask.size == overlay.size
        assert set(np.unique(np.asarray(mask))) <= {0, 1, 2}
        assert "RGB" == overlay.mode


def test_python_example_prints_the_areas(repository: Path, served: str, checkout: Path) -> None:
    """It prints one line for benign and one for malignant."""
    code = example(repository, "python", "urllib").replace("http://127.0.0.1:8000", served)
    ran = subprocess.run([sys.executable, "-c", code], cwd=checkout, check=True, capture_output=True, text=True)

    assert ["benign", "malignant"] == [line.partition(":")[0] for line in ran.stdout.splitlines()]


def test_example_without_a_server_writes_masks_and_areas(repository: Path, checkout: Path) -> None:
    """Each image of the folder has a mask, an overlay and its rows in the table."""
    command = example(repository, "bash", "service segment")
    subprocess.run(
        ["bash", "-e", "-c", command],
        cwd=checkout,
        env={**os.environ, "EFSNET_STORE": str(checkout / "store")},
        check=True,
    )
    images = list((checkout / "training" / "reference_images").glob("*.png"))

    assert len(images) == len(list((checkout / "results" / "masks").iterdir()))
    assert len(images) == len(list((checkout / "results" / "overlays").iterdir()))
    assert (checkout / "results" / "areas.csv").exists()
