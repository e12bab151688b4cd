"""What a prediction costs, network by network, at the size at which the service works. Needs the extra `training`.

Weights are random: they do not change the time.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.requests import processor
from efsnet.predictor import Computation, Predictor
from efsnet.specification import PostProcessing
from training.export.onnx_export import export
from training.networks import NETWORKS, build, name_of
from training.specification import specification

RULES = PostProcessing(tumour_threshold=0.5, minimum_area_fraction=0, fill_holes=True, one_class_per_lesion=True)


@dataclass(slots=True)
class Candidate:
    """A network and the CPU time of each of its predictions so far."""

    name: str
    parameters: int
    operations: int
    """Multiply-accumulate operations of one image."""
    predictor: Predictor
    cpu_ms: list[float] = field(default_factory=list)


def measure(side: int, rounds: int, repeats: int) -> str:
    """The Markdown of the figures. All networks take turns in each round, so that all meet the same load."""
    candidates = [_candidate(name, side) for name in NETWORKS]
    image = np.random.default_rng(0).integers(0, 256, (1, side, side), dtype=np.uint8)
    before = os.getloadavg()[0]
    for _ in range(rounds):
        for candidate in candidates:
            candidate.predictor.run(image)  # brings its weights back into the cache
            for _ in range(repeats):
                since = time.process_time()
                candidate.predictor.run(image)
                candidate.cpu_ms.append((time.process_time() - since) * 1000)
    engine = candidates[0].predictor.engine
    load = f"load average {before:.1f} before and {os.getloadavg()[0]:.1f} after"
    return "\n".join(
        [
            f"{processor()}, one thread, {load}; {engine.name} ({engine.provider}, {engine.precision}).",
            f"{side}x{side}, {rounds} rounds of {repeats}; medians.",
            "",
            "| network | parameters | million MACs | CPU-ms | times EFSNet's |",
            "|---|---:|---:|---:|---:|",
            *_rows(candidates),
        ]
    )


def _candidate(name: str, side: int) -> Candidate:
    network = build(name).eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 1, side, side))
    specified = specification(side, RULES)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    predictor = Predictor(export(network, specified), specified, Computation(threads=1))
    return Candidate(name_of(network), parameters, counter.get_total_flops() // 2, predictor)


def _rows(candidates: Sequence[Candidate]) -> list[str]:
    first = float(np.median(candidates[0].cpu_ms))
    return [
        f"| {each.name} | {each.parameters:,} | {each.operations / 1e6:,.1f} "
        f"| {np.median(each.cpu_ms):.1f} | {np.median(each.cpu_ms) / first:.2f} |"
        for each in candidates
    ]
