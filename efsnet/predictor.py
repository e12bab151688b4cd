"""From an image to a probability map, through ONNX Runtime."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from efsnet.binding import BoundSession
from efsnet.errors import ArrayInvalid, EngineUnavailable, ModelUnusable
from efsnet.image import Image
from efsnet.maps import ProbabilityMap
from efsnet.preprocessing import to_input
from efsnet.specification import Precision, Specification

Provider = Literal["auto", "openvino", "cpu", "cuda", "tensorrt"]
"""What runs beneath ONNX Runtime; `auto` is the first of OpenVINO, CUDA and the CPU provider that works here."""

_PROVIDERS = {
    "openvino": "OpenVINOExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "cpu": "CPUExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_AUTOMATIC = ("openvino", "cuda", "cpu")
_ON_GPU = ("cuda", "tensorrt")

Session = Any
"""An onnxruntime.InferenceSession, which has no type hints."""

# Nothing leaves the building, and only errors reach the log: both hold for the whole process.
onnxruntime.disable_telemetry_events()
onnxruntime.set_default_logger_severity(3)


@dataclass(frozen=True, slots=True)
class Engine:
    """What computes the probabilities: part of every answer, because it can decide single pixels."""

    name: str
    """With its version, as in "ONNX Runtime 1.24.1"."""
    provider: str
    precision: str
    """Of the arithmetic: "f32" or "bf16", or "tf32" for TensorRT."""
    threads: int
    passed_over: tuple[str, ...] = ()
    """Providers that are installed, would have been taken before this one, and do not work here."""


@dataclass(frozen=True, slots=True)
class Computation:
    """How predictions are to be computed."""

    provider: Provider = "auto"
    threads: int = 1
    """Of one prediction. One is best where several predictors work side by side."""
    precision: Precision = "f32"
    """`bf16` is for OpenVINO on a processor with bfloat16. It decides some pixels differently."""
    batch: int = 1
    """Images that go through the network at once at most. A graph for one image is faster with one than a graph for
    any number: more is for GPUs."""
    batch_wait_s: float = 0.0
    """Longest time that an image waits for others, where they go together."""


AS_IT_COMES = Computation()


class Predictor:
    """A loaded graph, for use by one thread at a time; `Batcher` makes one of it that several can use.

    The graph has one input, `image`, (n, 1, rows, columns) uint8, and one output, `probabilities`, (n, classes, rows,
    columns) float32; rows, columns and classes are the specification's.

    Args:
        model: The ONNX file.
        specification: Of the version that the graph belongs to.
        computation: How; by default as is best where several predictors work side by side.

    Raises:
        EngineUnavailable: this machine or installation has not the asked provider or precision.
        ModelUnusable: the graph cannot be loaded, or its input or output is not as specified.
    """

    def __init__(self, model: bytes, specification: Specification, computation: Computation = AS_IT_COMES) -> None:
        self.specification = specification
        self.batch = computation.batch
        if computation.precision == "bf16":
            _require_bfloat16(computation.provider)
            computation = replace(computation, provider="openvino")
        names = _installed(computation.provider)
        used, self._session = _first_that_works(names, lambda name: _session(model, specification, name, computation))
        self._bound = BoundSession(self._session, "cuda") if used in _ON_GPU else None
        self.engine = Engine(
            name=f"ONNX Runtime {onnxruntime.__version__}",
            provider=used,
            precision="tf32" if used == "tensorrt" else computation.precision,
            threads=computation.threads,
            passed_over=tuple(names[: names.index(used)]),
        )

    def predict(self, image: Image) -> ProbabilityMap:
        """The probabilities of an image's classes, on the network's grid."""
        return self.run(to_input(image, self.specification.input))

    def run(self, tensor: NDArray[np.uint8]) -> ProbabilityMap:
        """The probabilities of what `to_input` gave: (1, rows, columns) uint8.

        Raises:
            ArrayInvalid: `tensor` has another shape or type.
        """
        return self.run_batch([tensor])[0]

    def run_batch(self, tensors: Sequence[NDArray[np.uint8]]) -> list[ProbabilityMap]:
        """Of up to `batch` such tensors at once.

        Raises:
            ArrayInvalid: a tensor has another shape or type, or there are none or too many.
        """
        if not 1 <= len(tensors) <= self.batch:
            raise ArrayInvalid(f"A batch has 1 to {self.batch} images, got {len(tensors)}.")
        expected = (1, self.specification.input.rows, self.specification.input.columns)
        for tensor in tensors:
            if tensor.shape != expected or tensor.dtype != np.uint8:
                raise ArrayInvalid(f"The network takes {expected} uint8, got {tensor.shape} {tensor.dtype}.")
        images = tensors[0][np.newaxis] if len(tensors) == 1 else np.stack(tensors)
        return [ProbabilityMap(each) for each in self._probabilities(images)]

    def _probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        if self._bound is not None:
            return self._bound.run(images)
        (probabilities,) = self._session.run(["probabilities"], {"image": images})
        return np.asarray(probabilities)


def has_bfloat16() -> bool:
    """Whether OpenVINO computes in bfloat16 here: an x86 processor with instructions for it, on Linux."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return re.search(r"\b(avx512_bf16|amx_bf16)\b", flags) is not None


def _require_bfloat16(provider: Provider) -> None:
    if provider not in ("auto", "openvino") or not _installed("openvino"):
        raise EngineUnavailable("bfloat16 is computed by the OpenVINO provider alone: take f32, or that provider.")
    if not has_bfloat16():
        raise EngineUnavailable("This processor has no bfloat16 (avx512_bf16 or amx_bf16): take f32.")


def _installed(provider: Provider) -> list[str]:
    """The providers to try: the asked one, or those of `auto` in their order, as far as they are installed."""
    installed = onnxruntime.get_available_providers()
    names = _AUTOMATIC if provider == "auto" else (provider,)
    return [name for name in names if _PROVIDERS[name] in installed]


def _first_that_works(names: list[str], open_session: Callable[[str], Session]) -> tuple[str, Session]:
    """A session of the first provider that does not give way to another: a driver that is missing shows only there."""
    for name in names:
        session = open_session(name)
        if session.get_providers()[0] == _PROVIDERS[name]:
            return name, session
    raise EngineUnavailable(
        f"The asked provider is not installed or does not work here; ONNX Runtime {onnxruntime.__version__} "
        f"as installed has {', '.join(onnxruntime.get_available_providers())}."
    )


def _session(model: bytes, specification: Specification, name: str, asked: Computation) -> Session:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = asked.threads
    options.inter_op_num_threads = 1
    # Beyond "extended", the CPU provider reorders memory to its own layout: 41 CPU-ms at 512x512 in place of 37.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    # The planned buffers come on top of the arena: 30 MB a session, and no faster.
    options.enable_mem_pattern = False
    # Threads that spin for work take it from the other predictors.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if asked.batch == 1:
        # A fixed shape: OpenVINO took 20 CPU-ms and 4 MB less than the 25 of a free n, at 512x512.
        options.add_free_dimension_override_by_name("n", 1)
    try:
        session = onnxruntime.InferenceSession(
            model, options, providers=[(_PROVIDERS[name], _provider_options(name, asked))], enable_fallback=0
        )
    except Exception as error:  # ONNX Runtime's own derive from nothing in common
        raise ModelUnusable(f"The {name} provider cannot load the graph: {error}") from error
    _check(session, specification, 1 if asked.batch == 1 else "n")
    return session


def _provider_options(name: str, asked: Computation) -> dict[str, str]:
    """The asked precision in each; TensorRT alone has no option against TF32 (microsoft/onnxruntime#26029)."""
    if name == "openvino":
        # Left alone, it computes in bfloat16 where the processor can, and ties its threads to the first cores, the
        # same ones in each process.
        config = {
            "INFERENCE_PRECISION_HINT": asked.precision,
            "INFERENCE_NUM_THREADS": str(asked.threads),
            "NUM_STREAMS": "1",
            "ENABLE_CPU_PINNING": "NO",
        }
        return {"device_type": "CPU", "load_config": json.dumps({"CPU": config})}
    return {"use_tf32": "0"} if name == "cuda" else {}


def _check(session: Session, specification: Specification, images: int | str) -> None:
    rows, columns = specification.input.rows, specification.input.columns
    expected = {
        "inputs": [("image", "tensor(uint8)", [images, 1, rows, columns])],
        "outputs": [("probabilities", "tensor(float)", [images, len(specification.classes), rows, columns])],
    }
    found = {
        "inputs": [(node.name, node.type, node.shape) for node in session.get_inputs()],
        "outputs": [(node.name, node.type, node.shape) for node in session.get_outputs()],
    }
    if found != expected:
        raise ModelUnusable(f"The graph should have {expected}, but has {found}.")
