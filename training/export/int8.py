"""A graph whose convolutions compute in 8-bit whole numbers: post-training quantisation by ONNX Runtime.

Weights are quantised channel by channel; the ranges of activations are the extremes seen on calibration images.
"""

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process


class _Images(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no type hints
    """The network's inputs, one by one."""

    def __init__(self, tensors: Iterable[NDArray[np.uint8]]) -> None:
        self._tensors = iter(tensors)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        tensor = next(self._tensors, None)
        return None if tensor is None else {"image": tensor[np.newaxis]}


def quantised(model: bytes, tensors: Iterable[NDArray[np.uint8]]) -> bytes:
    """The graph with its convolutions in 8 bits, each between a QuantizeLinear and a DequantizeLinear.

    Args:
        model: As `export` gives it.
        tensors: (1, rows, columns) uint8, of images that the network learnt from.
    """
    with tempfile.TemporaryDirectory() as scratch:
        given, prepared, written = (Path(scratch) / name for name in ("given.onnx", "prepared.onnx", "int8.onnx"))
        onnx.save(onnx.load_model_from_string(model), given)
        quant_pre_process(str(given), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(written),
            _Images(tensors),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return written.read_bytes()
