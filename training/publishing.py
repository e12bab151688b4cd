"""A finished run becomes a published version, and a version's weights a network to train on."""

import csv
import json
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load

from efsnet.image import decode_image
from efsnet.network import SegmentationNetwork
from efsnet.postprocessing import to_label_map
from efsnet.predictor import Computation, Predictor
from efsnet.rendering import palette_png
from efsnet.specification import Specification
from model_store.digest import Digest
from model_store.manifest import MODEL, Draft, Evaluated, Metric, Network, TrainingData
from model_store.store import ModelStore
from model_store.version import Version
from training.baseline import measured_baseline
from training.cross_validation import finished
from training.datasets.busi import curation
from training.datasets.folds import BUSI
from training.errors import ParityLost, RunUnusable
from training.evaluation.figures import HEADLINE
from training.evaluation.operating_point import OperatingPoint, median_operating_point, read_operating_point
from training.export.onnx_export import export, parity
from training.model_card import model_card
from training.networks import build, name_of
from training.precision import measured_precisions
from training.references import reference_images
from training.run_folder import RunFolder
from training.specification import specification

WEIGHTS = "weights.safetensors"
LEARNT_FROM = "learnt_from.csv"

INTENDED_USE = (
    "Research, beside an expert: outlines lesions in B-mode breast ultrasound and proposes benign or malignant. "
    "Not a medical device; no diagnosis or treatment may rest on it."
)
LICENCE = (
    "Apache-2.0. BUSI, of which three images are the reference images, is by Al-Dhabyani et al. "
    "(Data in Brief 28:104863, 2020; CC BY 4.0)."
)


def publish(run: Path, store: ModelStore, *, name: str, figures_of: Path | None = None) -> Version:
    """Exports a finished run and publishes it as the next version of a model.

    Args:
        run: Folder of the run.
        store: Where it is published.
        name: Of the model.
        figures_of: A cross-validation by the same recipe, for a run that holds nothing out: its operating point is
            the median of the folds', and the figures are the folds'. By default the run's own are taken.

    Raises:
        RunUnusable: the run is not finished or not evaluated, or the cross-validation is of another recipe or other
            data sets.
        ParityLost: the exported graph does not give the network's probabilities; nothing is published.
    """
    folder = RunFolder(run)
    network = folder.network()
    configuration = folder.configuration()
    evidence = _of_the_run(folder) if figures_of is None else _of_the_recipe(folder, figures_of)
    environment = _content(folder.environment_file, "does not say what it learnt from: train anew")
    learnt_from = _content(folder.split_file, "does not say what it learnt from: train anew", _training_files)
    temperature = evidence.point.temperature
    specified = specification(configuration.input_size, evidence.point.rules())
    model = export(network, specified, temperature=temperature)
    checked = parity(network, model, specified, temperature=temperature)
    if not checked.kept:
        raise ParityLost(
            f"The exported graph is wrong by {checked.graph:.1e} in a probability, where rounding alone explains "
            f"{checked.rounding:.1e}: nothing is published. Logits that exploded in training are one cause: look at "
            "the run's curves."
        )
    draft = Draft(
        network=Network(
            name=name_of(network),
            in_channels=1,
            classes=len(specified.classes),
            parameters=sum(parameter.numel() for parameter in network.parameters()),
        ),
        specification=specified,
        temperature=temperature,
        metrics=_headline(evidence.measured["figures"]),
        training_data=_training_data(learnt_from, environment),
        code_commit=environment["code_commit"],
        intended_use=INTENDED_USE,
        licence=LICENCE,
        # Of a recipe's figures none is of these weights: the gate has nothing to compare, and says so.
        evaluated=_evaluated(evidence.measured) if figures_of is None else (),
        precisions=measured_precisions(folder),
        baseline=measured_baseline(folder),
    )
    contents = {
        MODEL: model,
        WEIGHTS: folder.weights_file.read_bytes(),
        "metrics.json": evidence.text,
        "MODEL_CARD.md": model_card(draft, evidence.measured, configuration, of_recipe=figures_of is not None).encode(),
        **_reference_files(model, specified),
    }
    if folder.learnt_from_file.exists():  # runs of before it was written have none
        contents[LEARNT_FROM] = folder.learnt_from_file.read_bytes()
    return store.publish(name, draft, contents)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a version is set to, and how good it was measured to be.

    Args:
        point: Temperature, threshold and minimum area.
        text: The content of `metrics.json`.
        measured: What it says.
    """

    point: OperatingPoint
    text: bytes
    measured: Mapping[str, Any]


def _of_the_run(folder: RunFolder) -> Evidence:
    point = read_operating_point(folder)
    measured = _content(folder.metrics_file, "is not evaluated: run `evaluate` first")
    return Evidence(point, folder.metrics_file.read_bytes(), measured)


def _of_the_recipe(run: RunFolder, cross_validation: Path) -> Evidence:
    configuration = run.configuration()
    folders = finished(cross_validation)
    for folder in folders:
        if folder.configuration().model_copy(update={"seed": configuration.seed}) != configuration:
            raise RunUnusable(f"{folder.path} was trained by another recipe than the run.")
        if folder.sets() != run.sets():
            raise RunUnusable(
                f"{folder.path} is of {', '.join(sorted(folder.sets()))}, and the run of "
                f"{', '.join(sorted(run.sets()))}: their figures are not those of one recipe."
            )
    file = cross_validation / "metrics.json"
    measured = _content(file, "is not evaluated: run `cross-validate` again")
    return Evidence(median_operating_point(folders), file.read_bytes(), measured)


def network_from_version(version: Version, name: str) -> SegmentationNetwork:
    """The network of a published version, ready to be trained on.

    Args:
        version: Of any model.
        name: The network that is wanted, as configurations call it.

    Raises:
        RunUnusable: the version is of another network.
        IntegrityError: its weights are not what was published.
    """
    network = build(name)
    if version.manifest.network.name != name_of(network):
        raise RunUnusable(f"{version} is of {version.manifest.network.name}, the recipe trains {name_of(network)}.")
    try:
        network.load_state_dict(load(version.read(WEIGHTS)))
    except (RuntimeError, SafetensorError) as error:
        raise RunUnusable(f"{version}: {WEIGHTS}: {error}") from error
    return network


def _headline(figures: Mapping[str, Any]) -> dict[str, Metric]:
    return {
        figure: Metric(value=facts["value"], interval=(facts["low"], facts["high"]))
        for figure, facts in figures.items()
        if figure in HEADLINE
    }


def _evaluated(measured: Mapping[str, Any]) -> tuple[Evaluated, ...]:
    """Data set by data set; evaluations of before the images were written down have none."""
    return tuple(
        Evaluated(
            name=name,
            images=facts["images"],
            digest=Digest("sha256", facts["sha256"]),
            metrics=_headline(measured["sets"][name]),
        )
        for name, facts in measured.get("evaluated", {}).items()
    )


def _training_data(files: AbstractSet[str], environment: Any) -> tuple[TrainingData, ...]:
    """What the weights were fitted to, and which weights they were before: a version may not claim BUSI for others."""
    start, learnt = environment["started_from"], environment["images"]["train"]
    # runs of before there were several sets say only the whole, which was in BUSI's layout
    sets = environment.get("learnt_from") or [{"dataset": BUSI, "images": learnt["count"], "sha256": learnt["sha256"]}]
    return tuple(
        TrainingData(
            name=f"{_source(each['dataset'], files)}, training part"
            + (f", beginning with the weights of {start}" if start and each is sets[0] else ""),
            images=each["images"],
            digest=f"sha256:{each['sha256']}",
        )
        for each in sets
    )


def _source(dataset: str, files: AbstractSet[str]) -> str:
    if dataset != BUSI:
        return dataset
    added = len(files - curation().keys())
    return BUSI if not added else "images in BUSI's layout" if added == len(files) else f"BUSI with {added} added"


def _training_files(split: str) -> AbstractSet[str]:
    """Of BUSI, or in its layout."""
    rows = csv.DictReader(split.splitlines())
    return {row["file"] for row in rows if row["part"] == "train" and row.get("dataset", BUSI) == BUSI}


def _content(file: Path, otherwise: str, parse: Callable[[str], Any] = json.loads) -> Any:
    try:
        return parse(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError) as error:
        raise RunUnusable(f"{file.parent} {otherwise} ({file.name}: {error}).") from error


def _reference_files(model: bytes, specified: Specification) -> dict[str, bytes]:
    """The reference images as they are, and the label maps that the version gives for them."""
    predictor = Predictor(model, specified, Computation(provider="cpu"))
    files = {}
    for stem, content in reference_images().items():
        label_map = to_label_map(predictor.predict(decode_image(content)), specified.post_processing)
        files[f"reference/{stem}.png"] = content
        files[f"reference/{stem}.label_map.png"] = palette_png(label_map, specified.classes)
    return files
