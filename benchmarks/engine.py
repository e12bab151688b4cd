"""What each choice of the predictor's settings is worth: every other one beside it, changed one at a time.

Needs the extra `training`. The graph is the shipped version's; everything runs on one thread unless it says otherwise.
"""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from benchmarks.inference import SHIPPED
from benchmarks.requests import processor
from model_store.manifest import MODEL
from model_store.store import ModelStore

LEVELS = onnxruntime.GraphOptimizationLevel


@dataclass(frozen=True, slots=True)
class Settings:
    """Of a session; as they are here, the predictor has them."""

    provider: str
    level: Any = LEVELS.ORT_ENABLE_EXTENDED
    memory_pattern: bool = False
    arena: bool = True
    fixed_batch: bool = True
    spinning: bool = False
    threads: int = 1
    openvino: Mapping[str, str] = field(default_factory=dict)
    """Beside precision, threads, one stream and no pinning."""
    cache: str = ""
    """Folder for what OpenVINO compiled."""


@dataclass(slots=True)
class Choice:
    """A session and what was measured of it."""

    name: str
    predict: Callable[[NDArray[np.uint8]], object]
    ready_ms: float
    cpu_ms: list[float] = field(default_factory=list)
    wall_ms: list[float] = field(default_factory=list)


def measure(rounds: int, repeats: int) -> str:
    """The Markdown of the figures."""
    version = ModelStore(SHIPPED).version("efsnet", "production")
    model, grid = version.read(MODEL), version.manifest.specification.input
    image = np.random.default_rng(0).integers(0, 256, (1, 1, grid.rows, grid.columns), dtype=np.uint8)
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as cache:
        choices = [_choice(name, data, settings) for name, data, settings in _variants(model, cache)]
        for _ in range(rounds):
            for choice in choices:
                choice.predict(image)  # brings its weights back into the cache
                for _ in range(repeats):
                    cpu, wall = time.process_time(), time.perf_counter()
                    choice.predict(image)
                    choice.cpu_ms.append(1000 * (time.process_time() - cpu))
                    choice.wall_ms.append(1000 * (time.perf_counter() - wall))
    return "\n".join(
        [
            f"{processor()}, load average {before:.1f} before and {os.getloadavg()[0]:.1f} after.",
            f"ONNX Runtime {onnxruntime.__version__}, {version}, {grid.rows}x{grid.columns}.",
            f"{rounds} rounds of {repeats}, medians; the time to ready is of one session.",
            "",
            "| settings | CPU-ms | ms | ms until ready |",
            "|---|---:|---:|---:|",
            *(
                f"| {choice.name} | {statistics.median(choice.cpu_ms):.1f} | {statistics.median(choice.wall_ms):.1f} "
                f"| {choice.ready_ms:.0f} |"
                for choice in choices
            ),
        ]
    )


def _variants(model: bytes, cache: str) -> list[tuple[str, bytes, Settings]]:
    ours, cpu = Settings("OpenVINOExecutionProvider"), Settings("CPUExecutionProvider")
    dense = _without_groups(model)
    named = {
        "**OpenVINO, as the predictor has it**": ours,
        "two threads": replace(ours, threads=2),
        "two threads, pinned": replace(ours, threads=2, openvino={"ENABLE_CPU_PINNING": "YES"}),
        "pinned": replace(ours, openvino={"ENABLE_CPU_PINNING": "YES"}),
        "any number of images at once": replace(ours, fixed_batch=False),
        "graph level all": replace(ours, level=LEVELS.ORT_ENABLE_ALL),
        "graph level none": replace(ours, level=LEVELS.ORT_DISABLE_ALL),
        "compiled anew into a cache": replace(ours, cache=cache),
        "compiled before, from the cache": replace(ours, cache=cache),
        "**CPU provider, as the predictor has it**": cpu,
        "CPU provider, graph level all": replace(cpu, level=LEVELS.ORT_ENABLE_ALL),
        "CPU provider, graph level basic": replace(cpu, level=LEVELS.ORT_ENABLE_BASIC),
        "CPU provider, memory pattern": replace(cpu, memory_pattern=True),
        "CPU provider, no arena": replace(cpu, arena=False),
        "CPU provider, two threads": replace(cpu, threads=2),
        "CPU provider, two threads that spin": replace(cpu, threads=2, spinning=True),
    }
    if ours.provider not in onnxruntime.get_available_providers():
        named = {name: settings for name, settings in named.items() if settings.provider == cpu.provider}
    variants = [(name, model, settings) for name, settings in named.items()]
    variants += [("CPU provider, grouped 1x1 convolutions made dense", dense, cpu)]
    if ours in named.values():
        variants += [("grouped 1x1 convolutions made dense", dense, ours)]
    return variants


def _choice(name: str, model: bytes, settings: Settings) -> Choice:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = settings.level
    options.enable_mem_pattern = settings.memory_pattern
    options.enable_cpu_mem_arena = settings.arena
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(settings.spinning)))
    if settings.fixed_batch:
        options.add_free_dimension_override_by_name("n", 1)
    given: dict[str, str] = {}
    if settings.provider.startswith("OpenVINO"):
        configuration = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": str(settings.threads),
            "NUM_STREAMS": "1",
            "ENABLE_CPU_PINNING": "NO",
            **settings.openvino,
        }
        given = {"device_type": "CPU", "load_config": json.dumps({"CPU": configuration})}
        given |= {"cache_dir": settings.cache} if settings.cache else {}
    since = time.perf_counter()
    session = onnxruntime.InferenceSession(model, options, providers=[(settings.provider, given)])
    return Choice(name, lambda image: session.run(None, {"image": image}), 1000 * (time.perf_counter() - since))


def _without_groups(model: bytes) -> bytes:
    """The graph with each grouped 1x1 convolution as a dense one, whose other weights are zero."""
    graph = onnx.load_model_from_string(model)
    weights = {tensor.name: tensor for tensor in graph.graph.initializer}
    for node in graph.graph.node:
        groups = next((each for each in node.attribute if each.name == "group" and each.i > 1), None)
        if node.op_type != "Conv" or groups is None:
            continue
        kernel = onnx.numpy_helper.to_array(weights[node.input[1]])
        if kernel.shape[2:] != (1, 1) or kernel.shape[1] == 1:
            continue
        out, per_group = kernel.shape[0] // groups.i, kernel.shape[1]
        dense = np.zeros((len(kernel), per_group * groups.i, 1, 1), kernel.dtype)
        for group in range(groups.i):
            rows = slice(group * out, (group + 1) * out)
            dense[rows, group * per_group : (group + 1) * per_group] = kernel[rows]
        weights[node.input[1]].CopyFrom(onnx.numpy_helper.from_array(dense, node.input[1]))
        groups.i = 1
    return bytes(graph.SerializeToString())
