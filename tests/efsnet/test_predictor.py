"""Tests of the predictor, with a tiny graph that goes by brightness."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from efsnet.errors import ArrayInvalid, EngineUnavailable, ModelUnusable
from efsnet.image import Image
from efsnet.predictor import Computation, Predictor, Provider, _first_that_works, has_bfloat16
from efsnet.specification import Specification

INSTALLED = onnxruntime.get_available_providers()
PROVIDERS: list[Provider] = ["auto", "cpu"]
if "OpenVINOExecutionProvider" in INSTALLED:
    PROVIDERS.append("openvino")


@pytest.fixture
def image() -> Image:
    """Dark, middle and bright from left to right: background, benign and malignant."""
    return Image(np.repeat(np.array([[30, 150, 230]], np.uint8), 40, axis=0).repeat(30, axis=1))


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_image_becomes_the_probabilities_of_its_classes(
    tiny_model_bytes: bytes, specification: Specification, image: Image, provider: Provider
) -> None:
    """On the network's grid, by every provider that is installed."""
    array = Predictor(tiny_model_bytes, specification, Computation(provider=provider)).predict(image).array
    assert array.shape == (3, 64, 64)
    assert array.dtype == np.float32
    np.testing.assert_allclose(array[:, 32, 10], [0.9, 0.05, 0.05], rtol=1e-6)
    np.testing.assert_allclose(array[:, 32, 32], [0.05, 0.9, 0.05], rtol=1e-6)
    np.testing.assert_allclose(array[:, 32, 54], [0.05, 0.05, 0.9], rtol=1e-6)


def test_a_prediction_does_not_change_with_the_next(tiny_model_bytes: bytes, specification: Specification) -> None:
    """What was given stays as it was given."""
    predictor = Predictor(tiny_model_bytes, specification)
    dark = predictor.run(np.zeros((1, 64, 64), np.uint8))
    predictor.run(np.full((1, 64, 64), 255, np.uint8))
    assert (dark.array[0] == np.float32(0.9)).all()


def test_predictors_work_side_by_side(tiny_model_bytes: bytes, specification: Specification) -> None:
    """One a thread, each with its own answer."""
    predictors = [Predictor(tiny_model_bytes, specification) for _ in range(2)]
    values = [10, 240]

    def predict(index: int) -> list[int]:
        tensor = np.full((1, 64, 64), values[index], np.uint8)
        return [int(predictors[index].run(tensor).array[:, 0, 0].argmax()) for _ in range(50)]

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(predict, range(2))) == [[0] * 50, [2] * 50]


def test_the_engine_says_what_computes(tiny_model_bytes: bytes, specification: Specification) -> None:
    """It is part of every answer."""
    engine = Predictor(tiny_model_bytes, specification, Computation(provider="cpu", threads=2)).engine
    assert engine.name == f"ONNX Runtime {onnxruntime.__version__}"
    assert (engine.provider, engine.precision, engine.threads) == ("cpu", "f32", 2)


def test_auto_takes_the_best_that_is_installed(tiny_model_bytes: bytes, specification: Specification) -> None:
    """OpenVINO before CUDA before the CPU provider."""
    order = {"OpenVINOExecutionProvider": "openvino", "CUDAExecutionProvider": "cuda", "CPUExecutionProvider": "cpu"}
    expected = next(name for installed, name in order.items() if installed in INSTALLED)
    assert Predictor(tiny_model_bytes, specification).engine.provider == expected


def test_a_provider_that_is_not_installed_is_refused(tiny_model_bytes: bytes, specification: Specification) -> None:
    """Never replaced by another in silence; the message says what there is."""
    names: dict[Provider, str] = {"tensorrt": "TensorrtExecutionProvider", "cuda": "CUDAExecutionProvider"}
    for provider, name in names.items():
        if name not in INSTALLED:
            with pytest.raises(EngineUnavailable, match="CPUExecutionProvider"):
                Predictor(tiny_model_bytes, specification, Computation(provider=provider))


@pytest.mark.skipif("openvino" not in PROVIDERS or not has_bfloat16(), reason="no bfloat16 here")
def test_bfloat16_is_near_and_says_so(tiny_model_bytes: bytes, specification: Specification, image: Image) -> None:
    """Eight significant bits are a part in 256; the engine's precision is part of every answer."""
    exact = Predictor(tiny_model_bytes, specification)
    reduced = Predictor(tiny_model_bytes, specification, Computation(precision="bf16"))

    np.testing.assert_allclose(reduced.predict(image).array, exact.predict(image).array, atol=2**-8)
    assert ("openvino", "bf16") == (reduced.engine.provider, reduced.engine.precision)


def test_bfloat16_is_refused_where_it_cannot_be(tiny_model_bytes: bytes, specification: Specification) -> None:
    """Never replaced by full precision in silence; the message says what to take."""
    with pytest.raises(EngineUnavailable, match="take f32"):
        Predictor(tiny_model_bytes, specification, Computation(provider="cpu", precision="bf16"))


class Session:
    """Stands for a session that came up with this provider."""

    def __init__(self, provider: str) -> None:
        self.provider = provider

    def get_providers(self) -> list[str]:
        """The provider in use, and the one behind it."""
        return [self.provider, "CPUExecutionProvider"]


def test_a_provider_without_its_driver_gives_way_to_the_next() -> None:
    """ONNX Runtime falls back without an error; it is found out, and not reported as CUDA."""
    open_session: Callable[[str], Any] = lambda _: Session("CPUExecutionProvider")  # noqa: E731 - as short as it is
    assert _first_that_works(["cuda", "cpu"], open_session)[0] == "cpu"
    with pytest.raises(EngineUnavailable):
        _first_that_works(["cuda"], open_session)


@pytest.mark.parametrize("model", [b"", b"no graph at all"])
def test_bytes_that_are_no_graph_are_refused(specification: Specification, model: bytes) -> None:
    """By every provider."""
    for provider in PROVIDERS:
        with pytest.raises(ModelUnusable):
            Predictor(model, specification, Computation(provider=provider))


def test_a_truncated_graph_is_refused(tiny_model_bytes: bytes, specification: Specification) -> None:
    """It is not half a model."""
    with pytest.raises(ModelUnusable):
        Predictor(tiny_model_bytes[:-40], specification)


def graph(
    *,
    names: tuple[str, str] = ("image", "probabilities"),
    types: tuple[int, int] = (TensorProto.UINT8, TensorProto.FLOAT),
    shape: tuple[int | str, ...] = ("n", 3, 64, 64),
) -> bytes:
    """A graph that expands its image to an output of this shape."""
    one, three = names
    nodes = [
        helper.make_node("Cast", [one], ["grey"], to=types[1]),
        helper.make_node("Concat", ["grey"] * int(shape[1]), [three], axis=1),
    ]
    made = helper.make_graph(
        nodes,
        "expand",
        [helper.make_tensor_value_info(one, types[0], [shape[0], 1, *shape[2:]])],
        [helper.make_tensor_value_info(three, types[1], list(shape))],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    "model",
    [
        graph(names=("input", "probabilities")),
        graph(names=("image", "logits")),
        graph(types=(TensorProto.FLOAT, TensorProto.FLOAT)),
        graph(types=(TensorProto.UINT8, TensorProto.DOUBLE)),
        graph(shape=("n", 2, 64, 64)),
        graph(shape=("n", 3, 64, 72)),
        graph(shape=("batch", 3, 64, 64)),
        graph(shape=(4, 3, 64, 64)),
    ],
    ids=[
        "input's name",
        "output's name",
        "input's type",
        "output's type",
        "classes",
        "size",
        "free batch",
        "batch of 4",
    ],
)
def test_a_graph_that_is_not_as_specified_is_refused(specification: Specification, model: bytes) -> None:
    """When it is loaded, not at the first image."""
    with pytest.raises(ModelUnusable, match="The graph should have"):
        Predictor(model, specification, Computation(provider="cpu"))


@pytest.mark.parametrize("shape", [("n", 3, 64, 64), (1, 3, 64, 64)])
def test_a_graph_may_leave_open_how_many_images_it_takes(
    specification: Specification, shape: tuple[int | str, ...]
) -> None:
    """It is fixed to one image of the specified size when it is loaded, which is faster."""
    predictor = Predictor(graph(shape=shape), specification)
    assert predictor.run(np.full((1, 64, 64), 7, np.uint8)).array.shape == (3, 64, 64)


@pytest.mark.parametrize(
    "tensor",
    [
        np.zeros((1, 64, 72), np.uint8),
        np.zeros((64, 64), np.uint8),
        np.zeros((1, 1, 64, 64), np.uint8),
        np.zeros((1, 64, 64), np.float32),
    ],
    ids=["other size", "no channel", "a batch", "float32"],
)
def test_a_tensor_of_another_kind_is_refused(
    tiny_model_bytes: bytes, specification: Specification, tensor: NDArray[np.uint8]
) -> None:
    """Only what `to_input` gives is taken."""
    with pytest.raises(ArrayInvalid, match=r"The network takes \(1, 64, 64\) uint8"):
        Predictor(tiny_model_bytes, specification).run(tensor)
