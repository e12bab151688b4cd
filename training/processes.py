"""The processes that share a run, on one machine or several: who is the first, and that all are at the same run.

On one machine Lightning starts them. On several, `torchrun` starts the command on each, and tells it by variables:
https://docs.pytorch.org/docs/stable/elastic/run.html, "Environment Variables".
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pytorch_lightning as lightning
from pytorch_lightning.callbacks import Callback
from torch.distributed import all_gather_object

from training.errors import RunUnusable


def is_first() -> bool:
    """Whether this process writes the run, evaluates it and speaks; to be asked before Lightning starts others."""
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"


@dataclass(frozen=True, slots=True)
class Launch:
    """What `torchrun` says of this process.

    Args:
        rank: Of the process among all, from 0.
        processes: On all machines.
        here: On this machine; as many as on each other one.
        restarts: How often all are started once more after one was lost.
    """

    rank: int
    processes: int
    here: int
    restarts: int

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "Launch | None":
        """None where this process was not started by it.

        Raises:
            RunUnusable: Machines have different numbers of processes; or processes that are started once more would
                find the addresses of those before them, and wait for those.
        """
        if "TORCHELASTIC_RUN_ID" not in environment:
            return None
        names = ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "TORCHELASTIC_MAX_RESTARTS")
        rank, processes, here, restarts = (int(environment.get(name, "0")) for name in names)
        if processes % here:
            raise RunUnusable("Each machine takes the same number of processes: give all the same --nproc-per-node.")
        # One store serves all starts otherwise, whose keys torch does not tell apart.
        if restarts and processes > here and environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
            raise RunUnusable(
                "With --max-restarts, give torchrun TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in its environment on each "
                "machine: else it may wait for ever for processes that are lost."
            )
        return cls(rank, processes, here, restarts)

    @property
    def machines(self) -> int:
        """Number of machines."""
        return self.processes // self.here


class Agreement(Callback):
    """Stops all processes where they are not at the same run; else they would train, and nobody would know on what."""

    def __init__(self, facts: Callable[[], Mapping[str, str]]) -> None:
        """Keeps what to ask.

        Args:
            facts: Gives what must be the same, by what a person calls it.
        """
        super().__init__()
        self._facts = facts

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:  # noqa: ARG002 (Lightning gives them)
        """Compares, as soon as all processes have found each other.

        Raises:
            RunUnusable: Something is not the same, on whichever machine.
        """
        everyone: list[dict[str, str]] = [{}] * trainer.world_size
        all_gather_object(everyone, self._facts())
        check_agreement(everyone)


def check_agreement(facts: Sequence[Mapping[str, str]]) -> None:
    """Makes sure that all processes know the same facts.

    Args:
        facts: Of each process.

    Raises:
        RunUnusable: They do not.
    """
    for name, fact in facts[0].items():
        if any(other.get(name) != fact for other in facts):
            raise RunUnusable(f"{name} is not the same in all processes.")
