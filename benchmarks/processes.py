"""What a server and all its child processes take: CPU time and memory. Linux only."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PATIENCE_S = 10.0


class Server:
    """A command that serves, in a session of its own, so that nothing of it is left behind."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        self.since = time.perf_counter()
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def running(self) -> bool:
        """Whether the command goes on."""
        return self._process.poll() is None

    def cpu_s(self) -> float:
        """CPU time of all its processes, and of those that ended before."""
        return sum(_cpu_s(pid) for pid in self.pids())

    def pss_mb(self) -> float:
        """Proportional set size of all its processes: pages that several share count once."""
        return sum(_pss_kb(pid) for pid in self.pids()) / 1024

    def pids(self) -> list[int]:
        """Of the command and all that descends from it, whatever sessions these made for themselves."""
        parents = {pid: _parent_and_session(pid) for pid in _all_pids()}
        found = {pid for pid, (_, session) in parents.items() if session == self._process.pid}
        while more := {pid for pid, (parent, _) in parents.items() if parent in found} - found:
            found |= more
        return sorted(found)

    def stop(self) -> None:
        """Ends all of it."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self.pids():
                _signal(pid, number)
            patience_s = time.perf_counter() + _PATIENCE_S
            while self.pids() and time.perf_counter() < patience_s:
                self._process.poll()
                time.sleep(0.05)
        self._process.wait()


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third on (proc(5)); none if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[1].split()
    except OSError:
        return []


def _parent_and_session(pid: int) -> tuple[int, int]:
    fields = _stat(pid)
    # a zombie is over
    return (int(fields[1]), int(fields[3])) if fields and fields[0] != "Z" else (0, 0)


def _cpu_s(pid: int) -> float:
    fields = _stat(pid)
    return sum(map(int, fields[11:15])) / _TICKS_PER_S if fields else 0.0


def _pss_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
