"""Publishing, promoting and seeding by several processes at once, and by processes that are killed."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model_store.signing import generate
from model_store.store import ModelStore

Happen = Callable[[str, str], dict[str, Any]]


@pytest.fixture
def happen(published_store: ModelStore, repository: Path) -> Happen:
    """Runs a scenario of `processes.py` on the store and gives what it saw."""

    def run(scenario: str, action: str) -> dict[str, Any]:
        program = Path(__file__).with_name("processes.py")
        command = [sys.executable, str(program), scenario, action, str(published_store.root)]
        key = published_store.root.with_name("key.pem")
        if action == "sign":
            generate(key)
            shutil.copytree(published_store.root, published_store.root.with_name("imported"))
        environment = {**os.environ, "PYTHONPATH": str(repository), "KEY": str(key)}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    return run


@pytest.mark.parametrize(("action", "steps"), [("publish", 30), ("promote", 15), ("sign", 30), ("start", 30)])
def test_killed_before_any_access_to_the_disk_nothing_half_is_seen(happen: Happen, action: str, steps: int) -> None:
    """After each kill, all that readers see is whole, and the same can be done again in spite of what is left."""
    result = happen("killed_at_every_step", action)

    assert [] == result["damage"]
    assert 0 == result["last"]
    assert steps < result["kills"]


@pytest.mark.parametrize("action", ["publish", "promote"])
def test_killed_at_any_time_nothing_half_is_seen(happen: Happen, action: str) -> None:
    """Between and within the accesses to the disk; what was done before the kill stays."""
    assert {"damage": [], "survived": 0} == happen("killed_20_times", action)


@pytest.mark.system
@pytest.mark.parametrize("action", ["publish", "promote", "sign", "start"])
def test_killed_two_hundred_times_nothing_half_is_seen(happen: Happen, action: str) -> None:
    """The same, often enough to meet what is rare."""
    assert {"damage": [], "survived": 0} == happen("killed_200_times", action)


def test_publishers_and_services_on_one_folder_disturb_nobody(happen: Happen, published_store: ModelStore) -> None:
    """No reader sees half a version or fewer records than before; no number and no record is lost."""
    assert {"codes": [0] * 5, "damage": []} == happen("readers_and_writers", "publish")

    assert tuple(range(1, 32)) == published_store.numbers("efsnet")
    assert 31 == len(published_store.promotions("efsnet"))


def test_publishers_at_once_get_numbers_of_their_own(happen: Happen, published_store: ModelStore) -> None:
    """Nine versions, without a gap."""
    result = happen("at_once", "publish")

    assert {"codes": [0] * 8, "damage": []} == result
    assert tuple(range(1, 10)) == published_store.numbers("efsnet")


def test_promotions_at_once_are_all_on_the_record(happen: Happen, published_store: ModelStore) -> None:
    """One after the other, in an unbroken chain."""
    assert {"codes": [0] * 8, "damage": []} == happen("at_once", "promote")
    assert 9 == len(published_store.promotions("efsnet"))


def test_of_those_who_expect_an_unset_alias_one_wins(happen: Happen, published_store: ModelStore) -> None:
    """The seven others are told of the conflict, and leave no record."""
    assert [0, 7, 7, 7, 7, 7, 7, 7] == happen("at_once", "compete")["codes"]
    assert 2 == len(published_store.promotions("efsnet"))


def test_services_that_start_at_once_seed_one_store(happen: Happen, published_store: ModelStore) -> None:
    """Whoever is first; nothing temporary stays."""
    assert {"codes": [0] * 8, "damage": []} == happen("at_once", "start")

    seeded = published_store.root.with_name("seeded")
    assert [seeded / "efsnet"] == list(seeded.iterdir())
    assert {"production": 1} == ModelStore(seeded).aliases("efsnet")
