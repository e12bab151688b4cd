"""A plan for a hospital, a region and a nation, from service times measured here, and held against real runs."""

import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.archive import RAY, run_command, symlinked
from benchmarks.processes import Server, service
from benchmarks.requests import example_png, processor
from benchmarks.serving import load_from
from benchmarks.simulation import Arrivals, Cluster, Seconds, batches_of, duration, fewest_cores, responses
from model_store.seeding import seed
from model_store.store import ModelStore
from service.archive.plan import BATCHES, FEWEST, MOST

SEED = 2026
IMAGES_PER_STUDY, BETWEEN_S = 12, 20.0
"""Of a breast ultrasound: an assumption, as the hours in which studies come are; neither is measured."""

HOSPITAL, REGION = 2_000, 200_000
"""Studies a day."""

NATION = 100_000_000
"""Images of an archive."""

WITHIN_S = 1.0
"""In which 99 of 100 answers are asked for."""

MOST_SIMULATED = 200_000
"""Images of a busiest hour that are gone through one by one."""

HELD = 0.15
"""How far a prediction may be from what was measured."""

ROUNDS = 5

LOAD = 0.5
"""Of the one core in the real run: the hospital's busiest hour, made faster, so that images do wait for each other."""

APART_S = 0.15
"""Between two requests of which the service time is taken, where one is answered sooner: images of a hospital do not
come on each other's heels, and one after a pause takes longer, since core and caches have cooled."""

JSON = {"Content-Type": "image/png", "Accept": "application/json"}


@dataclass(frozen=True, slots=True)
class Measured:
    """On one core of this machine.

    Args:
        service: Time of each request of an 800x600 PNG, one at a time.
        cpu_ms: Of a request, in all of the service's processes.
        request_bytes: Of an image.
        answer_bytes: Of its answer.
        per_s: Answers a second by one replica of one core, then by two, each with a core of its own.
    """

    service: Seconds
    cpu_ms: float
    request_bytes: int
    answer_bytes: int
    per_s: tuple[float, float]


def measure(requests: int, images: Path, count: int) -> str:
    """The figures as JSON.

    Args:
        requests: From which the service times of live work are taken, and as many in the real run.
        images: Folder of PNG files for the archive.
        count: Of the archive's files; a fourth of them is measured before.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        before = os.getloadavg()[0]
        body = folder / "image.png"
        body.write_bytes(example_png())
        seed(ModelStore(folder / "store").root)
        measured, live = _live(folder, body, requests)
        archive = _archive(folder, images, count)
    machine = {"machine": processor(), "cores": os.cpu_count(), "python": platform.python_version()}
    return json.dumps(
        {
            **machine,
            "load_average": [before, os.getloadavg()[0]],
            "one_core": {
                "service_ms": float(1000 * measured.service.mean()),
                "service_deviation_ms": float(1000 * measured.service.std()),
                "cpu_ms": measured.cpu_ms,
                "request_bytes": measured.request_bytes,
                "answer_bytes": measured.answer_bytes,
                "replicas_per_s": measured.per_s,
            },
            "archive": archive,
            "checks": [*live, *archive.pop("checks")],
            "plans": _plans(measured, archive),
        },
        indent=2,
    )


@contextmanager
def _replicas(folder: Path, body: Path, count: int) -> Iterator[list[tuple[Server, str]]]:
    """So many services of one worker, each on a core of its own."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                service(
                    folder / "store",
                    body.read_bytes(),
                    prefix=("taskset", "-c", str(core)),
                    EFSNET_WORKERS="1",
                    EFSNET_DEADLINE_S="300",
                    EFSNET_QUEUE_CAPACITY="1000",
                    EFSNET_UPLOAD_CAPACITY="1000",
                )
            )
            for core in range(count)
        ]


def _live(folder: Path, body: Path, requests: int) -> tuple[Measured, list[dict[str, Any]]]:
    """What one core does, and the real run: the hospital's busiest hour made faster, beside its simulation.

    Both are done in turn, a part at a time, so that both meet the same of whatever else the machine does.
    """
    content, each = body.read_bytes(), requests // ROUNDS
    apart = np.full(each, APART_S).cumsum()
    alone: list[Seconds] = []
    coming: list[Seconds] = []
    real: list[Seconds] = []
    cpu_s = {"alone": 0.0, "real": 0.0}
    with _replicas(folder, body, 1) as ((server, address),):
        for number in range(ROUNDS):
            before = server.cpu_s()
            took, answer_bytes = _asked(address, content, apart, at_once=1)
            between = server.cpu_s()
            alone.append(took)
            coming.append(_faster(took, np.random.default_rng([SEED, number])))
            real.append(_asked(address, content, coming[-1], at_once=64)[0])
            cpu_s["alone"] += between - before
            cpu_s["real"] += server.cpu_s() - between
    service_s = np.concatenate(alone)
    random = np.random.default_rng(SEED)
    simulated = np.concatenate([responses(arrivals, service_s, 1, random) for arrivals in coming])
    measured = np.concatenate(real)
    cpu_ms = 1000 * cpu_s["alone"] / len(service_s)
    checks = [
        _check("mean time to an answer, ms", 1000 * float(simulated.mean()), 1000 * float(measured.mean())),
        _check("half are answered within, ms", *(1000 * float(np.median(took)) for took in (simulated, measured))),
        _check("CPU seconds", len(measured) * cpu_ms / 1000, cpu_s["real"]),
    ]
    per_s = (_peak(folder, body, 1, each), _peak(folder, body, 2, each))
    return Measured(service_s, cpu_ms, len(content), answer_bytes, per_s), checks


def _faster(took: Seconds, random: np.random.Generator) -> Seconds:
    """Arrivals of the hospital's busiest hour, made faster until they take LOAD of one core."""
    hospital = Arrivals(HOSPITAL, IMAGES_PER_STUDY, BETWEEN_S)
    arrivals = hospital.busiest_hour(random, most=len(took))
    faster: Seconds = arrivals * (len(arrivals) * took.mean() / LOAD / arrivals[-1])
    return faster


def _asked(address: str, body: bytes, arrivals: Seconds, at_once: int) -> tuple[Seconds, int]:
    """Asks at these times, whoever waits for an answer; how long each took, and the size of an answer."""
    since = time.perf_counter()

    def ask(due_s: float) -> tuple[float, int]:
        begun = since + due_s if at_once > 1 else time.perf_counter()
        # Each on a connection of its own: the service closes one that is idle for a while.
        with closing(HTTPConnection(address, timeout=300)) as connection:
            connection.request("POST", "/v1/segment", body, JSON)
            answer = connection.getresponse()
            size = len(answer.read())
        if answer.status != 200:
            raise RuntimeError(f"The service answered {answer.status}.")
        return time.perf_counter() - begun, size

    with ThreadPoolExecutor(at_once) as clients:
        asked = []
        for due_s in arrivals:
            time.sleep(max(0.0, since + due_s - time.perf_counter()))
            asked.append(clients.submit(ask, float(due_s)))
        told = [each.result() for each in asked]
    return np.array([took for took, _ in told]), told[0][1]


def _peak(folder: Path, body: Path, count: int, requests: int) -> float:
    """Answers a second of so many replicas, each asked by two clients that do not pause."""
    with _replicas(folder, body, count) as replicas, ThreadPoolExecutor(count) as pool:
        loads = [
            pool.submit(load_from, [address, "/v1/segment", str(body), "image/png", "*/*", "2", str(requests)])
            for _, address in replicas
        ]
        return float(sum(requests / load.result()["seconds"] for load in loads))


def _archive(folder: Path, images: Path, count: int) -> dict[str, Any]:
    """A fourth of an archive by Ray Data on this machine, from which the whole is foretold; and the whole."""
    cores = os.cpu_count() or 1
    environment = {"EFSNET_STORE": str(folder / "store"), "EFSNET_STATE": str(folder / "state")}
    runs = []
    for number, size in enumerate((count // 4, count)):
        archive = symlinked(folder / f"archive-{number}", images, size)
        out = folder / f"out-{number}"
        command = ["backfill", "--engine", "ray", str(archive), "--out", str(out)]
        runs.append(run_command(RAY, command, environment, out / "parts", out / "manifest.parquet"))
    first, whole = runs
    image_s = cores * (first["seconds"] - first["first_s"]) / (count // 4)
    foretold_s = duration(
        batches_of(count, FEWEST, MOST, BATCHES),
        np.array([image_s]),
        Cluster(1, cores, start_s=first["first_s"]),
        np.random.default_rng(SEED),
    )
    image_cpu_s = (first["cpu_s"] - first["first_cpu_s"]) / (count // 4)
    foretold_cpu_s = first["first_cpu_s"] + count * image_cpu_s
    manifest = folder / "out-1" / "manifest.parquet"
    return {
        "images": count,
        "core_s_an_image": image_s,
        "start_s": first["first_s"],
        "image_bytes": sum(path.stat().st_size for path in (folder / "archive-1").iterdir()) / count,
        "row_bytes": manifest.stat().st_size / count,
        "runs": runs,
        "checks": [
            _check(f"seconds for an archive of {count} images", foretold_s, whole["seconds"]),
            _check("CPU seconds for it", foretold_cpu_s, whole["cpu_s"]),
        ],
    }


def _plans(measured: Measured, archive: dict[str, Any]) -> dict[str, Any]:
    """What each place needs."""
    plans: dict[str, Any] = {}
    for name, studies in (("hospital", HOSPITAL), ("region", REGION)):
        coming = Arrivals(studies, IMAGES_PER_STUDY, BETWEEN_S)
        arrivals = coming.busiest_hour(np.random.default_rng(SEED), most=MOST_SIMULATED)
        cores, took = fewest_cores(arrivals, measured.service, WITHIN_S, SEED)
        images = studies * IMAGES_PER_STUDY
        plans[name] = {
            "studies_a_day": studies,
            "images_a_day": images,
            "busiest_per_s": coming.per_s,
            "cores": cores,
            "load": float(coming.per_s * measured.service.mean() / cores),
            "p50_ms": float(1000 * np.percentile(took, 50)),
            "p99_ms": float(1000 * np.percentile(took, 99)),
            "core_hours_a_day": images * measured.cpu_ms / 3.6e6,
            "megabits_per_s": coming.per_s * (measured.request_bytes + measured.answer_bytes) * 8 / 1e6,
            "answers_gb_a_year": images * 365 * measured.answer_bytes / 1e9,
        }
    plans["nation"] = [plan_of_nation(archive, machines) for machines in (1, 4, 16, 64)]
    return plans


def plan_of_nation(archive: dict[str, Any], machines: int) -> dict[str, Any]:
    """An archive of a nation on so many machines of 32 cores, of which each is lost once in 30 days."""
    cluster = Cluster(machines, 32, start_s=archive["start_s"], lost_after_s=30 * 86400.0)
    batches = batches_of(NATION, FEWEST, MOST, BATCHES)
    took_s = duration(batches, np.array([archive["core_s_an_image"]]), cluster, np.random.default_rng(SEED))
    return {
        "machines": machines,
        "cores": machines * 32,
        "hours": took_s / 3600,
        "core_hours": took_s * machines * 32 / 3600,
        "gigabits_per_s": NATION * archive["image_bytes"] * 8 / took_s / 1e9,
        "archive_tb": NATION * archive["image_bytes"] / 1e12,
        "table_gb": NATION * archive["row_bytes"] / 1e9,
    }


def _check(what: str, foretold: float, measured: float) -> dict[str, Any]:
    held = abs(foretold / measured - 1) <= HELD
    return {"what": what, "foretold": foretold, "measured": measured, "held": held}


def tables(text: str) -> str:
    """As Markdown."""
    found = json.loads(text)
    return "\n\n".join((_costs(found), _needs(found["plans"]), _nations(found["plans"]), _checks(found["checks"])))


def _costs(found: dict[str, Any]) -> str:
    one, archive = found["one_core"], found["archive"]
    single, double = one["replicas_per_s"]
    an_image_ms = 1000 * archive["core_s_an_image"]
    return "\n".join(
        (
            "| | an image | a thousand studies |",
            "|---|---:|---:|",
            f"| live, CPU | {one['cpu_ms']:.1f} ms | {_hours(one['cpu_ms'])} |",
            f"| live, one core at a time | {one['service_ms']:.1f} ms | {_hours(one['service_ms'])} |",
            f"| one replica of one core, answers a second | {single:.1f} | |",
            f"| two replicas, a core each | {double:.1f} | |",
            f"| archive by Ray Data, a core | {an_image_ms:.1f} ms | {_hours(an_image_ms)} |",
            "| one GPU | not measured | |",
        )
    )


def _hours(ms: float) -> str:
    return f"{1000 * IMAGES_PER_STUDY * ms / 60000:.1f} core-minutes"


def _needs(plans: dict[str, Any]) -> str:
    lines = [
        "| | images a day | a second at most | cores | at work | p50 ms | p99 ms | core-h a day | Mbit/s | GB a year |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name in ("hospital", "region"):
        plan = plans[name]
        lines.append(
            f"| {name}, {plan['studies_a_day']:,} studies | {plan['images_a_day']:,} | {plan['busiest_per_s']:.2f} "
            f"| {plan['cores']} | {plan['load']:.0%} | {plan['p50_ms']:.0f} | {plan['p99_ms']:.0f} "
            f"| {plan['core_hours_a_day']:.2f} | {plan['megabits_per_s']:.1f} | {plan['answers_gb_a_year']:.0f} |"
        )
    return "\n".join(lines)


def _nations(plans: dict[str, Any]) -> str:
    lines = [
        "| machines of 32 cores | hours | core-hours | Gbit/s from the archive | archive TB | table GB |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {plan['machines']} | {plan['hours']:.1f} | {plan['core_hours']:.0f} | {plan['gigabits_per_s']:.2f} "
        f"| {plan['archive_tb']:.1f} | {plan['table_gb']:.0f} |"
        for plan in plans["nation"]
    ]
    return "\n".join(lines)


def _checks(checks: Sequence[dict[str, Any]]) -> str:
    lines = ["| real run | foretold | measured | difference | within 15 % |", "|---|---:|---:|---:|---|"]
    lines += [
        f"| {check['what']} | {check['foretold']:.1f} | {check['measured']:.1f} "
        f"| {check['foretold'] / check['measured'] - 1:+.0%} | {'yes' if check['held'] else 'no'} |"
        for check in checks
    ]
    return "\n".join(lines)
