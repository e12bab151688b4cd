"""Real processes for the tests of the store: many at once, and killed where it hurts. Prints what it saw, as JSON.

A program of its own, because only a process with one thread can be forked safely.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

from model_store.errors import ModelStoreError, PromotionConflict
from model_store.manifest import MANIFEST
from model_store.seeding import seed
from model_store.signing import sign as sign_version
from model_store.store import ModelStore

STEPS = {"open", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.scandir", "shutil.rmtree"}
"""Audit events of what touches the disk."""

PUBLICATIONS = 15
"""Of each publisher that is read beside."""

Action = Callable[[ModelStore], object]


def publish(store: ModelStore) -> None:
    """One version more, like the first."""
    first = store.version("efsnet", "1")
    contents = {path: content for path, content in first.contents().items() if path != MANIFEST}
    store.publish("efsnet", first.manifest, contents)


def promote(store: ModelStore) -> None:
    """One record more."""
    store.promote("efsnet", "production", 1, by="a process", why="to see")


def sign(store: ModelStore) -> None:
    """Version 1, with the key that lies beside the store that the copies are of."""
    sign_version(store.version("efsnet", "1"), key())


def key() -> Path:
    """Of who signs, made by the test."""
    return Path(os.environ["KEY"])


def start(store: ModelStore) -> None:
    """What the service does first, in an empty store beside this one."""
    seed(seeded(store).root, shipped=store.root)


def seeded(store: ModelStore) -> ModelStore:
    """The store beside this one that `start` fills."""
    return ModelStore(store.root.with_name("seeded"))


def compete(store: ModelStore) -> None:
    """The alias `contested` for who comes first; who comes later must learn it."""
    try:
        store.promote("efsnet", "contested", 1, by=str(os.getpid()), why="to win", expected_current=None)
    except PromotionConflict:
        os._exit(7)


def forked(action: Callable[[], object]) -> int:
    """Process id of a child that does this and ends with 0, or with 1 if it fails."""
    if child := os.fork():
        return child
    try:
        action()
    except BaseException as error:  # noqa: BLE001 (the parent tells)
        os.write(2, f"{error!r}\n".encode())
        os._exit(1)
    os._exit(0)


def ended(child: int) -> int:
    """Exit code, negative for the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def damage(*stores: ModelStore) -> list[str]:
    """All that is wrong with what readers see; a model that is not there yet has nothing wrong."""
    found: list[str] = []
    for store in stores:
        try:
            for number in store.numbers("efsnet"):
                found += map(str, store.version("efsnet", str(number)).damage())
                found += map(str, store.version("efsnet", "production").damage())
        except ModelStoreError as error:
            found.append(repr(error))
    return found


def killed_at_every_step(store: ModelStore, action: Action) -> dict[str, object]:
    """Kills a child before its first access to the disk, another before its second, … until one survives.

    Each has a copy of the store, in which the same is done once more, to the end.
    """

    def until(step: int, store: ModelStore) -> None:
        steps = count(1)

        def watch(event: str, _: object) -> None:
            if event in STEPS and next(steps) == step:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        action(store)

    found: list[str] = []
    for step in count(1):
        copy = ModelStore(shutil.copytree(store.root, store.root.with_name(f"step-{step}") / "store"))
        code = ended(forked(partial(until, step, copy)))
        found += damage(copy, seeded(copy))
        if ended(forked(partial(action, copy))) != 0:
            found.append(f"not repeatable after step {step}")
        found += damage(copy, seeded(copy))
        if code != -signal.SIGKILL:
            return {"kills": step - 1, "last": code, "damage": found}
    raise AssertionError


def killed_at_random(store: ModelStore, action: Action, kills: int) -> dict[str, object]:
    """Kills children that do the same again and again, after times that nobody chose.

    Each has a copy of the store, in which the same is done once more, to the end.
    """

    def forever(store: ModelStore) -> None:
        while True:
            action(store)

    found: list[str] = []
    survived = 0
    for number in range(kills):
        copy = ModelStore(shutil.copytree(store.root, store.root.with_name(f"kill-{number}") / "store"))
        child = forked(partial(forever, copy))
        time.sleep(random.uniform(0.0, 0.05))  # noqa: S311 (no secret)
        os.kill(child, signal.SIGKILL)
        survived += ended(child) != -signal.SIGKILL
        found += damage(copy, seeded(copy))
        if ended(forked(partial(action, copy))) != 0:
            found.append(f"not repeatable after kill {number}")
        found += damage(copy, seeded(copy))
        shutil.rmtree(copy.root.parent)
    return {"damage": found, "survived": survived}


def at_once(store: ModelStore, action: Action) -> dict[str, object]:
    """Eight children that begin together."""
    reading, writing = os.pipe()

    def wait_and_act() -> None:
        os.close(writing)
        os.read(reading, 1)  # until the parent closes its end
        action(store)

    children = [forked(wait_and_act) for _ in range(8)]
    os.close(writing)
    codes = sorted(map(ended, children))
    return {"codes": codes, "damage": damage(store, seeded(store))}


def readers_and_writers(store: ModelStore, action: Action) -> dict[str, object]:
    """Two who publish and promote what they published, and three who read all the time, as services do."""
    records = 2 * PUBLICATIONS + len(store.promotions("efsnet"))

    def write() -> None:
        for _ in range(PUBLICATIONS):
            action(store)
            newest = max(store.numbers("efsnet"))
            store.promote("efsnet", "production", newest, by=str(os.getpid()), why="newer")

    def read() -> None:
        seen = 0
        while seen < records:
            before, seen = seen, len(store.promotions("efsnet"))
            if seen < before:
                raise AssertionError(f"{before} records became {seen}")
            store.version("efsnet", "production").contents()
            for number in store.numbers("efsnet"):
                store.version("efsnet", str(number)).contents()

    children = [forked(work) for work in (write, write, read, read, read)]
    codes = list(map(ended, children))
    return {"codes": codes, "damage": damage(store)}


if __name__ == "__main__":
    scenarios: dict[str, Callable[[ModelStore, Action], dict[str, object]]] = {
        "killed_at_every_step": killed_at_every_step,
        "killed_20_times": partial(killed_at_random, kills=20),
        "killed_200_times": partial(killed_at_random, kills=200),
        "at_once": at_once,
        "readers_and_writers": readers_and_writers,
    }
    actions: dict[str, Action] = {
        "publish": publish,
        "promote": promote,
        "sign": sign,
        "start": start,
        "compete": compete,
    }
    if sys.argv[2] == "sign":  # what is imported for it is no access to the store
        sign_version(ModelStore(Path(sys.argv[3]).with_name("imported")).version("efsnet", "1"), key())
    result = scenarios[sys.argv[1]](ModelStore(Path(sys.argv[3])), actions[sys.argv[2]])
    print(json.dumps(result))  # noqa: T201 (read by the test)
