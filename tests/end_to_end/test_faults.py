"""What befalls a service under load: it is killed, stopped, starved and cheated. No answer is wrong, and it comes back.

A real service on the version that ships; clients that ask on and on, and compare each mask with the one they know.
"""

import contextlib
import io
import resource
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import httpx2
import numpy as np
import pytest
from PIL import Image as PillowImage

from model_store.seeding import seed
from model_store.store import ModelStore
from service.audit.chain import verify
from service.keys import KeyRing
from service.settings import Settings
from tests.end_to_end.processes import free_port
from tests.service.conftest import PNG
from tests.service.processes import Service, started

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

CLIENTS = 3
REFUSALS = {429, 503, 504}
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
"""Debian's; the part for programs of several threads."""


@pytest.fixture(scope="session")
def image(busi: Path) -> bytes:
    """A real one, with a lesion."""
    return (busi / "malignant" / "malignant (14).png").read_bytes()


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """What ships, in a folder of its own."""
    seed(tmp_path / "store")
    return ModelStore(tmp_path / "store")


class Load:
    """Clients that ask for one image again and again, and what they were answered.

    `right` and `wrong` masks, `refused` for now, `lost` with the connection, or another status, with what it said.
    """

    def __init__(self, address: str, image: bytes, key: str) -> None:
        self.outcomes: Counter[str] = Counter()
        self._url = f"{address}/v1/segment?format=png"
        self._image = image
        self._headers = PNG | {"Authorization": f"Bearer {key}"}
        self._over = threading.Event()
        self._expected: bytes | None = None
        self._clients = [threading.Thread(target=self._ask_on) for _ in range(CLIENTS)]

    def ask(self, client: httpx2.Client) -> str:
        """Asks once."""
        try:
            answer = client.post(self._url, content=self._image, headers=self._headers)
        except httpx2.TransportError:
            return "lost"
        if answer.status_code == 200:
            mask = np.asarray(PillowImage.open(io.BytesIO(answer.content))).tobytes()
            self._expected = self._expected or mask
            return "right" if mask == self._expected else "wrong"
        return "refused" if answer.status_code in REFUSALS else f"{answer.status_code} {answer.text}"

    def _ask_on(self) -> None:
        with httpx2.Client(timeout=60) as client:
            while not self._over.is_set():
                outcome = self.ask(client)
                self.outcomes[outcome] += 1
                if outcome != "right":
                    self._over.wait(0.05)

    def await_right(self, count: int, seconds: float = 120) -> None:
        """Returns once so many more were answered right."""
        aim, end = self.outcomes["right"] + count, time.monotonic() + seconds
        while self.outcomes["right"] < aim:
            assert time.monotonic() < end, self.outcomes
            time.sleep(0.02)

    def start(self) -> None:
        """Begins, with an answer that all others must be like."""
        with httpx2.Client(timeout=60) as client:
            assert "right" == self.ask(client)
        for thread in self._clients:
            thread.start()

    def stop(self) -> None:
        """Ends."""
        self._over.set()
        for thread in self._clients:
            thread.join()


@contextmanager
def under_load(address: str, image: bytes, key: str = "none") -> Iterator[Load]:
    """Clients that ask, and have been answered; with a key, where the service has keys."""
    load = Load(address, image, key)
    load.start()
    try:
        load.await_right(10)
        yield load
        load.await_right(10)
    finally:
        load.stop()


def serving(
    store: ModelStore, log: Path, port: int, prefix: tuple[str, ...] = (), **settings: str
) -> AbstractContextManager[Service]:
    """The service on a store, at a port that it is given again after a restart."""
    return started(log, prefix=prefix, port=port, store=str(store.root), provider="auto", **settings)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.requirement("OPS-6")
def test_a_service_that_is_ended_comes_back(
    store: ModelStore, image: bytes, tmp_path: Path, number: signal.Signals
) -> None:
    """Whatever ends it: clients lose connections, and get no mask that is wrong; the next start is ready.

    Each answer that was given is in the audit trail, which is whole.
    """
    port, trail = free_port(), tmp_path / "audit" / "audit.jsonl"
    with (
        serving(store, tmp_path / "log", port, audit_file=str(trail)) as first,
        ExitStack() as second,
        under_load(first.address, image) as load,
    ):
        first.process.send_signal(number)
        assert first.process.wait(timeout=60) in (0, -number)
        second.enter_context(serving(store, tmp_path / "log", port, audit_file=str(trail)))
        load.await_right(50)

    assert load.outcomes.keys() <= {"right", "refused", "lost"}
    lines = trail.read_bytes().splitlines()
    verify(lines)
    assert load.outcomes["right"] <= sum(b'"image_segmented"' in line for line in lines)


def test_what_was_accepted_before_a_stop_is_answered(store: ModelStore, image: bytes, tmp_path: Path) -> None:
    """With SIGTERM, a connection is lost only by who connects afterwards."""
    with serving(store, tmp_path / "log", free_port()) as service:
        connections = [service.connect(len(image), "Connection: close") for _ in range(8)]
        for connection in connections:
            connection.sendall(image)
        time.sleep(0.02)
        service.process.send_signal(signal.SIGTERM)
        heads = [connection.recv(12) for connection in connections]
        for connection in connections:
            connection.close()

        assert {b"HTTP/1.1 200"} == set(heads)
        assert service.process.wait(timeout=60) in (0, -signal.SIGTERM)


def test_a_service_that_stood_still_goes_on(store: ModelStore, image: bytes, tmp_path: Path) -> None:
    """Stopped and continued, as a machine is that is moved or whose memory is paged out: it only answers later."""
    with serving(store, tmp_path / "log", free_port()) as service, under_load(service.address, image) as load:
        for _ in range(3):
            service.process.send_signal(signal.SIGSTOP)
            time.sleep(1)
            service.process.send_signal(signal.SIGCONT)
            load.await_right(10)

    assert {"right"} == load.outcomes.keys()


def test_a_store_that_vanishes_and_comes_back(store: ModelStore, image: bytes, tmp_path: Path) -> None:
    """What is loaded answers on; `/readyz` says what is amiss, and forgets it when the folder is there again."""
    with serving(store, tmp_path / "log", free_port()) as service, under_load(service.address, image) as load:

        def troubles() -> list[str]:
            answer = httpx2.get(f"{service.address}/readyz")
            assert 200 == answer.status_code
            found: list[str] = answer.json()["troubles"]
            return found

        aside = store.root.rename(store.root.with_name("aside"))
        await_that(lambda: troubles() != [])
        load.await_right(20)
        aside.rename(store.root)
        await_that(lambda: troubles() == [])

    assert {"right"} == load.outcomes.keys()


def test_memory_that_runs_out_costs_no_answer_but_its_own(store: ModelStore, image: bytes, tmp_path: Path) -> None:
    """The largest images are refused while there is no room for them; small ones and later ones are answered.

    All threads are there before: Python waits forever for one that has no memory to begin with.
    """
    file = io.BytesIO()
    PillowImage.new("RGB", (5000, 5000), (90, 90, 90)).save(file, "PNG")
    largest = file.getvalue()
    with serving(store, tmp_path / "log", free_port()) as service:
        with ThreadPoolExecutor(16) as crowd:
            assert {200} == {answer.status_code for answer in crowd.map(service.post, [image] * 128)}
        with under_load(service.address, image) as load:
            unlimited = resource.prlimit(service.process.pid, resource.RLIMIT_AS)
            bound = service.memory("VmSize") + 60_000_000
            resource.prlimit(service.process.pid, resource.RLIMIT_AS, (bound, unlimited[1]))
            starved = [service.post(largest).json().get("code") for _ in range(3)]
            load.await_right(10)
            resource.prlimit(service.process.pid, resource.RLIMIT_AS, unlimited)
            fed = service.post(largest).status_code

    assert (["memory_short"] * 3, 200) == (starved, fed)
    assert load.outcomes.keys() <= {"right", "refused"}


class ControlGroup:
    """A control group for processes that share a limit to their memory, by either version of the kernel's interface."""

    def __init__(self, name: str) -> None:
        """Makes it, or skips the test where the system lets nobody."""
        own = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines())
        version_1 = "memory" in own
        mount = Path("/sys/fs/cgroup/memory" if version_1 else "/sys/fs/cgroup")
        self._folder = mount / own["memory" if version_1 else ""].lstrip("/") / name
        self._limit = self._folder / ("memory.limit_in_bytes" if version_1 else "memory.max")
        self._usage = self._folder / ("memory.usage_in_bytes" if version_1 else "memory.current")
        self._events = self._folder / ("memory.oom_control" if version_1 else "memory.events")
        try:
            self._folder.mkdir()
            self.limit(10_000_000_000)
        except OSError:
            self.remove()
            pytest.skip("this system lets nobody limit the memory of a group of processes")

    @property
    def prefix(self) -> tuple[str, ...]:
        """Before the command of a process that is to be in it."""
        return ("sh", "-c", f'echo $$ > {self._folder}/cgroup.procs && exec "$@"', "sh")

    @property
    def used(self) -> int:
        """Bytes."""
        return int(self._usage.read_text())

    @property
    def kills(self) -> int:
        """Processes that the system ended for want of memory."""
        return int(dict(line.split() for line in self._events.read_text().splitlines())["oom_kill"])

    def limit(self, count: int) -> None:
        """To so many bytes."""
        self._limit.write_text(str(count))

    def remove(self) -> None:
        """Ends it; its processes have ended."""
        with contextlib.suppress(FileNotFoundError):
            self._folder.rmdir()


@pytest.fixture
def group(tmp_path: Path) -> Iterator[ControlGroup]:
    """One of this test's own."""
    group = ControlGroup(f"efsnet-{tmp_path.name}")
    yield group
    group.remove()


@pytest.mark.requirement("OPS-6")
def test_a_service_that_the_system_ends_for_want_of_memory(
    store: ModelStore, image: bytes, tmp_path: Path, group: ControlGroup
) -> None:
    """As a container's limit does: no mask is wrong, the next start is ready, and each answer has its audit line."""
    file = io.BytesIO()
    PillowImage.new("RGB", (5000, 5000), (90, 90, 90)).save(file, "PNG")
    port, trail = free_port(), tmp_path / "audit" / "audit.jsonl"
    with (
        serving(store, tmp_path / "log", port, prefix=group.prefix, audit_file=str(trail)) as first,
        ExitStack() as second,
        under_load(first.address, image) as load,
    ):
        group.limit(group.used + 30_000_000)
        with pytest.raises(httpx2.TransportError):
            first.post(file.getvalue())
        assert -signal.SIGKILL == first.process.wait(timeout=60)
        second.enter_context(serving(store, tmp_path / "log", port, audit_file=str(trail)))
        load.await_right(50)

    assert 1 == group.kills
    assert load.outcomes.keys() <= {"right", "refused", "lost"}
    lines = trail.read_bytes().splitlines()
    verify(lines)
    assert load.outcomes["right"] <= sum(b'"image_segmented"' in line for line in lines)


@pytest.mark.requirement("OPS-6")
def test_a_clock_that_jumps(store: ModelStore, image: bytes, tmp_path: Path) -> None:
    """Five years ahead and back, by libfaketime: masks stay right, and a key is out of date while the clock says so."""
    if FAKETIME is None:
        pytest.skip("libfaketime is not installed")
    keys = KeyRing(Settings(store=store.root).keys_file)
    for_a_month, for_a_decade = (keys.create("tests", ["infer", "read"], days)[0] for days in (30, 3650))
    jump = tmp_path / "jump"
    jump.write_text("+0", encoding="ascii")
    clock = {"FAKETIME_TIMESTAMP_FILE": jump, "FAKETIME_NO_CACHE": 1, "FAKETIME_DONT_FAKE_MONOTONIC": 1}
    prefix = ("env", f"LD_PRELOAD={FAKETIME}", *(f"{name}={value}" for name, value in clock.items()))
    with (
        serving(store, tmp_path / "log", free_port(), prefix=prefix) as service,
        under_load(service.address, image, key=for_a_decade) as load,
    ):
        statuses = []
        for offset in ("+0", "+5y", "+0", "-1d", "+0"):
            jump.write_text(offset, encoding="ascii")
            load.await_right(10)
            headers = {"Authorization": f"Bearer {for_a_month}"}
            statuses.append(httpx2.get(f"{service.address}/v1/models", headers=headers).status_code)

    assert [200, 401, 200, 200, 200] == statuses
    assert {"right"} == load.outcomes.keys()


def test_a_disk_that_is_full(store: ModelStore, image: bytes, tmp_path: Path) -> None:
    """Masks need none; a decision that cannot be recorded is refused and changes nothing, and is taken later."""
    key, _ = KeyRing(Settings(store=store.root).keys_file).create("tests", ["admin"], 1)
    disk = tmp_path / "disk"
    disk.mkdir()
    copies = f"cp -r {store.root} {disk}/store && cp -r {store.root}-state {disk}/store-state"
    script = f'mount -t tmpfs -o size=64m none {disk} && {copies} && exec "$@"'
    prefix = ("unshare", "--map-root-user", "--mount", "bash", "-c", script, "bash")
    if subprocess.run([*prefix[:3], "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system does not let its users mount")
    with (
        serving(ModelStore(disk / "store"), tmp_path / "log", free_port(), prefix=prefix) as service,
        under_load(service.address, image, key=key) as load,
        httpx2.Client(base_url=service.address, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client,
    ):

        def promote() -> httpx2.Response:
            change = {"version": 3, "reason": "it is time", "expected_current": None}
            return client.put("/v1/models/efsnet/aliases/other", json=change)

        filler = Path(f"/proc/{service.process.pid}/root{disk}/filler")
        fill(filler)
        refused = promote()
        load.await_right(20)
        filler.unlink()
        taken = promote()

    assert (503, "store_unusable") == (refused.status_code, refused.json()["code"])
    assert 200 == taken.status_code, taken.text
    assert {"right"} == load.outcomes.keys()


def fill(file: Path) -> None:
    """Writes until the disk takes no more."""
    with file.open("wb", buffering=0) as opened, contextlib.suppress(OSError):
        while opened.write(bytes(4096)):
            pass
    with file.open("ab", buffering=0) as opened, contextlib.suppress(OSError):
        while opened.write(b"0"):
            pass


def await_that(true: Callable[[], bool], seconds: float = 60) -> None:
    """Returns once it is true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)
