"""The portable graph of a version: uint8 images in, probabilities out.

Input `image` (n, 1, rows, columns) uint8 and output `probabilities` (n, classes, rows, columns) float32 in [0, 1].
The value range, the temperature and the softmax are inside; resizing and the choice of a class are not.
"""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from efsnet.network import EFSNet
from efsnet.specification import Specification
from training.export.rewrite import for_inference

OPSET = 18

EXPONENT_BOUND = 40.0
"""Logits are cut here before exp, which overflows at 88; training keeps them within 10, so no mask is touched."""

PARITY_IMAGES = 3
"""Images of noise, as one batch, on which a graph is compared with its network."""


class Graph(nn.Module):
    """The network between the value range and the softmax, as it is exported.

    Args:
        network: In its rewritten form.
        specification: Names the value range.
    """

    def __init__(self, network: EFSNet, specification: Specification) -> None:
        super().__init__()
        low, high = specification.input.value_range
        self.scale, self.offset = (high - low) / 255, low
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        logits = self.network.unclamped(image.float() * self.scale + self.offset)
        # not a softmax: over the channel axis ONNX Runtime's takes 10 to 19 ms where this takes one or two
        exponentials = logits.clamp(-EXPONENT_BOUND, EXPONENT_BOUND).exp()
        return exponentials / exponentials.sum(dim=1, keepdim=True)


def export(network: EFSNet, specification: Specification, *, temperature: float = 1.0) -> bytes:
    """The ONNX file of a network; the same weights give the same bytes."""
    rewritten = for_inference(network)
    for parameter in rewritten.predict.parameters():
        parameter.div_(temperature)
    graph = Graph(rewritten, specification).eval()
    example = torch.zeros(2, 1, specification.input.rows, specification.input.columns, dtype=torch.uint8)
    with _quiet_exporter():
        program = torch.onnx.export(
            graph,
            (example,),
            input_names=["image"],
            output_names=["probabilities"],
            opset_version=OPSET,
            dynamic_shapes={"image": {0: torch.export.Dim("n", min=1)}},
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("The exporter gave no program.")
    return _portable(program.model_proto)


def parity(network: EFSNet, model: bytes, specification: Specification, *, temperature: float = 1.0) -> float:
    """Largest difference of a probability between the network in torch and the graph in ONNX Runtime, on noise."""
    rows, columns = specification.input.rows, specification.input.columns
    noise = np.random.default_rng(0).integers(0, 256, (PARITY_IMAGES, 1, rows, columns), dtype=np.uint8)
    low, high = specification.input.value_range
    with torch.inference_mode():
        logits = network.eval().unclamped(torch.from_numpy(noise).float() / 255 * (high - low) + low)
        expected = (logits / temperature).softmax(dim=1).numpy()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return float(np.abs(session.run(None, {"image": noise})[0] - expected).max())


def _portable(model: onnx.ModelProto) -> bytes:
    """Without what the exporter notes of the machine it ran on: stack traces, module paths, its own version."""
    model.producer_name, model.producer_version, model.doc_string = "efsnet", "", ""
    for part in (
        model,
        model.graph,
        *model.graph.node,
        *model.graph.value_info,
        *model.graph.input,
        *model.graph.output,
    ):
        del part.metadata_props[:]
        part.doc_string = ""
    onnx.checker.check_model(model, full_check=True)
    file = io.BytesIO()
    onnx.save_model(model, file)
    return file.getvalue()


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Its warnings are about its own insides."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(level)
