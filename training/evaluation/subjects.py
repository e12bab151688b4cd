"""What is measured: a run on its own test part or elsewhere, or a published version."""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from efsnet.predictor import Computation, Predictor
from efsnet.specification import PostProcessing
from model_store.loading import load
from model_store.version import Version
from training.datasets.folds import Split, folds_of
from training.datasets.records import Record
from training.errors import NothingToTest, RunUnusable
from training.evaluation.cases import EvaluationFolder
from training.evaluation.measuring import Subject, measure_all, predictions
from training.evaluation.operating_point import OperatingPoint, Rule, choose, read_operating_point
from training.evaluation.pooling import evaluation_of
from training.evaluation.report import Context, write_report
from training.evaluation.sample import Figure
from training.evaluation.unseen import Learnt, split_of, to_be_tested, unseen_by
from training.export.onnx_export import export
from training.run_folder import RunFolder
from training.specification import specification

Part = Literal["train", "validation", "test"]


def evaluate_run(folder: RunFolder, split: Split) -> Mapping[str, Figure]:
    """Chooses an operating point on the validation part, measures the test part, and writes all of it into the run.

    Raises:
        RunUnusable: the run is not finished, or holds nothing out.
    """
    if not (split.validation and split.test):
        raise RunUnusable(
            f"{folder.path} holds nothing out to be measured on: cross-validate its recipe, and publish it with "
            "--figures-of that."
        )
    predictor = _predictor(folder)
    point = choose(predictions(predictor, split.validation))
    folder.operating_point_file.write_text(point.as_json(), encoding="utf-8")
    cases = measure_all(_subject(folder, predictor, point, split.test), split.test, evaluation_of(folder))
    return write_report(cases, context_of_runs([folder], split.test), folder.path)


def evaluate_again(folder: RunFolder, records: Sequence[Record]) -> Mapping[str, Figure]:
    """`evaluate_run` on the split that the run was made with.

    Raises:
        RunUnusable: the run is not finished or holds nothing out, or `records` are not of exactly the sets that it
            was split over.
        SplitDiffers: images of the split are not in the sets.
    """
    split, others, missing = split_of(folder, records)
    if others or missing:
        raise RunUnusable(
            f"{folder.path} was split over {', '.join(sorted({each.dataset for each in _all(split)} | {*missing}))}: "
            "give exactly these to measure it again, or say with --out where figures of other sets shall be."
        )
    return evaluate_run(folder, split)


def evaluate_elsewhere(
    folder: RunFolder, records: Sequence[Record], part: Part, out: Path, *, without: Collection[Rule] = ()
) -> Mapping[str, Figure]:
    """Measures an evaluated run on one part of the sets that it was split over, and on all of any other set.

    Args:
        folder: Of the run.
        records: Of the sets.
        part: Of the run's split.
        out: Where cases and report are written.
        without: Rules of the post-processing that are left out.

    Raises:
        RunUnusable: the run is not finished or not evaluated.
        SplitDiffers: images of the split are not in the sets.
        NothingToTest: there is no such image.
    """
    point = read_operating_point(folder)
    split, others, _ = split_of(folder, records)
    unseen, seen_before = _unseen_by_run(folder, others)
    measured = (*getattr(split, part), *unseen)
    if not measured:
        raise NothingToTest(f"None of these images is in the {part} part of {folder.path}.")
    subject = replace(_subject(folder, _predictor(folder), point, measured), rules=point.rules(without))
    cases = measure_all(subject, measured, EvaluationFolder(out))
    context = context_of_runs([folder], measured)
    notes = list(context.notes)
    if part != "test":
        notes.append(f"These images are of the {part} part, with which the network was made.")
    if seen_before:
        notes.append(f"{seen_before} images were left out: the network, or the one that it began as, learnt from them.")
    if without:
        notes.append(f"Post-processing was done without: {', '.join(sorted(without))}.")
    context = replace(context, part=part, label_maps=(EvaluationFolder(out),), notes=tuple(notes))
    return write_report(cases, context, out)


def evaluate_version(version: Version, records: Sequence[Record], out: Path) -> Mapping[str, Figure]:
    """Measures a published version on what it has not learnt from.

    Raises:
        NothingToTest: it has learnt from everything.
        IntegrityError: the version is damaged.
    """
    manifest, specified = version.manifest, version.manifest.specification
    measured, notes = unseen_by(version, records)
    if not measured:
        raise NothingToTest(f"{version} has learnt from all of these images, or something was chosen on them.")
    predictor = load(version, Computation(threads=_threads())).predictor
    subject = Subject(predictor, specified.post_processing, before=1 / manifest.temperature, after=1.0)
    cases = measure_all(subject, measured, EvaluationFolder(out))
    context = Context(
        title=f"{version.name}, version {version.number}",
        facts={
            "Network": f"{manifest.network.name}, {manifest.network.parameters:,} parameters",
            "Digest": str(version.digest),
            "Learnt from": "; ".join(f"{each.name}, {each.images} images" for each in manifest.training_data),
            "Temperature": f"{manifest.temperature}",
            **_said(specified.post_processing),
            "Code": manifest.code_commit,
        },
        grid=(specified.input.rows, specified.input.columns),
        records={record.key: record for record in measured},
        label_maps=(EvaluationFolder(out),),
        notes=notes,
    )
    return write_report(cases, context, out)


def context_of_runs(folders: Sequence[RunFolder], records: Iterable[Record]) -> Context:
    """What the report of one run says of it, or of the folds of a cross-validation.

    Args:
        folders: Of evaluated runs of one recipe.
        records: Those that were measured; what is not among them has no picture.

    Raises:
        RunUnusable: a run is not evaluated.
    """
    first = folders[0].configuration()
    points = [read_operating_point(folder) for folder in folders]
    environments = [folder.environment() for folder in folders]
    unknown = {
        str(environment.get("started_from") or "") for environment in environments if not environment.get("start_known")
    } - {""}
    learnt = [environment.get("images", {}).get("train", {}).get("count") for environment in environments]
    side = first.input_size
    return Context(
        title=f"Recipe {first.name}" if len(folders) == 1 else f"Recipe {first.name}, {len(folders)} runs pooled",
        facts={
            "Network": first.network,
            "Folders": _listed(folder.path.name for folder in folders),
            "Seed": _listed(folder.configuration().seed for folder in folders),
            "Learnt from": f"{_listed(count for count in learnt if count is not None) or 'unknown'} images",
            "Temperature": _listed(point.temperature for point in points),
            "A pixel is tumour from a probability of": _listed(point.tumour_threshold for point in points),
            "Lesions dropped below": f"{_listed(100 * point.minimum_area_fraction for point in points)} % of the image",
            "Code": _listed(environment.get("code_commit", "unknown") for environment in environments),
        },
        grid=(side, side),
        records={record.key: record for record in records},
        label_maps=tuple(evaluation_of(folder) for folder in folders),
        notes=tuple(
            f"The network began with the weights of {digest}: what that one learnt from is not looked at here."
            for digest in sorted(unknown)
        ),
    )


def _unseen_by_run(folder: RunFolder, others: Sequence[Record]) -> tuple[tuple[Record, ...], int]:
    """What is tested of sets that a run was not split over, and how many images are not, since it knows them."""
    chosen = to_be_tested(others)
    unseen = Learnt.from_csv(folder.learnt_from()).unseen(chosen, others)
    return unseen, len(chosen) - len(unseen)


def _predictor(folder: RunFolder) -> Predictor:
    """Of the exported network, at temperature 1."""
    uncalibrated = specification(folder.configuration().input_size, OperatingPoint(1.0, 0.5, 0.0).rules())
    return Predictor(export(folder.network(), uncalibrated), uncalibrated, Computation(threads=_threads()))


def _subject(folder: RunFolder, predictor: Predictor, point: OperatingPoint, measured: Iterable[Record]) -> Subject:
    folds = folds_of(measured)
    return Subject(
        predictor,
        point.rules(),
        before=1.0,
        after=point.temperature,
        fold=folds[0] if len(folds) == 1 else None,
        seed=folder.configuration().seed,
    )


def _said(rules: PostProcessing) -> dict[str, str]:
    return {
        "A pixel is tumour from a probability of": f"{rules.tumour_threshold}",
        "Lesions dropped below": f"{100 * rules.minimum_area_fraction:g} % of the image",
    }


def _listed(values: Iterable[object]) -> str:
    """In their order; one alone where all are alike."""
    told = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
    return ", ".join(told[:1] if len(set(told)) == 1 else told)


def _all(split: Split) -> tuple[Record, ...]:
    return (*split.train, *split.validation, *split.test, *split.left_out)


def _threads() -> int:
    return os.cpu_count() or 1
