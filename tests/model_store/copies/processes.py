"""Copies by processes that are killed. Prints what was seen, as JSON; a program of its own, as its elder brother is."""

import json
import os
import random
import shutil
import signal
import sys
import time
from functools import partial
from itertools import count
from pathlib import Path

from model_store.copies import archive, history
from model_store.copies.arrival import Order, arrive
from model_store.copies.registry import connected
from model_store.copies.repository import Access, Repository
from model_store.store import ModelStore
from tests.model_store.processes import Action, damage, ended, forked, killed_at_every_step


def take(store: ModelStore) -> None:
    """Version 2 from the archive that COPY names."""
    arrive(store, archive.read(Path(os.environ["COPY"])), Order("efsnet"))


def pull(store: ModelStore) -> None:
    """Version 2 from the registry that COPY names."""
    with connected(Repository.parse(os.environ["COPY"]), Access()) as registry:
        arrive(store, registry.pull(2), Order("efsnet"))


def follow(store: ModelStore) -> None:
    """What is announced in the registry that COPY names."""
    with connected(Repository.parse(os.environ["COPY"]), Access()) as registry:
        history.follow(store, registry, Order("efsnet"))


def asked_to_end_between_records(store: ModelStore, action: Action) -> dict[str, object]:
    """Asks a child to end when it is about to make its first record appear, and tells what readers see then."""

    def end(event: str, _: object) -> None:
        if event == "os.link":
            os.kill(os.getpid(), signal.SIGTERM)

    def act() -> None:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
        sys.addaudithook(end)
        action(store)

    code = ended(forked(act))
    return {"code": code, "damage": damage(store), "records": len(store.promotions("efsnet"))}


def killed_at_random(store: ModelStore, action: Action) -> dict[str, object]:
    """Kills children that do it in a copy of the store, after times that nobody chose; then does it to the end."""
    began = time.monotonic()
    ended(forked(partial(action, _copied(store, -1))))
    takes_s = time.monotonic() - began
    found: list[str] = []
    kills = 0
    for number in count():
        if kills == int(os.environ["KILLS"]):
            return {"kills": kills, "damage": found}
        copy = _copied(store, number)
        child = forked(partial(action, copy))
        time.sleep(random.uniform(0.0, takes_s))  # noqa: S311 (no secret)
        os.kill(child, signal.SIGKILL)
        kills += ended(child) == -signal.SIGKILL  # and not done before
        found += damage(copy)
        if ended(forked(partial(action, copy))) != 0 or copy.numbers("efsnet") != (1, 2):
            found.append(f"not repeatable after kill {number}")
        found += damage(copy)
        shutil.rmtree(copy.root)
    raise AssertionError


def _copied(store: ModelStore, number: int) -> ModelStore:
    return ModelStore(shutil.copytree(store.root, store.root.with_name(f"copy-{number}")))


if __name__ == "__main__":
    scenarios = {
        "asked_to_end_between_records": asked_to_end_between_records,
        "killed_at_every_step": killed_at_every_step,
        "killed_at_random": killed_at_random,
    }
    actions: dict[str, Action] = {"import": take, "pull": pull, "follow": follow}
    result = scenarios[sys.argv[1]](ModelStore(Path(sys.argv[3])), actions[sys.argv[2]])
    print(json.dumps(result))  # noqa: T201 (read by the test)
