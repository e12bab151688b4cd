"""The portable graph of a version: uint8 images in, probabilities out.

Input `image` (n, 1, rows, columns) uint8 and output `probabilities` (n, classes, rows, columns) float32 in [0, 1].
The value range, the temperature and the softmax are inside; resizing and the choice of a class are not.
"""

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from efsnet.image import decode_image
from efsnet.network import SegmentationNetwork
from efsnet.preprocessing import to_input
from efsnet.specification import Specification
from training.export.rewrite import for_inference
from training.references import reference_images

OPSET = 18

EXPONENT_BOUND = 80.0
"""Logits are cut here, because exp overflows at 88.7. Trained networks stay within: 18 to 56 were measured."""

MAX_DIFFERENCE = 1e-5
"""Of any probability between a trained network and its graph."""

ROUNDINGS = 10.0
"""How much worse than the network itself a graph may round, where the weights make more of it than MAX_DIFFERENCE, as
those of a hardly trained one do, whose normalisation divides by next to nothing."""

LEAPING_SHARE = 1e-3
"""Share of the pixels that do not count in a network that leaps; as many may differ when a version is loaded."""

PRECISIONS = (torch.float32, torch.float64)


class Graph(nn.Module):
    """The network between the value range and the probabilities, as it is exported.

    Args:
        network: In its rewritten form.
        value_range: What stored values 0 and 255 become.
    """

    def __init__(self, network: SegmentationNetwork, value_range: tuple[float, float]) -> None:
        super().__init__()
        low, high = value_range
        self.scale, self.offset = (high - low) / 255, low
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        logits = self.network.unclamped(image.float() * self.scale + self.offset)
        # Not a softmax: over the channel axis ONNX Runtime's own takes 5 CPU-ms more at 512x512.
        exponentials = logits.clamp(-EXPONENT_BOUND, EXPONENT_BOUND).exp()
        return exponentials / exponentials.sum(dim=1, keepdim=True)


def export(network: SegmentationNetwork, specification: Specification, *, temperature: float = 1.0) -> bytes:
    """The ONNX file of a network; the same weights give the same bytes.

    Args:
        network: Stays as it is.
        specification: Names size and value range of the input.
        temperature: What the logits are divided by; goes into the weights of the last layer.
    """
    rewritten = for_inference(network)
    for parameter in rewritten.predict.parameters():
        parameter.div_(temperature)
    example = torch.zeros(2, 1, specification.input.rows, specification.input.columns, dtype=torch.uint8)
    with quiet_exporter():
        program = torch.onnx.export(
            Graph(rewritten, specification.input.value_range).eval(),
            (example,),
            input_names=["image"],
            output_names=["probabilities"],
            opset_version=OPSET,
            dynamic_shapes={"image": {0: torch.export.Dim("n", min=1)}},
            dynamo=True,
            verbose=False,
        )
    model = _portable(cast(torch.onnx.ONNXProgram, program).model_proto)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


@dataclass(frozen=True, slots=True)
class Parity:
    """How far probabilities are from the network's own, computed in double precision.

    Args:
        graph: Largest error of the graph in ONNX Runtime.
        rounding: Largest error of the network itself in single precision, as it was trained.
    """

    graph: float
    rounding: float

    @property
    def kept(self) -> bool:
        """Whether the graph is right to MAX_DIFFERENCE, or to what single precision allows with these weights."""
        return self.graph < max(MAX_DIFFERENCE, ROUNDINGS * self.rounding)


def parity(
    network: SegmentationNetwork, model: bytes, specification: Specification, *, temperature: float = 1.0
) -> Parity:
    """Measured on noise and on the reference images.

    Args:
        network: As it was trained.
        model: Its graph, run by ONNX Runtime's own provider.
        specification: As it was exported by.
        temperature: As it was exported with.
    """
    size = (1, specification.input.rows, specification.input.columns)
    images = np.stack(
        [
            np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8),
            *(to_input(decode_image(content), specification.input) for content in reference_images().values()),
        ]
    )
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (probabilities,) = session.run(["probabilities"], {"image": images})
    single, exact = (_probabilities(network, images, specification, temperature, kind) for kind in PRECISIONS)
    counted = 1 - LEAPING_SHARE if network.leaps else 1.0
    errors = (np.quantile(np.abs(answer - exact).max(axis=1), counted) for answer in (probabilities, single))
    return Parity(*map(float, errors))


@torch.inference_mode()
def _probabilities(
    network: SegmentationNetwork,
    images: NDArray[np.uint8],
    specification: Specification,
    temperature: float,
    precision: torch.dtype,
) -> NDArray[np.floating]:
    low, high = specification.input.value_range
    evaluated = copy.deepcopy(network).eval().to(precision)
    logits = evaluated.unclamped(torch.from_numpy(images).to(precision) / 255 * (high - low) + low)
    return (logits / temperature).softmax(dim=1).numpy()


def _portable(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without what the exporter notes of the machine it ran on: stack traces, module paths, its own version."""
    model.producer_name, model.producer_version = "efsnet", ""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
        part.doc_string = ""
        del part.metadata_props[:]
    return model


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Its warnings and log are about its own insides."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logger.setLevel(level)
