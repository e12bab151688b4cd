"""The processes that share a run, on one machine or several: who is the first, and that all are at the same run.

On one machine Lightning starts them. On several, `torchrun` starts the command on each, and tells it by variables:
https://docs.pytorch.org/docs/stable/elastic/run.html, "Environment Variables".
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]  # torch forgot it

from training.errors import RunUnusable

PATIENCE = timedelta(minutes=10)
"""How long the others are waited for: they read all images first."""


def is_first() -> bool:
    """Whether this process writes the run, evaluates it and speaks; to be asked before Lightning starts others."""
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"


def is_restarted() -> bool:
    """Whether `torchrun --max-restarts` has started the command once more, after a process was lost."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"


@dataclass(frozen=True, slots=True)
class Launch:
    """What `torchrun` says of this process.

    Args:
        rank: Of the process among all, from 0.
        processes: On all machines.
        here: On this machine; as many as on each other one.
    """

    rank: int
    processes: int
    here: int

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "Launch | None":
        """None where this process was not started by it.

        Raises:
            RunUnusable: Machines have different numbers of processes.
        """
        if "TORCHELASTIC_RUN_ID" not in environment:
            return None
        rank, processes, here = (int(environment[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"))
        if processes % here:
            raise RunUnusable("Each machine takes the same number of processes: give all the same --nproc-per-node.")
        return cls(rank, processes, here)

    @property
    def machines(self) -> int:
        """Number of machines."""
        return self.processes // self.here

    def store(self) -> Store:
        """Where all processes of this start can leave word for each other."""
        port = int(os.environ["MASTER_PORT"])
        start = f"efsnet/{os.environ['TORCHELASTIC_RUN_ID']}/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
        return PrefixStore(start, TCPStore(os.environ["MASTER_ADDR"], port, is_master=False, timeout=PATIENCE))


def agree(launch: Launch, store: Store, facts: Callable[[], Mapping[str, str]]) -> None:
    """Makes sure that all processes are at the same run; else they would train, and nobody would know on what.

    Args:
        launch: Of this process.
        store: Of all of them.
        facts: Gives what must be the same, by what it is; asked when the first process has begun the run.

    Raises:
        RunUnusable: Something is not, on whichever machine.
    """
    if launch.rank == 0:
        store.set("first", json.dumps(_digests(facts())))
        words = [store.get(f"word of {rank}").decode() for rank in range(1, launch.processes)]
        store.set("verdict", next(filter(None, words), ""))
    else:
        first = json.loads(store.get("first"))
        differing = [name for name, digest in _digests(facts()).items() if first.get(name) != digest]
        store.set(f"word of {launch.rank}", f"{differing[0]} is not the same everywhere." if differing else "")
    if verdict := store.get("verdict").decode():
        raise RunUnusable(f"{verdict} Process {launch.rank} of {launch.processes} stops.")


def _digests(facts: Mapping[str, str]) -> dict[str, str]:
    return {name: hashlib.sha256(fact.encode()).hexdigest() for name, fact in facts.items()}
