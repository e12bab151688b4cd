"""From images on the disk to a mask over HTTP: trained, published, promoted, served, by the commands people use."""

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest
from PIL import Image as Pillow
from safetensors.numpy import load_file

from tests.end_to_end.processes import serve

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

# Long enough for batch normalisation to know the images.
RECIPE = """
name = "tiny"
seed = 0
source = 64
input = 64
dropout = 0.0
choose = "last"
steps_per_epoch = 30
phases = [{ size = 64, batch = 4, steps = 60 }]

[augmentation]

[loss]
class_weights = [1.5, 17.0, 17.0]

[optimiser]
name = "adamw"
learning_rate = 1e-3
schedule = "cosine"
"""


def run(*arguments: str | Path) -> None:
    """`python -m …`, which must succeed."""
    subprocess.run([sys.executable, "-m", *map(str, arguments)], check=True)


@pytest.fixture(scope="module")
def store(busi: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one version, trained for a moment on a few real images."""
    folder = tmp_path_factory.mktemp("made")
    recipe, finished, store = folder / "tiny.toml", folder / "run", folder / "store"
    recipe.write_text(RECIPE)
    run("training", "train", busi, "--config", recipe, "--out", finished, "--accelerator", "cpu", "--no-compile")
    run("training", "publish", finished, "--store", store)
    run("model_store", "promote", "1", "--why", "It is the first.", "--by", "the tests", "--store", store)
    return store


@pytest.fixture(scope="module")
def address(store: Path) -> Iterator[str]:
    """Of a service on that store."""
    with serve([sys.executable, "-m", "service", "serve"], store) as url:
        yield url


@pytest.mark.requirement("SEG-6")
def test_what_was_trained_answers(address: str, store: Path, busi: Path, tmp_path: Path) -> None:
    """The service answers with the version just made, and gives the mask that the command without a server gives."""
    image = busi / "benign" / "benign (51).png"
    answer = httpx2.post(
        f"{address}/v1/segment", params={"format": "png"}, files={"image": image.read_bytes()}
    ).raise_for_status()
    subprocess.run(
        [sys.executable, "-m", "service", "segment", image, "--out", tmp_path / "results"],
        env={**os.environ, "EFSNET_STORE": str(store)},
        check=True,
    )
    [written] = (tmp_path / "results" / "masks").iterdir()

    assert "1" == answer.headers["X-Model-Version"]
    with Pillow.open(io.BytesIO(answer.content)) as served, Pillow.open(written) as saved:
        assert np.array_equal(np.asarray(served), np.asarray(saved))


def test_a_baseline_is_trained_published_and_served_beside_it(
    store: Path, address: str, busi: Path, tmp_path: Path
) -> None:
    """`model=fssnet`: another network under another name, from the same harness, in the same running service."""
    recipe, finished = tmp_path / "fssnet.toml", tmp_path / "run"
    recipe.write_text(RECIPE.replace('name = "tiny"', 'name = "tiny-fssnet"\nnetwork = "fssnet"'))
    run("training", "train", busi, "--config", recipe, "--out", finished, "--accelerator", "cpu", "--no-compile")
    run("training", "publish", finished, "--store", store, "--model", "fssnet")
    decision = ("--why", "To compare.", "--by", "the tests")
    run("model_store", "promote", "1", "--model", "fssnet", *decision, "--store", store)
    image = (busi / "benign" / "benign (51).png").read_bytes()
    answers = [
        httpx2.post(f"{address}/v1/segment", params={"format": "png", **model}, files={"image": image})
        for model in ({"model": "fssnet"}, {})
    ]

    assert [("fssnet", "1"), ("efsnet", "1")] == [
        (answer.headers["X-Model-Name"], answer.headers["X-Model-Version"])
        for answer in map(httpx2.Response.raise_for_status, answers)
    ]


def test_training_goes_on_from_a_published_version(store: Path, busi: Path, tmp_path: Path) -> None:
    """`--from production` starts with the version's weights: hardly a step further, they are still nearly those."""
    recipe, out = tmp_path / "still.toml", tmp_path / "run"
    recipe.write_text(RECIPE.replace("learning_rate = 1e-3", "learning_rate = 1e-9"))
    options = ("--store", store, "--from", "production", "--accelerator", "cpu", "--no-compile")
    run("training", "train", busi, "--config", recipe, "--out", out, *options)
    before, after = (
        load_file(path) for path in (store / "efsnet/versions/1/weights.safetensors", out / "weights.safetensors")
    )
    learnt = [name for name in before if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))]

    assert learnt
    assert all(np.allclose(before[name], after[name], atol=1e-6) for name in learnt)


def test_a_version_that_was_changed_is_refused(store: Path, tmp_path: Path) -> None:
    """One changed byte in a published file, and the version is not served but named."""
    [weights] = store.glob("efsnet/versions/1/weights.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    copy = tmp_path / "store"
    subprocess.run(["cp", "-r", store, copy], check=True)
    damaged = copy / weights.relative_to(store)
    damaged.chmod(0o644)
    damaged.write_bytes(content)
    verified = subprocess.run(
        [sys.executable, "-m", "model_store", "verify", "--store", copy], capture_output=True, text=True, check=False
    )

    assert 0 != verified.returncode
    assert "weights.safetensors" in verified.stdout + verified.stderr
