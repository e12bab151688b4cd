"""Several machines share a run: here two nodes of one process each, in a network of their own."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from safetensors.numpy import load_file
from torch.distributed import HashStore  # type: ignore[attr-defined]  # torch forgot it

from training.errors import RunUnusable
from training.processes import Launch, agree
from training.run import Machine
from training.run_folder import RunFolder

MakeBusi = Callable[[Sequence[tuple[str, int]]], Path]

KINDS = (("normal", 4), ("benign", 12), ("malignant", 8))
TORCHRUN = {"TORCHELASTIC_RUN_ID": "run", "RANK": "3", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}


def test_torchrun_says_how_many_machines_there_are() -> None:
    """And without it nobody does."""
    launch = Launch.read(TORCHRUN)

    assert Launch(rank=3, processes=4, here=2) == launch
    assert Machine(devices=2, machines=2) == Machine().launched(launch) == Machine(devices=2).launched(launch)
    assert Launch.read({"LOCAL_RANK": "1"}) is None
    assert Machine(devices=2) == Machine(devices=2).launched(None)


def test_machines_of_unlike_numbers_are_refused() -> None:
    """Torchrun lets them be; the batch could not be shared."""
    with pytest.raises(RunUnusable, match="--nproc-per-node"):
        Launch.read(TORCHRUN | {"WORLD_SIZE": "5"})
    with pytest.raises(RunUnusable, match="--devices"):
        Machine(devices=3).launched(Launch.read(TORCHRUN))


def told(facts: Sequence[dict[str, str]]) -> list[str]:
    """What each of several processes that agree on facts is told; nothing where all is well."""
    store = HashStore()
    store.set_timeout(timedelta(seconds=60))
    words = ["unheard"] * len(facts)

    def process(rank: int) -> None:
        try:
            agree(Launch(rank, len(facts), 1), store, lambda: facts[rank])
            words[rank] = ""
        except RunUnusable as error:
            words[rank] = str(error)

    threads = [Thread(target=process, args=(rank,)) for rank in range(len(facts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return words


def test_processes_at_the_same_run_go_on() -> None:
    """However many."""
    assert ["", "", ""] == told([{"The data set": "BUSI", "The state": ""}] * 3)


def test_all_stop_where_one_is_at_another_run() -> None:
    """And each says what differs: none waits for the one that stopped."""
    words = told([{"The data set": "BUSI"}, {"The data set": "BUSI"}, {"The data set": "another copy"}])

    assert all("The data set is not the same everywhere" in word for word in words)


needs_network = pytest.mark.skipif(not all(map(shutil.which, ("unshare", "ip"))), reason="needs unshare and ip")
ALONE = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
"""A network in which there is nobody else: torchrun listens on all addresses."""

BOTH = """
ip link set lo up
for node in 0 1; do
    "$1" -m torch.distributed.run --nnodes=2 --nproc-per-node=1 --rdzv-backend=c10d --rdzv-endpoint=127.0.0.1:29500 \\
        --rdzv-id=run --local-addr=127.0.0.1 --max-restarts="$2" "${@:3}" &
done
wait -n || failed=1
wait -n || failed=1
exit ${failed:-0}
"""

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


def train(data: Path, out: Path, *options: str) -> list[str]:
    """The arguments that are the same on each machine."""
    return ["-m", "training", "train", str(data), "--out", str(out), "--accelerator", "cpu", "--no-compile", *options]


def on_two_nodes(data: Path, out: Path, *options: str, restarts: int = 0) -> subprocess.Popen[bytes]:
    """The command by torchrun on two nodes."""
    script = [*ALONE, "bash", "-c", BOTH, "bash", sys.executable, str(restarts)]
    return subprocess.Popen([*script, *train(data, out, *options)], env=ENVIRONMENT)


def kill_the_second(process: subprocess.Popen[bytes], out: Path) -> None:
    """SIGKILL to what trains on the second node, behind the first checkpoint."""
    while not list(RunFolder(out).checkpoints.glob("step=2.ckpt")) and process.poll() is None:
        time.sleep(0.01)
    os.kill(second_process(out), signal.SIGKILL)


def second_process(out: Path) -> int:
    """The process that trains on the second node."""
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0")
            environment = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if str(out).encode() in command and b"RANK=1" in environment:
            return int(entry.name)
    pytest.fail("nobody trains on the second node")


@pytest.mark.system
@needs_network
@pytest.mark.requirement("TRAIN-9", "TRAIN-5")
def test_two_machines_train_what_two_processes_of_one_train(make_busi: MakeBusi, recipe: Path, tmp_path: Path) -> None:
    """Bit for bit: where one of them is killed and both are started again, by hand or by torchrun itself."""
    data = make_busi(KINDS)
    one, by_hand, by_itself = tmp_path / "one", tmp_path / "by-hand", tmp_path / "by-itself"
    single = [sys.executable, *train(data, one, "--config", str(recipe), "--devices", "2")]
    subprocess.run([*ALONE, "sh", "-c", 'ip link set lo up; exec "$@"', "sh", *single], check=True, env=ENVIRONMENT)
    process = on_two_nodes(data, by_hand, "--config", str(recipe))
    kill_the_second(process, by_hand)
    assert 0 != process.wait()
    assert 0 == on_two_nodes(data, by_hand, "--resume").wait()
    process = on_two_nodes(data, by_itself, "--config", str(recipe), restarts=2)
    kill_the_second(process, by_itself)
    assert 0 == process.wait()

    expected = load_file(RunFolder(one).weights_file)
    for out in (by_hand, by_itself):
        found = load_file(RunFolder(out).weights_file)
        assert all(np.array_equal(expected[name], found[name]) for name in expected)
        assert RunFolder(one).metrics_file.read_text() == RunFolder(out).metrics_file.read_text()
