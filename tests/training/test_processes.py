"""Several machines share a run: here two nodes of one process each, in a network of their own."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from training.errors import RunUnusable
from training.processes import Launch, check_agreement
from training.run import Machine
from training.run_folder import RunFolder

MakeBusi = Callable[[Sequence[tuple[str, int]]], Path]

KINDS = (("normal", 4), ("benign", 12), ("malignant", 8))
TORCHRUN = {"TORCHELASTIC_RUN_ID": "run", "RANK": "3", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}


def test_torchrun_says_how_many_machines_there_are() -> None:
    """And without it nobody does."""
    launch = Launch.read(TORCHRUN)

    assert Launch(rank=3, processes=4, here=2, restarts=0) == launch
    assert Machine(devices=2, machines=2) == Machine().launched(launch) == Machine(devices=2).launched(launch)
    assert Launch.read({"LOCAL_RANK": "1"}) is None
    assert Machine(devices=2) == Machine(devices=2).launched(None)


def test_machines_of_unlike_numbers_are_refused() -> None:
    """Torchrun lets them be; the batch could not be shared."""
    with pytest.raises(RunUnusable, match="--nproc-per-node"):
        Launch.read(TORCHRUN | {"WORLD_SIZE": "5"})
    with pytest.raises(RunUnusable, match="--devices"):
        Machine(devices=3).launched(Launch.read(TORCHRUN))


def test_starts_that_torch_does_not_tell_apart_are_refused() -> None:
    """Whoever is started once more would wait for those of the start before."""
    restarting = TORCHRUN | {"TORCHELASTIC_MAX_RESTARTS": "2"}
    with pytest.raises(RunUnusable, match="TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"):
        Launch.read(restarting | {"TORCHELASTIC_USE_AGENT_STORE": "True"})

    launch = Launch.read(restarting | {"TORCHELASTIC_USE_AGENT_STORE": "False"})
    assert launch is not None
    assert launch.restarts == 2


def test_processes_at_the_same_run_go_on() -> None:
    """However many."""
    check_agreement([{"The data set": "BUSI", "The state": ""}] * 3)


def test_processes_at_different_runs_stop() -> None:
    """Told what differs, whichever differs, so that none waits for the one that stopped."""
    with pytest.raises(RunUnusable, match="The data set is not the same"):
        check_agreement([{"The data set": "BUSI"}, {"The data set": "BUSI"}, {"The data set": "another copy"}])


needs_network = pytest.mark.skipif(not all(map(shutil.which, ("unshare", "ip"))), reason="needs unshare and ip")
ALONE = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
"""A network in which there is nobody else: torchrun listens on all addresses."""

BOTH = """
ip link set lo up
arguments=("${@:3}")
for node in 0 1; do
    "$1" -m torch.distributed.run --nnodes=2 --nproc-per-node=1 --rdzv-backend=c10d --rdzv-endpoint=127.0.0.1:29500 \\
        --rdzv-id=run --local-addr=127.0.0.1 --max-restarts="$2" "${arguments[@]//NODE/$node}" &
done
wait -n || failed=1
wait -n || failed=1
exit ${failed:-0}
"""

ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "GLOO_SOCKET_IFNAME": "lo",
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
}


def train(data: Path, out: Path, *options: str) -> list[str]:
    """The arguments that are the same on each machine."""
    return ["-m", "training", "train", str(data), "--out", str(out), "--accelerator", "cpu", "--no-compile", *options]


def on_two_nodes(data: Path, out: Path, *options: str, restarts: int = 0) -> subprocess.Popen[bytes]:
    """The command by torchrun on two nodes, whose number takes the place of NODE; what it says is kept."""
    script = [*ALONE, "bash", "-c", BOTH, "bash", sys.executable, str(restarts)]
    with said(out).open("ab") as log:
        return subprocess.Popen([*script, *train(data, out, *options)], env=ENVIRONMENT, stdout=log, stderr=log)


def said(out: Path) -> Path:
    """What the command said about a run."""
    return out.with_suffix(".log")


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
@pytest.mark.timeout(1200)
@needs_network
@pytest.mark.requirement("TRAIN-9", "TRAIN-5")
def test_two_machines_train_what_two_processes_of_one_train(make_busi: MakeBusi, recipe: Path, tmp_path: Path) -> None:
    """Bit for bit: where one of them is killed and both are started again, by hand or by torchrun itself."""
    data = make_busi(KINDS)
    one, by_hand, by_itself = tmp_path / "one", tmp_path / "by-hand", tmp_path / "by-itself"
    single = [sys.executable, *train(data, one, "--config", str(recipe), "--devices", "2")]
    subprocess.run([*ALONE, "sh", "-c", 'ip link set lo up; exec "$@"', "sh", *single], check=True, env=ENVIRONMENT)
    with on_two_nodes(data, by_hand, "--config", str(recipe)) as process:
        kill_the_second(process, by_hand)
    assert 0 != process.returncode
    with on_two_nodes(data, by_hand, "--resume") as process:
        pass
    assert 0 == process.returncode
    with on_two_nodes(data, by_itself, "--config", str(recipe), restarts=2) as process:
        kill_the_second(process, by_itself)
    assert 0 == process.returncode

    expected = load_file(RunFolder(one).weights_file)
    for out in (by_hand, by_itself):
        found = load_file(RunFolder(out).weights_file)
        assert all(np.array_equal(expected[name], found[name]) for name in expected)
        assert RunFolder(one).metrics_file.read_text() == RunFolder(out).metrics_file.read_text()


@pytest.mark.system
@pytest.mark.timeout(600)
@needs_network
@pytest.mark.requirement("TRAIN-9")
def test_machines_at_different_runs_stop_and_say_why(make_busi: MakeBusi, recipe: Path, tmp_path: Path) -> None:
    """Before the first step."""
    out = tmp_path / "run"
    with on_two_nodes(make_busi(KINDS), out, "--config", str(recipe), "--seed", "NODE") as process:
        pass

    assert 0 != process.returncode
    assert "The recipe is not the same" in " ".join(said(out).read_text().split())
    assert not RunFolder(out).newest_checkpoint()
