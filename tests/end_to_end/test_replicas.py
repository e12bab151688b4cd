"""Three replicas behind the proxy of docker-compose.yml, jobs in PostgreSQL: however often killed, they answer as one.

REPLICAS_SECONDS says how long: `REPLICAS_SECONDS=120 scripts/test-system tests/end_to_end/test_replicas.py`.
"""

import io
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PillowImage
from websockets.sync.client import connect

from model_store.manifest import Draft
from model_store.store import ModelStore
from service.jobs.job import Subject
from service.keys import KeyRing
from service.settings import Settings
from tests.end_to_end.orthanc import Orthanc
from tests.end_to_end.processes import clean_environment, free_port, wait_until_ready
from tests.end_to_end.proxy import Names, running_proxy
from tests.end_to_end.test_pacs import answered, await_answers, expected, image, scan
from tests.postgresql import PostgreSQL, running_server
from tests.service.conftest import PNG
from tests.service.test_promotions_under_load import STEPS, dimmed, steps

__all__ = ["steps"]  # a fixture

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

ADDRESSES = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
SECONDS = float(os.environ.get("REPLICAS_SECONDS", "30"))
KILL_S = 10.0
"""Between two kills, and two promotions."""
DELAY_S = 10.0
"""After a promotion nobody answers with another version: as docs/replicas.md says."""
CLIENTS = 4
PAUSE_S = 0.1
"""Of each client between an answer and its next request: a replica that starts must find time on a small machine."""
SEED = 9


class Replica:
    """One of the services, at an address of its own; as in containers, all have the same port."""

    def __init__(self, address: str, port: int, log: Path, **settings: str) -> None:
        self.address = address
        self.url = f"http://{address}:{port}"
        self._port = port
        self._log = log
        self._environment = clean_environment(EFSNET_HOST=address, **settings)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, and does not wait for it."""
        command = [sys.executable, "-m", "tests.end_to_end.pacs_service", str(self._port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)

    def wait_until_ready(self) -> None:
        """Returns once it answers."""
        assert self._process is not None
        wait_until_ready(self.url, self._process)

    def end(self, kind: signal.Signals = signal.SIGKILL) -> None:
        """Ends it as a power cut would, or as the operator does."""
        if self._process:
            self._process.send_signal(kind)
            self._process.wait(timeout=60)
            self._process = None


@dataclass(frozen=True)
class Site:
    """Replicas, what they share, and the proxy in front."""

    url: str
    replicas: Sequence[Replica]
    store: ModelStore
    folder: Path
    proxy: subprocess.Popen[bytes]
    headers: Mapping[str, str]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    """A PostgreSQL."""
    with running_server() as server:
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of all that the replicas share."""
    return tmp_path_factory.mktemp("site")


@pytest.fixture(scope="module")
def orthanc(folder: Path) -> Iterator[Orthanc]:
    """An empty Orthanc."""
    made = Orthanc(folder / "orthanc")
    made.start()
    yield made
    made.close()


@pytest.fixture(scope="module")
def site(
    folder: Path, server: PostgreSQL, orthanc: Orthanc, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]
) -> Iterator[Site]:
    """Ready replicas on one host: one folder of versions, one of their own state, one database, one PACS."""
    store = ModelStore(folder / "store")
    for number in range(len(STEPS)):
        model = dimmed(tiny_contents["model.onnx"], 100 + 5 * number)
        store.publish("efsnet", tiny_draft, {**tiny_contents, "model.onnx": model})
    store.promote("efsnet", "production", 1, by="the tests", why="the first")
    key, _ = KeyRing(Settings(store=store.root).keys_file).create("tests", ["infer", "admin"], 1)
    settings = {
        "EFSNET_STORE": str(store.root),
        "EFSNET_PROVIDER": "cpu",
        "EFSNET_WORKERS": "1",
        "EFSNET_TRUSTED_PROXIES": "127.0.0.0/8",
        "EFSNET_JOBS_URL": server.url(),
        "EFSNET_PACS_URL": f"{orthanc.url}/dicom-web",
        "EFSNET_PACS_ORTHANC_URL": orthanc.url,
        "EFSNET_PACS_WRITE": "true",
        "EFSNET_PACS_POLL_S": "0.2",
        "EFSNET_AUDIT_FILE": str(folder / "audit.jsonl"),
    }
    port, door = free_port(), free_port()
    replicas = [Replica(address, port, folder / f"{address}.log", **settings) for address in ADDRESSES]
    names = Names(ADDRESSES)
    places = {
        "resolver 127.0.0.11": f"resolver 127.0.0.1:{names.port}",
        "http://service:8000": f"http://service:{port}",
        "listen 8080": f"listen 127.0.0.1:{door}",
    }
    (folder / "proxy").mkdir()
    try:
        for replica in replicas:
            replica.start()
        for replica in replicas:
            replica.wait_until_ready()
        with running_proxy(folder / "proxy", "plain.conf", places) as proxy:
            headers = {"Authorization": f"Bearer {key}"}
            yield Site(f"http://127.0.0.1:{door}", replicas, store, folder, proxy, headers)
    finally:
        for replica in replicas:
            replica.end()
        names.close()


def mask(answer: httpx2.Response) -> NDArray[np.uint8]:
    """The label map of a palette PNG."""
    return np.asarray(PillowImage.open(io.BytesIO(answer.content)))


@dataclass(frozen=True)
class Answer:
    """What a client was told, and when it had asked."""

    asked_s: float
    told_s: float
    version: str
    outcome: str


class Load:
    """Clients that ask again and again, and compare each mask with the one that the version it names must give."""

    def __init__(self, site: Site, content: bytes) -> None:
        self.answers: list[Answer] = []
        self._site = site
        self._content = content
        self._over = threading.Event()
        with self._client() as client:
            self.masks = {
                str(number): mask(self._ask(client, version=number).raise_for_status()) for number in range(1, 6)
            }
        self._clients = [threading.Thread(target=self._ask_on) for _ in range(CLIENTS)]
        for thread in self._clients:
            thread.start()

    def stop(self) -> None:
        """Ends it."""
        self._over.set()
        for thread in self._clients:
            thread.join()

    def _client(self) -> httpx2.Client:
        return httpx2.Client(base_url=self._site.url, headers=self._site.headers, timeout=120)

    def _ask(self, client: httpx2.Client, **query: Any) -> httpx2.Response:
        return client.post("/v1/segment", params={"format": "png", **query}, content=self._content, headers=PNG)

    def _ask_on(self) -> None:
        with self._client() as client:
            while not self._over.wait(PAUSE_S):
                asked_s = time.monotonic()
                version, outcome = "", "lost"
                try:
                    answer = self._ask(client)
                except httpx2.TransportError as error:
                    outcome = f"lost: {type(error).__name__}"
                else:
                    version = answer.headers.get("X-Model-Version", "")
                    outcome = f"{answer.status_code} {answer.text}"
                    if answer.status_code == 200:
                        outcome = "right" if np.array_equal(self.masks.get(version, 0), mask(answer)) else "wrong"
                self.answers.append(Answer(asked_s, time.monotonic(), version, outcome))


class Promotions:
    """Promotes one version after the other, and knows which answers may come when."""

    def __init__(self, store: ModelStore) -> None:
        self._store = store
        self._numbers = itertools.cycle((2, 3, 4, 5, 1))
        first = str(store.aliases("efsnet")["production"])
        self._since: list[tuple[str, float, float]] = [(first, 0.0, 0.0)]
        """Number, and before and after which time it was promoted."""

    @property
    def count(self) -> int:
        """How many there were."""
        return len(self._since) - 1

    def next(self) -> None:
        """Promotes the next."""
        number, before_s = next(self._numbers), time.monotonic()
        self._store.promote("efsnet", "production", number, by="the tests", why="it is time")
        self._since.append((str(number), before_s, time.monotonic()))

    def allow(self, answer: Answer) -> bool:
        """Whether its version was promoted while it was asked for, or until `DELAY_S` before that."""
        ends = [*(after_s for _, _, after_s in self._since[1:]), float("inf")]
        return any(
            answer.version == number and before_s <= answer.told_s and end_s + DELAY_S >= answer.asked_s
            for (number, before_s, _), end_s in zip(self._since, ends, strict=True)
        )


@pytest.mark.requirement("OPS-11", "OPS-12", "SEG-10")
def test_replicas_that_are_killed_answer_as_one(site: Site, orthanc: Orthanc, steps: bytes) -> None:
    """One is killed every ten seconds, and another version promoted.

    Each request is answered, with the right mask of a promoted version, and each image of the PACS once.
    """
    chance = random.Random(SEED)  # noqa: S311 (a test)
    load, promotions = Load(site, steps), Promotions(site.store)
    until = time.monotonic() + SECONDS
    sent: list[Subject] = []
    try:
        for kill in itertools.count():
            kill_at = time.monotonic() + KILL_S
            while time.monotonic() < kill_at - KILL_S / 2:
                sent.append(image(kill, len(sent)))
                orthanc.send(scan(sent[-1]))
                time.sleep(0.5)
            promotions.next()
            time.sleep(max(0.0, kill_at - time.monotonic()))
            if time.monotonic() > until:
                break
            victim = chance.choice(site.replicas)
            victim.end()
            victim.start()
            victim.wait_until_ready()
    finally:
        load.stop()
    await_answers(orthanc, sum(expected(sent).values()))
    await_that(lambda: jobs(site) == {"done": len(sent)})
    time.sleep(5)  # whatever would come twice has come by now

    assert {"right"} == {answer.outcome for answer in load.answers}
    assert [] == [answer for answer in load.answers if not promotions.allow(answer)]
    assert promotions.count >= 2
    assert expected(sent) == answered(orthanc)
    assert {"done": len(sent)} == jobs(site)
    assert {1} == set(stored(site).values())
    sys.stderr.write(
        f"\n{len(load.answers)} answers, {kill} kills, {promotions.count} promotions, {len(sent)} images\n"
    )


def jobs(site: Site) -> dict[str, int]:
    """How many jobs there are in each state."""
    found: dict[str, int] = httpx2.get(f"{site.url}/v1/jobs", headers=site.headers, timeout=60).json()["counts"]
    return found


def stored(site: Site) -> Counter[str]:
    """How often the results of each image were stored, as the audit trail of all replicas says."""
    lines = map(json.loads, (site.folder / "audit.jsonl").read_text(encoding="utf-8").splitlines())
    return Counter(line["instance"] for line in lines if line["act"] == "results_stored")


def await_that(true: Callable[[], bool], seconds: float = 120) -> None:
    """Returns once it is true, or when time is up."""
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.2)


@pytest.mark.requirement("OPS-4", "OPS-11")
def test_replicas_that_are_stopped_one_after_the_other_refuse_nobody(site: Site, steps: bytes) -> None:
    """As in an upgrade: what runs is finished, and what comes goes to the others."""
    load = Load(site, steps)
    for replica in site.replicas:
        replica.end(signal.SIGTERM)
        replica.start()
        replica.wait_until_ready()
    load.stop()

    assert {"right"} == {answer.outcome for answer in load.answers}


def test_a_ticket_opens_a_stream_whichever_replica_gave_it(site: Site) -> None:
    """It is signed by one of them, and the proxy finds that one."""
    for _ in range(6):
        answer = httpx2.post(f"{site.url}/v1/stream/ticket", headers=site.headers).raise_for_status()
        address = f"{site.url.replace('http', 'ws')}/v1/stream?ticket={answer.json()['ticket']}"
        with connect(address) as stream:
            assert "ready" == json.loads(stream.recv())["type"]


@pytest.mark.parametrize("size", [3_900_000, 4_100_000], ids=["kept", "passed-on"])
def test_no_upload_is_on_the_disk_of_the_proxy(site: Site, size: int) -> None:
    """Neither one that is kept until it is answered, nor one that is too large for that; both reach the service."""
    content = np.random.default_rng(0).bytes(size)
    host, port = site.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        head = f"POST /v1/segment HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: {size}\r\n"
        head += f"Authorization: {site.headers['Authorization']}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode() + content[:-1])
        time.sleep(0.5)
        meanwhile = [path for path in (site.folder / "proxy" / "body").rglob("*") if path.is_file()]
        meanwhile += [path for path in opened(site.proxy) if "/proxy/body" in str(path)]
        connection.sendall(content[-1:])
        answer = b"".join(iter(lambda: connection.recv(65536), b""))

    assert [] == meanwhile
    assert b" 422 " in answer.splitlines()[0]


def opened(process: subprocess.Popen[bytes]) -> list[Path]:
    """The files that the workers of a proxy have open, deleted ones too."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
    return [descriptor.readlink() for child in children for descriptor in Path(f"/proc/{child}/fd").iterdir()]


def test_a_site_without_any_replica_says_so(tmp_path: Path, steps: bytes) -> None:
    """In the service's own form, and with the time after which to come again."""
    names, door = Names(ADDRESSES), free_port()
    places = {
        "resolver 127.0.0.11": f"resolver 127.0.0.1:{names.port}",
        "http://service:8000": f"http://service:{free_port()}",
        "listen 8080": f"listen 127.0.0.1:{door}",
    }
    with running_proxy(tmp_path, "plain.conf", places):
        answer = httpx2.post(f"http://127.0.0.1:{door}/v1/segment", content=steps, headers=PNG)
    names.close()

    assert (503, "model_not_ready") == (answer.status_code, answer.json()["code"])
    assert answer.headers["Retry-After"]
