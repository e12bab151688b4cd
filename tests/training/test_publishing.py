"""A finished, evaluated run becomes a whole version; anything else is refused, and nothing is published."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from efsnet.network import EFSNet, SegmentationNetwork
from efsnet.predictor import Computation
from model_store.digest import Digest
from model_store.errors import IntegrityError
from model_store.loading import load
from model_store.manifest import MANIFEST, Evaluated, Metric, Network, TrainingData
from model_store.store import ModelStore
from model_store.version import Version
from training.configuration import read_configuration
from training.cross_validation import fold_of
from training.errors import ParityLost, RunUnusable
from training.evaluation.operating_point import OperatingPoint
from training.networks import build
from training.publishing import LEARNT_FROM, WEIGHTS, network_from_version, publish
from training.run_folder import RunFolder

SIDE = 64
POINT = OperatingPoint(temperature=1.3, tumour_threshold=0.45, minimum_area_fraction=0.002)
COMMIT = "0123456789abcdef0123456789abcdef01234567"
DIGEST = "ab" * 32
MEASURED = {
    "part": "test",
    "folds": [0],
    "grid": [SIDE, SIDE],
    "images": 114,
    "figures": {
        "lesion_dice": {"value": 0.71, "low": 0.66, "high": 0.76, "count": 93, "definition": "2 |P∩R| / (|P| + |R|)"},
        "false_alarms": {"value": 0.2, "low": 0.1, "high": 0.3, "count": 21, "definition": "normal images alarmed"},
    },
}

Damage = Callable[[RunFolder], object]


def make_network() -> EFSNet:
    """A network with random weights, the same each time."""
    torch.manual_seed(0)
    return EFSNet()


def make_run(path: Path, network: SegmentationNetwork) -> RunFolder:
    """The folder of a run that was trained to the end and evaluated."""
    folder = RunFolder(path)
    path.mkdir()
    configuration = read_configuration("default").model_copy(update={"input": SIDE})
    environment = {"code_commit": COMMIT, "started_from": None, "images": {"train": {"count": 433, "sha256": DIGEST}}}
    split = "part,file,scene\ntrain,benign/benign (1).png,one\ntest,benign/benign (2).png,two\n"
    folder.split_file.write_text(split, encoding="utf-8")
    folder.configuration_file.write_text(configuration.model_dump_json(), encoding="utf-8")
    folder.environment_file.write_text(json.dumps(environment), encoding="utf-8")
    folder.operating_point_file.write_text(POINT.as_json(), encoding="utf-8")
    folder.metrics_file.write_text(json.dumps(MEASURED), encoding="utf-8")
    save_file(network.state_dict(), folder.weights_file)
    return folder


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """What publishing made of a run."""
    root = tmp_path_factory.mktemp("publishing")
    return publish(make_run(root / "run", make_network()).path, ModelStore(root / "store"), name="efsnet")


@pytest.fixture
def copied_store(version: Version, tmp_path: Path) -> ModelStore:
    """A store of one's own with that version."""
    return ModelStore(shutil.copytree(version.path.parents[2], tmp_path / "store"))


def test_a_published_version_is_whole_and_usable(version: Version) -> None:
    """No file differs from its digest, and each reference image gives the label map that lies beside it."""
    assert ("efsnet", 1) == (version.name, version.number)
    assert () == version.damage()

    loaded = load(version, Computation(provider="cpu"))

    assert ["busi_benign_396", "busi_malignant_189", "busi_normal_88"] == [
        Path(each.name).name for each in loaded.replay
    ]
    assert [0, 0, 0] == [each.differing_pixels for each in loaded.replay]
    assert [SIDE * SIDE] * 3 == [each.pixels for each in loaded.replay]


def test_the_manifest_says_on_which_images_it_was_measured(tmp_path: Path) -> None:
    """Data set by data set, so that the gate can compare; an evaluation of before they were written down has none."""
    folder = make_run(tmp_path / "run", make_network())
    measured = {"images": 114, "sha256": DIGEST}
    told = {**MEASURED, "sets": {"BUSI": MEASURED["figures"]}, "evaluated": {"BUSI": measured}}
    folder.metrics_file.write_text(json.dumps(told), encoding="utf-8")

    manifest = publish(folder.path, ModelStore(tmp_path / "store"), name="efsnet").manifest

    digest = Digest("sha256", DIGEST)
    assert (Evaluated(name="BUSI", images=114, digest=digest, metrics=manifest.metrics),) == manifest.evaluated


def test_the_manifest_says_what_the_run_says(version: Version) -> None:
    """Network, input, operating point, figures with their intervals, data and code are the run's own."""
    manifest = version.manifest

    assert Network(name="EFSNet", in_channels=1, classes=3, parameters=178_887) == manifest.network
    assert (SIDE, SIDE) == (manifest.specification.input.rows, manifest.specification.input.columns)
    assert POINT.rules() == manifest.specification.post_processing
    assert POINT.temperature == manifest.temperature
    assert {
        "lesion_dice": Metric(value=0.71, interval=(0.66, 0.76)),
        "false_alarms": Metric(value=0.2, interval=(0.1, 0.3)),
    } == manifest.metrics
    assert (TrainingData(name="BUSI, training part", images=433, digest=f"sha256:{DIGEST}"),) == manifest.training_data
    assert COMMIT == manifest.code_commit
    assert () == manifest.evaluated


@pytest.mark.parametrize(
    ("files", "source"),
    [
        (["benign/benign (1).png", "benign/benign (9001).png"], "BUSI with 1 added"),
        (["benign/benign (9001).png", "normal/normal (9001).png"], "images in BUSI's layout"),
    ],
)
def test_a_version_that_learnt_from_other_images_does_not_claim_busi(
    tmp_path: Path, files: list[str], source: str
) -> None:
    """And one that began with another's weights names that version, by which its data is found in turn."""
    folder = make_run(tmp_path / "run", make_network())
    lines = ["part,file,scene", *(f"train,{file},{file}" for file in files)]
    folder.split_file.write_text("\n".join(lines), encoding="utf-8")
    environment = json.loads(folder.environment_file.read_text(encoding="utf-8"))
    start = f"sha256:{'cd' * 32}"
    folder.environment_file.write_text(json.dumps({**environment, "started_from": start}), encoding="utf-8")

    version = publish(folder.path, ModelStore(tmp_path / "store"), name="efsnet")

    expected = f"{source}, training part, beginning with the weights of {start}"
    assert [expected] == [learnt.name for learnt in version.manifest.training_data]
    assert f"{expected}: 433 images" in version.read("MODEL_CARD.md").decode()


def test_figures_and_model_card_are_published_with_the_graph(version: Version) -> None:
    """For people and programs that have nothing but the version."""
    assert MEASURED == json.loads(version.read("metrics.json"))
    assert "| lesion_dice | 0.710 | 0.660 to 0.760 | 93 |" in version.read("MODEL_CARD.md").decode()


def test_the_weights_of_a_version_are_those_of_the_run(version: Version) -> None:
    """Training goes on from them, bit for bit, normalisation statistics too."""
    expected, given = make_network().state_dict(), network_from_version(version, "efsnet").state_dict()

    assert list(expected) == list(given)
    assert all(torch.equal(expected[name], given[name]) for name in expected)


def test_a_version_of_another_network_is_not_trained_on(published_store: ModelStore) -> None:
    """It is told by its name, before its weights are looked for."""
    with pytest.raises(RunUnusable, match="efsnet 1 is of Brightness, the recipe trains EFSNet"):
        network_from_version(published_store.version("efsnet", "1"), "efsnet")


def test_changed_weights_are_not_trained_on(copied_store: ModelStore) -> None:
    """A single bit is enough."""
    version = copied_store.version("efsnet", "1")
    file = version.path / WEIGHTS
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.unlink()
    file.write_bytes(content)

    with pytest.raises(IntegrityError, match=WEIGHTS):
        network_from_version(version, "efsnet")


@pytest.mark.parametrize("weights", [b"", b"no tensors", b"\x02\0\0\0\0\0\0\0{}"], ids=["empty", "text", "no tensor"])
def test_weights_that_are_none_are_not_trained_on(copied_store: ModelStore, weights: bytes) -> None:
    """Published by another tool, in whatever form: the message names version and file."""
    first = copied_store.version("efsnet", "1")
    contents = {path: content for path, content in first.contents().items() if path != MANIFEST}
    second = copied_store.publish("efsnet", first.manifest, {**contents, WEIGHTS: weights})

    with pytest.raises(RunUnusable, match=f"efsnet 2: {WEIGHTS}"):
        network_from_version(second, "efsnet")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda run: shutil.rmtree(run.path), "no training run"),
        (lambda run: run.configuration_file.unlink(), "no training run"),
        (lambda run: run.weights_file.unlink(), "go on with `train --resume`"),
        (lambda run: run.weights_file.write_bytes(b""), "weights.safetensors"),
        (lambda run: run.operating_point_file.unlink(), "run `evaluate` first"),
        (lambda run: run.operating_point_file.write_text("{}"), "run `evaluate` first"),
        (lambda run: run.metrics_file.unlink(), "run `evaluate` first"),
        (lambda run: run.metrics_file.write_text('{"figures": {'), "run `evaluate` first"),
        (lambda run: run.environment_file.unlink(), "environment.json"),
        (lambda run: run.split_file.unlink(), "split.csv"),
        (lambda run: run.split_file.write_text("file\nbenign/benign (1).png\n"), "split.csv"),
    ],
    ids=[
        "no folder",
        "no recipe",
        "not finished",
        "weights cut off",
        "not evaluated",
        "operating point empty",
        "killed in the evaluation",
        "metrics cut off",
        "no environment",
        "no split",
        "split without parts",
    ],
)
def test_a_run_that_is_not_finished_and_evaluated_is_refused(tmp_path: Path, damage: Damage, words: str) -> None:
    """With what to do about it; the store is not even made."""
    folder = make_run(tmp_path / "run", make_network())
    damage(folder)

    with pytest.raises(RunUnusable, match=words):
        publish(folder.path, ModelStore(tmp_path / "store"), name="efsnet")
    assert not (tmp_path / "store").exists()


@pytest.mark.requirement("TRAIN-6")
def test_a_graph_that_differs_from_its_network_is_not_published(tmp_path: Path) -> None:
    """Of exploded logits the graph sees only that they are large, where the network still tells them apart."""
    network = make_network()
    with torch.no_grad():
        network.get_parameter("predict.bias").copy_(torch.tensor([0.0, 1000.0, 2000.0]))
    folder = make_run(tmp_path / "run", network)

    with pytest.raises(ParityLost, match="nothing is published"):
        publish(folder.path, ModelStore(tmp_path / "store"), name="efsnet")
    assert not (tmp_path / "store").exists()


@pytest.mark.system
@pytest.mark.requirement("VER-1")
def test_a_killed_publisher_leaves_nothing_half(tmp_path: Path, repository: Path) -> None:
    """SIGKILL as soon as anything is in the store: readers see a whole version or none, and publishing works again."""
    folder = make_run(tmp_path / "run", make_network())
    store = ModelStore(tmp_path / "store")
    command = [sys.executable, "-m", "training", "publish", str(folder.path), "--store", str(store.root)]
    process = subprocess.Popen(command, cwd=repository)
    while not store.root.exists() and process.poll() is None:
        time.sleep(0.0005)
    process.kill()
    assert -signal.SIGKILL == process.wait()
    left = store.numbers("efsnet")
    assert () == tuple(damage for number in left for damage in store.version("efsnet", str(number)).damage())

    answer = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)

    assert f"Published efsnet {len(left) + 1}, sha256:" in answer.stdout
    assert 3 == len(load(store.version("efsnet", str(len(left) + 1)), Computation(provider="cpu")).replay)


def make_cross_validation(path: Path) -> Path:
    """Three finished folds with operating points of their own, and the figures of all."""
    for fold, temperature in enumerate((1.0, 1.6, 1.2)):
        path.mkdir(exist_ok=True)
        folder = make_run(fold_of(path, fold).path, make_network())
        point = OperatingPoint(temperature, tumour_threshold=0.3 + 0.1 * fold, minimum_area_fraction=0.001 * fold)
        folder.operating_point_file.write_text(point.as_json(), encoding="utf-8")
    (path / "metrics.json").write_text(json.dumps({**MEASURED, "folds": [0, 1, 2], "images": 333}), encoding="utf-8")
    return path


def test_a_run_on_all_images_takes_the_figures_of_its_recipe(tmp_path: Path) -> None:
    """The folds' median operating point and their figures; the card says that they are not of these weights."""
    folder = make_run(tmp_path / "run", make_network())
    folder.operating_point_file.unlink()
    folder.metrics_file.unlink()
    validation = make_cross_validation(tmp_path / "cv")
    version = publish(folder.path, ModelStore(tmp_path / "store"), name="efsnet", figures_of=validation)
    card = version.read("MODEL_CARD.md").decode()

    assert 1.2 == version.manifest.temperature
    assert 0.4 == pytest.approx(version.manifest.specification.post_processing.tumour_threshold)
    assert 0.001 == version.manifest.specification.post_processing.minimum_area_fraction
    assert (validation / "metrics.json").read_bytes() == version.read("metrics.json")
    assert () == version.manifest.evaluated  # these weights were measured on nothing, and the gate must know
    assert "none is left to measure it on" in card
    assert "measured together on 333 images" in card
    assert "it never saw" not in card


def test_figures_of_another_recipe_are_refused(tmp_path: Path) -> None:
    """They would be a claim about a network that nobody measured."""
    folder = make_run(tmp_path / "run", make_network())
    other = read_configuration("thesis").model_copy(update={"input": SIDE})
    folder.configuration_file.write_text(other.model_dump_json(), encoding="utf-8")

    with pytest.raises(RunUnusable, match="another recipe"):
        publish(
            folder.path,
            ModelStore(tmp_path / "store"),
            name="efsnet",
            figures_of=make_cross_validation(tmp_path / "cv"),
        )


def test_figures_of_other_data_sets_are_refused(tmp_path: Path) -> None:
    """A run on two sets is not what was cross-validated on one, though the recipe is the same."""
    folder, validation = make_run(tmp_path / "run", make_network()), make_cross_validation(tmp_path / "cv")
    folder.split_file.write_text(
        "part,dataset,file,scene\ntrain,BUSI,benign/benign (1).png,one\ntrain,BUS-BRA,1.png,two\n", encoding="utf-8"
    )

    with pytest.raises(RunUnusable, match="is of BUSI, and the run of BUS-BRA, BUSI"):
        publish(folder.path, ModelStore(tmp_path / "store"), name="efsnet", figures_of=validation)


def test_a_version_says_which_images_it_learnt_from(tmp_path: Path) -> None:
    """By their digests, set by set; so that nobody measures it on them unawares."""
    folder = make_run(tmp_path / "run", make_network())
    folder.learnt_from_file.write_text("part,dataset,file,group,sha256\n", encoding="utf-8")
    sets = [
        {"dataset": "BUSI", "images": 400, "sha256": DIGEST},
        {"dataset": "BUS-BRA", "images": 33, "sha256": DIGEST},
    ]
    environment = {**json.loads(folder.environment_file.read_text(encoding="utf-8")), "learnt_from": sets}
    folder.environment_file.write_text(json.dumps(environment), encoding="utf-8")
    version = publish(folder.path, ModelStore(tmp_path / "store"), name="efsnet")

    assert folder.learnt_from_file.read_bytes() == version.read(LEARNT_FROM)
    assert [("BUSI, training part", 400), ("BUS-BRA, training part", 33)] == [
        (each.name, each.images) for each in version.manifest.training_data
    ]


def test_a_baseline_is_published_under_its_own_name(tmp_path: Path) -> None:
    """The same service serves it: nothing in a version's contract is EFSNet's alone."""
    torch.manual_seed(0)
    folder = make_run(tmp_path / "run", build("fssnet"))
    configuration = folder.configuration().model_copy(update={"network": "fssnet"})
    folder.configuration_file.write_text(configuration.model_dump_json(), encoding="utf-8")
    version = publish(folder.path, ModelStore(tmp_path / "store"), name="fssnet")

    assert ("fssnet", "FSSNet", 190_671) == (
        version.name,
        version.manifest.network.name,
        version.manifest.network.parameters,
    )
    assert 3 == len(load(version, Computation(provider="cpu")).replay)
    with pytest.raises(RunUnusable, match="FSSNet, the recipe trains EFSNet"):
        network_from_version(version, "efsnet")
