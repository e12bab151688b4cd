"""OpenVINO without ONNX Runtime, in a process of its own, and in an environment of its own.

As a script, in that environment: reads a graph, then tensors, and answers each with probabilities and times.
"""

import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

CLASSES = 3


class OpenVino:
    """One compiled model, asked over pipes."""

    def __init__(self, model: bytes, threads: int, precision: str) -> None:
        from benchmarks.environments import interpreter  # noqa: PLC0415 - not there for the script

        python = interpreter("openvino")
        self._scratch = tempfile.TemporaryDirectory()
        graph = Path(self._scratch.name) / "model.onnx"
        graph.write_bytes(model)
        self._process = subprocess.Popen(
            [str(python), __file__, str(graph), str(threads), precision],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()
        self._scratch.cleanup()

    def run(self, tensor: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float, float]:
        """Probabilities, CPU seconds and wall seconds of one prediction."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("The pipes are closed.")
        self._process.stdin.write(tensor.tobytes())
        self._process.stdin.flush()
        cpu_s, wall_s = np.frombuffer(self._process.stdout.read(2 * 8))
        size = CLASSES * tensor.size * 4
        probabilities = np.frombuffer(self._process.stdout.read(size), np.float32)
        return probabilities.reshape(CLASSES, *tensor.shape[1:]), float(cpu_s), float(wall_s)


def _answer() -> None:
    import openvino  # type: ignore[import-not-found]  # noqa: PLC0415 - there only in the script's environment

    graph, threads, precision = sys.argv[1:]
    core = openvino.Core()
    model = core.read_model(graph)
    model.reshape({0: [1, *list(model.inputs[0].partial_shape)[1:]]})
    configuration = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": "1",
        "ENABLE_CPU_PINNING": "NO",
    }
    request = core.compile_model(model, "CPU", configuration).create_infer_request()
    shape = tuple(model.inputs[0].shape)
    while data := sys.stdin.buffer.read(math.prod(shape)):
        tensor = np.frombuffer(data, np.uint8).reshape(shape)
        cpu, wall = time.process_time(), time.perf_counter()
        probabilities = request.infer([tensor])[0]
        sys.stdout.buffer.write(np.array([time.process_time() - cpu, time.perf_counter() - wall]).tobytes())
        sys.stdout.buffer.write(probabilities.astype(np.float32).tobytes())
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _answer()
