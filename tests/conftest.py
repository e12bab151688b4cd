"""Fixtures that tests of several packages share."""

import io
import logging
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import settings
from onnx import TensorProto, helper
from PIL import Image as PillowImage

from efsnet.specification import (
    ClassSpecification,
    CodedConcept,
    InputSpecification,
    PostProcessing,
    Specification,
)
from model_store.manifest import Draft, Metric, Network
from model_store.store import ModelStore

# Based on Hypothesis' own choice, which in CI is the same examples each time. No deadline: machines are busy.
settings.register_profile("project", settings.default, deadline=None)
settings.load_profile("project")


@pytest.fixture(autouse=True)
def _no_log_is_left_behind() -> Iterator[None]:
    """A handler that outlives its test would write the lines of later ones to a file that is closed."""
    before = _log_handlers()
    yield
    assert before == _log_handlers()


def _log_handlers() -> list[logging.Handler]:
    """Of the root logger, without those that pytest itself changes between a test and its fixtures."""
    return [handler for handler in logging.getLogger().handlers if not type(handler).__module__.startswith("_pytest")]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def busi(repository: Path) -> Path:
    """A few real images of BUSI with their masks, in its published layout."""
    return repository / "tests" / "data" / "Dataset_BUSI_with_GT"


@pytest.fixture(scope="session")
def tiny_model_bytes() -> bytes:
    """An ONNX graph of the product's contract that goes by brightness: from 100 on benign, from 200 on malignant.

    The class that it finds has probability 0.9, the two others 0.05 each.
    """
    nodes = [
        helper.make_node("Cast", ["image"], ["grey"], to=TensorProto.FLOAT),
        helper.make_node("Less", ["grey", "hundred"], ["dark"]),
        helper.make_node("GreaterOrEqual", ["grey", "two_hundred"], ["bright"]),
        helper.make_node("Or", ["dark", "bright"], ["either"]),
        helper.make_node("Not", ["either"], ["between"]),
        helper.make_node("Concat", ["dark", "between", "bright"], ["found"], axis=1),
        helper.make_node("Where", ["found", "likely", "unlikely"], ["probabilities"]),
    ]
    constants = {"hundred": 100.0, "two_hundred": 200.0, "likely": 0.9, "unlikely": 0.05}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 1, 64, 64])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 3, 64, 64])],
        [helper.make_tensor(name, TensorProto.FLOAT, [], [value]) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@pytest.fixture(scope="session")
def tiny_draft() -> Draft:
    """What the maker of the tiny model says of it: 64 x 64, three classes."""
    return Draft(
        network=Network(name="Brightness", in_channels=1, classes=3, parameters=4),
        specification=Specification(
            input=InputSpecification(rows=64, columns=64, resize="stretch", filter="bilinear", value_range=(0.0, 1.0)),
            classes=(
                ClassSpecification(number=0, label="background", colour=(0, 0, 0)),
                ClassSpecification(
                    number=1,
                    label="benign",
                    colour=(86, 180, 233),
                    concept=CodedConcept(value="108369006", scheme="SCT", meaning="Neoplasm"),
                ),
                ClassSpecification(
                    number=2,
                    label="malignant",
                    colour=(230, 159, 0),
                    concept=CodedConcept(value="108369006", scheme="SCT", meaning="Neoplasm"),
                ),
            ),
            post_processing=PostProcessing(
                tumour_threshold=0.5, minimum_area_fraction=0.003, fill_holes=True, one_class_per_lesion=True
            ),
        ),
        temperature=1.0,
        metrics={"lesion_dice": Metric(value=0.71, interval=(0.66, 0.76)), "false_alarms": Metric(value=0.2)},
        training_data=(),
        code_commit="0" * 40,
        intended_use="Tests.",
        licence="Apache-2.0",
    )


@pytest.fixture(scope="session")
def tiny_contents(tiny_model_bytes: bytes) -> Mapping[str, bytes]:
    """The files of a version with the tiny model and one reference image: a benign and a malignant square."""
    label_map = np.zeros((64, 64), np.uint8)
    label_map[8:24, 8:24] = 1
    label_map[40:60, 36:60] = 2
    grey = np.array([30, 150, 230], np.uint8)[label_map]
    return {
        "model.onnx": tiny_model_bytes,
        "reference/squares.png": _png(PillowImage.fromarray(grey)),
        "reference/squares.label_map.png": _png(PillowImage.fromarray(label_map)),
        "MODEL_CARD.md": b"# Brightness\n",
    }


@pytest.fixture(scope="session")
def _store_to_copy(
    tmp_path_factory: pytest.TempPathFactory, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]
) -> Path:
    store = ModelStore(tmp_path_factory.mktemp("published"))
    store.publish("efsnet", tiny_draft, tiny_contents)
    store.promote("efsnet", "production", 1, by="the tests", why="the first")
    return store.root


@pytest.fixture
def published_store(tmp_path: Path, _store_to_copy: Path) -> ModelStore:
    """A store with version 1 of the model `efsnet`, which is `production`."""
    return ModelStore(shutil.copytree(_store_to_copy, tmp_path / "store"))


def _png(image: PillowImage.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update-goldens` writes what is computed now as what is expected from now on: look at the difference."""
    parser.addoption("--update-goldens", action="store_true", help="write the files in tests/golden anew")
