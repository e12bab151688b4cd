"""The portable graph of a version: uint8 images in, probabilities out.

Input `image` (n, 1, rows, columns) uint8 and output `probabilities` (n, classes, rows, columns) float32 in [0, 1].
The value range, the temperature and the softmax are inside; resizing and the choice of a class are not.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import numpy as np
import onnx
import onnxruntime
import torch
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

DIFFERENT = 1e-3
"""Least difference of a probability that counts."""


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
    with _quiet_exporter():
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


def parity(
    network: SegmentationNetwork, model: bytes, specification: Specification, *, temperature: float = 1.0
) -> float:
    """Share of pixels, on noise and on the reference images, that the graph answers otherwise than the network.

    Otherwise means: a probability differs from torch's by DIFFERENT or more, or is not a number. Rounding alone moves
    a trained network's probabilities by a millionth, a hardly trained one's by some ten-thousandths.

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
    low, high = specification.input.value_range
    with torch.inference_mode():
        logits = network.eval().unclamped(torch.from_numpy(images) / 255 * (high - low) + low)
        expected = (logits / temperature).softmax(dim=1).numpy()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (probabilities,) = session.run(["probabilities"], {"image": images})
    alike = (np.abs(probabilities - expected) < DIFFERENT).all(axis=1)  # a comparison with NaN is False
    return float(1 - alike.mean())


def _portable(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without what the exporter notes of the machine it ran on: stack traces, module paths, its own version."""
    model.producer_name, model.producer_version = "efsnet", ""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
        part.doc_string = ""
        del part.metadata_props[:]
    return model


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Its warnings and log are about its own insides."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logger.setLevel(level)
