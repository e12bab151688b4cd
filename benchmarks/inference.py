"""One prediction, in every way that comes into question, side by side. Needs the extra `training`.

The weights are the shipped version's. Ways take turns in every round, so that all meet the same load; direct OpenVINO
does so in a process and an environment of its own, because its wheel brings a telemetry package.
"""

import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.openvino_direct import OpenVino
from benchmarks.requests import processor
from efsnet.image import decode_image
from efsnet.network import SegmentationNetwork
from efsnet.predictor import Computation, Predictor, has_bfloat16
from efsnet.preprocessing import to_input
from efsnet.specification import PostProcessing, Specification
from model_store.store import ModelStore
from training.export.int8 import quantised
from training.export.onnx_export import OPSET, export, quiet_exporter
from training.publishing import network_from_version
from training.specification import specification

SHIPPED = Path(__file__).parent.parent / "model_store" / "versions"
IMAGES = Path(__file__).parent.parent / "tests" / "data" / "Dataset_BUSI_with_GT"

MATRIX_SIDE = 1024
"""Of the matrix product that shows what a core can do."""

RULES = PostProcessing(tumour_threshold=0.5, minimum_area_fraction=0, fill_holes=True, one_class_per_lesion=True)

Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""From (1, rows, columns) uint8 to (classes, rows, columns) probabilities."""


@dataclass(slots=True)
class Way:
    """A way to predict, and what was measured of it.

    Args:
        name: For the table.
        run: One prediction; returns probabilities, CPU seconds and wall seconds.
        cpu_ms: Of each prediction.
        wall_ms: The same.
        differing: Share of the pixels, over all images, whose class is not that of the network itself.
    """

    name: str
    run: Callable[[NDArray[np.uint8]], tuple[NDArray[np.float32], float, float]]
    cpu_ms: list[float] = field(default_factory=list)
    wall_ms: list[float] = field(default_factory=list)
    differing: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    sides: tuple[int, ...]
    threads: tuple[int, ...]
    rounds: int
    repeats: int


def measure(plan: Plan) -> str:
    """The figures as JSON, one entry for each side and number of threads."""
    before = os.getloadavg()[0]
    tables = [_measured(side, threads, plan) for side in plan.sides for threads in plan.threads]
    content = {
        "machine": processor(),
        "cores": os.cpu_count(),
        "load_average": [before, os.getloadavg()[0]],
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "onnxruntime": onnxruntime.__version__,
        },
        "rounds": plan.rounds,
        "repeats": plan.repeats,
        "tables": tables,
    }
    return json.dumps(content, indent=2)


def as_markdown(text: str) -> str:
    """The tables of what `measure` gave."""
    content = json.loads(text)
    load = " before and ".join(f"{load:.1f}" for load in content["load_average"])
    versions = ", ".join(f"{name} {version}" for name, version in content["versions"].items())
    lines = [
        f"{content['machine']}, {content['cores']} cores, load average {load} after; {versions}.",
        f"{content['rounds']} rounds of {content['repeats']} predictions each, medians.",
    ]
    for table in content["tables"]:
        threads = "one thread" if table["threads"] == 1 else f"{table['threads']} threads"
        lines += [
            "",
            f"{table['side']} x {table['side']}, {threads}; matrix product {table['matrix_gflops']:.0f} GFLOP/s.",
            f"Whole machine, a predictor of one thread a core: {table['machine_images_per_s']:.0f} images/s.",
            "",
            "| way | CPU-ms | ms | images/s | GFLOP/s | of the matrix product's | times eager | pixels that differ |",
            "|---|---:|---:|---:|---:|---:|---:|---:|",
        ]
        eager = table["ways"][0]["cpu_ms"]
        for way in table["ways"]:
            gflops = table["gflop"] / way["ms"] * 1000
            lines.append(
                f"| {way['name']} | {way['cpu_ms']:.1f} | {way['ms']:.1f} | {1000 / way['ms']:.1f} | {gflops:.0f} "
                f"| {gflops / table['matrix_gflops']:.0%} | {eager / way['cpu_ms']:.1f} | {way['differing']:.4%} |"
            )
    return "\n".join(lines)


def _measured(side: int, threads: int, plan: Plan) -> dict[str, object]:
    torch.set_num_threads(threads)
    specified = specification(side, RULES)
    tensors = [to_input(decode_image(path.read_bytes()), specified.input) for path in sorted(_images())]
    with ExitStack() as stack:
        ways = list(_ways(specified, threads, tensors, stack))
        expected = [ways[0].run(tensor)[0].argmax(axis=0) for tensor in tensors]
        for way in ways:
            found = [way.run(tensor)[0].argmax(axis=0) for tensor in tensors]
            way.differing = float(np.mean([a != b for a, b in zip(expected, found, strict=True)]))
        matrix_s = []
        for _ in range(plan.rounds):
            matrix_s.append(_matrix_product_s())
            for way in ways:
                way.run(tensors[0])  # brings its weights back into the cache
                for repeat in range(plan.repeats):
                    _, cpu_s, wall_s = way.run(tensors[repeat % len(tensors)])
                    way.cpu_ms.append(1000 * cpu_s)
                    way.wall_ms.append(1000 * wall_s)
    return {
        "side": side,
        "threads": threads,
        "machine_images_per_s": _images_per_s(specified, tensors, plan),
        "gflop": 2 * 1.05952 * (side / 512) ** 2,
        "matrix_gflops": 2 * MATRIX_SIDE**3 / min(matrix_s) / 1e9,
        "ways": [
            {
                "name": way.name,
                "cpu_ms": float(np.median(way.cpu_ms)),
                "ms": float(np.median(way.wall_ms)),
                "differing": way.differing,
            }
            for way in ways
        ],
    }


def _images_per_s(specified: Specification, tensors: Sequence[NDArray[np.uint8]], plan: Plan) -> float:
    """Of the whole machine, as the service uses it: a predictor of one thread for each core."""
    model = export(_shipped_network(), specified)
    predictors = [Predictor(model, specified) for _ in range(os.cpu_count() or 1)]
    count = 4 * plan.rounds * plan.repeats

    def work(predictor: Predictor) -> None:
        for index in range(count):
            predictor.run(tensors[index % len(tensors)])

    with ThreadPoolExecutor(len(predictors)) as pool:
        list(pool.map(lambda predictor: predictor.run(tensors[0]), predictors))
        since = time.perf_counter()
        list(pool.map(work, predictors))
        return count * len(predictors) / (time.perf_counter() - since)


def _shipped_network() -> SegmentationNetwork:
    return network_from_version(ModelStore(SHIPPED).version("efsnet", "production"), "efsnet").eval()


def _ways(
    specified: Specification, threads: int, tensors: Sequence[NDArray[np.uint8]], stack: ExitStack
) -> Iterator[Way]:
    """PyTorch's eager mode first, with which the others are compared."""
    network = _shipped_network()
    model, plain = export(network, specified), _plain_export(network, specified)
    yield Way("PyTorch eager, as the thesis", _timed(_eager(network)))
    yield Way("ONNX Runtime as it comes, the network as it is", _timed(_plain_session(plain, threads)))
    yield Way("ONNX Runtime as it comes, our graph", _timed(_plain_session(model, threads)))
    yield Way(
        "our predictor, CPU provider",
        _timed(_ours(Predictor(model, specified, Computation(provider="cpu", threads=threads)))),
    )
    if "OpenVINOExecutionProvider" not in onnxruntime.get_available_providers():
        return
    yield Way(
        "**our predictor, OpenVINO, f32**", _timed(_ours(Predictor(model, specified, Computation(threads=threads))))
    )
    if has_bfloat16():
        reduced = Predictor(model, specified, Computation(threads=threads, precision="bf16"))
        yield Way("our predictor, OpenVINO, bf16", _timed(_ours(reduced)))
    # Its ranges are found on few images, which is enough to time it; `training precision` measures its masks.
    eighths = Predictor(quantised(model, tensors), specified, Computation(threads=threads))
    yield Way("the same in int8 (not offered)", _timed(_ours(eighths)))
    for precision in ("f32", "bf16") if has_bfloat16() else ("f32",):
        direct = stack.enter_context(OpenVino(model, threads, precision))
        yield Way(f"OpenVINO directly, {precision}", direct.run)


def _timed(run: Run) -> Callable[[NDArray[np.uint8]], tuple[NDArray[np.float32], float, float]]:
    def timed(tensor: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float, float]:
        cpu, wall = time.process_time(), time.perf_counter()
        probabilities = run(tensor)
        return probabilities, time.process_time() - cpu, time.perf_counter() - wall

    return timed


def _eager(network: nn.Module) -> Run:
    @torch.inference_mode()
    def run(tensor: NDArray[np.uint8]) -> NDArray[np.float32]:
        image = torch.tensor(tensor[np.newaxis]).float() / 255
        probabilities: NDArray[np.float32] = network(image).softmax(dim=1)[0].numpy()
        return probabilities

    return run


def _plain_session(model: bytes, threads: int) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(tensor: NDArray[np.uint8]) -> NDArray[np.float32]:
        (probabilities,) = session.run(None, {"image": tensor[np.newaxis]})
        answer: NDArray[np.float32] = probabilities[0]
        return answer

    return run


def _ours(predictor: Predictor) -> Run:
    return lambda tensor: predictor.run(tensor).array


class _AsItIs(nn.Module):
    """The network between the grey values and the probabilities, nothing rewritten."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        probabilities: torch.Tensor = self.network(image.float() / 255).softmax(dim=1)
        return probabilities


def _plain_export(network: nn.Module, specified: Specification) -> bytes:
    example = torch.zeros(1, 1, specified.input.rows, specified.input.columns, dtype=torch.uint8)
    with quiet_exporter():
        program = torch.onnx.export(
            _AsItIs(network).eval(),
            (example,),
            input_names=["image"],
            output_names=["probabilities"],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("The exporter gave nothing.")
    return bytes(program.model_proto.SerializeToString())


def _matrix_product_s() -> float:
    """Seconds of the fastest of a few products of two matrices."""
    first, second = torch.rand(MATRIX_SIDE, MATRIX_SIDE), torch.rand(MATRIX_SIDE, MATRIX_SIDE)
    spent = []
    for _ in range(5):
        since = time.perf_counter()
        torch.mm(first, second)
        spent.append(time.perf_counter() - since)
    return min(spent)


def _images() -> Iterator[Path]:
    return (path for path in IMAGES.rglob("*.png") if "_mask" not in path.name)
