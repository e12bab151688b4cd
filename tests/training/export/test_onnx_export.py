"""The exported graph gives the network's probabilities, on any machine, from one file for every batch."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from efsnet.network import EFSNet
from efsnet.predictor import Computation, Predictor
from efsnet.specification import Specification
from training.export.onnx_export import Parity, export, parity

VariedNetwork = Callable[..., EFSNet]

TEMPERATURE = 0.4
BOUND = 1e-5


@pytest.fixture(scope="module")
def network(varied_network: VariedNetwork) -> EFSNet:
    """In which no layer is neutral."""
    return varied_network()


@pytest.fixture(scope="module")
def model(network: EFSNet, narrow_specification: Specification) -> bytes:
    """That network, sharpened."""
    return export(network, narrow_specification, temperature=TEMPERATURE)


def run(model: bytes, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Probabilities from ONNX Runtime's own provider."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["probabilities"], {"image": images})[0])


def noise(images: int, specification: Specification) -> NDArray[np.uint8]:
    """(images, 1, rows, columns) of every grey value."""
    size = (images, 1, specification.input.rows, specification.input.columns)
    return np.random.default_rng(1).integers(0, 256, size, dtype=np.uint8)


@pytest.mark.parametrize("images", [1, 3])
def test_one_file_serves_every_batch(
    network: EFSNet, model: bytes, narrow_specification: Specification, images: int
) -> None:
    """Grey values mapped to the specified range, logits divided by the temperature, then a softmax."""
    pixels = noise(images, narrow_specification)
    with torch.inference_mode():
        logits = network.unclamped(torch.from_numpy(pixels) / 127.5 - 1)
    expected = (logits / TEMPERATURE).softmax(dim=1).numpy()

    probabilities = run(model, pixels)

    assert np.float32 == probabilities.dtype
    assert np.ptp(expected) > 0.5  # probabilities that say something
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=BOUND)


def test_parity_is_told_on_noise_and_on_real_images(
    network: EFSNet, model: bytes, narrow_specification: Specification
) -> None:
    """It is close for the graph of the network, and not for that of another temperature."""
    good = parity(network, model, narrow_specification, temperature=TEMPERATURE)
    bad = parity(network, model, narrow_specification)

    assert good.graph < BOUND
    assert good.kept
    assert bad.graph > 0.1
    assert not bad.kept


@pytest.mark.parametrize(
    ("graph", "rounding", "kept"),
    [(9e-6, 0.0, True), (1e-5, 0.0, False), (2e-4, 3e-5, True), (2e-4, 1e-5, False), (float("nan"), 1.0, False)],
)
def test_a_graph_may_round_as_the_network_itself_does(graph: float, rounding: float, *, kept: bool) -> None:
    """Within a hundred-thousandth, or where the weights magnify rounding, within ten times the network's own."""
    assert kept == Parity(graph, rounding).kept


def test_the_graph_has_only_fast_operators(model: bytes) -> None:
    """Everything that ONNX Runtime cannot fuse with a convolution was rewritten."""
    operators = Counter(node.op_type for node in onnx.load_from_string(model).graph.node)

    slow = {"Transpose", "PRelu", "BatchNormalization", "ConvTranspose", "Softmax", "Dropout"}
    assert slow.isdisjoint(operators)
    assert 72 == operators["Conv"]
    assert 3 == operators["DepthToSpace"]


def test_the_predictor_takes_the_graph(model: bytes, narrow_specification: Specification) -> None:
    """Names, types and shapes are those of the product's contract."""
    predictor = Predictor(model, narrow_specification, Computation(provider="cpu"))

    probabilities = predictor.run(noise(1, narrow_specification)[0]).array

    assert (3, 104, 320) == probabilities.shape
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, rtol=0, atol=1e-6)


@pytest.mark.skipif(
    "OpenVINOExecutionProvider" not in onnxruntime.get_available_providers(), reason="OpenVINO is not installed."
)
def test_openvino_gives_the_probabilities_of_the_cpu_provider(
    model: bytes, narrow_specification: Specification
) -> None:
    """In float32, whichever of the two computes."""
    (image,) = noise(1, narrow_specification)
    expected = Predictor(model, narrow_specification, Computation(provider="cpu")).run(image).array

    predictor = Predictor(model, narrow_specification, Computation(provider="openvino"))

    assert "openvino" == predictor.engine.provider
    np.testing.assert_allclose(predictor.run(image).array, expected, rtol=0, atol=1e-4)


def test_the_same_weights_give_the_same_bytes(
    network: EFSNet, model: bytes, narrow_specification: Specification
) -> None:
    """So that a version can be made again and compared."""
    assert model == export(network, narrow_specification, temperature=TEMPERATURE)


def test_the_file_tells_nothing_of_the_machine(model: bytes, repository: Path) -> None:
    """No path, no stack trace, and nothing but the operators' own standard."""
    graph = onnx.load_from_string(model)

    for trace in (str(repository), str(Path.home()), ".py", "site-packages", "torch"):
        assert trace.encode() not in model
    assert ("efsnet", "") == (graph.producer_name, graph.producer_version)
    assert [""] == [opset.domain for opset in graph.opset_import]
    assert not graph.functions


def test_exploded_logits_still_give_probabilities(
    varied_network: VariedNetwork, narrow_specification: Specification
) -> None:
    """A network gone astray says something wrong, never NaN."""
    network = varied_network()
    with torch.no_grad():
        network.get_parameter("predict.bias").copy_(torch.tensor([-1e4, 0.0, 1e4]))

    probabilities = run(export(network, narrow_specification), noise(1, narrow_specification))

    np.testing.assert_allclose(probabilities[0, 2], 1, rtol=0, atol=BOUND)
    np.testing.assert_allclose(probabilities[0, :2], 0, rtol=0, atol=BOUND)


def test_exporting_says_nothing(
    network: EFSNet, narrow_specification: Specification, capfd: pytest.CaptureFixture[str]
) -> None:
    """What the exporter has to say is of no use to who publishes."""
    export(network, narrow_specification)

    assert ("", "") == capfd.readouterr()
