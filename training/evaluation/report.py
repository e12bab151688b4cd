"""The report of an evaluation: one page for people that needs nothing beside it, and `metrics.json` for programs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from training.datasets.folds import busi_folds
from training.datasets.records import CLASS_NUMBERS, Record
from training.evaluation.cases import REGIONS, Case, EvaluationFolder
from training.evaluation.charts import agreement, reliability, risk_coverage, size_against_dice, type_reliability
from training.evaluation.figures import HEADLINE, groups, image_matrices, in_short
from training.evaluation.pictures import Picture, picture
from training.evaluation.pixels import CLASS_NAMES
from training.evaluation.pooling import of_first_seed
from training.evaluation.sample import Figure, Sample
from training.evaluation.subsets import folds, subsets
from training.evaluation.words import caveats, in_words
from training.provenance import digest_of

SHOWN = 8
"""Pictures of the best, of the median and of the worst found cases."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a report says beside the figures.

    Args:
        title: What was evaluated, in a few words.
        facts: What was evaluated, fact by fact.
        grid: Rows and columns of the network's input.
        records: By key, those whose pictures can be drawn.
        label_maps: Where label maps are looked for, in this order.
        part: Of the split, or `test` where there is none.
        notes: What a reader must know of this very evaluation.
    """

    title: str
    facts: Mapping[str, str]
    grid: tuple[int, int]
    records: Mapping[str, Record]
    label_maps: tuple[EvaluationFolder, ...]
    part: str = "test"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gallery:
    """Pictures of one kind."""

    title: str
    explained: str
    pictures: tuple[Picture, ...]
    without: tuple[Case, ...]
    """Cases whose image or label map is not at hand."""


def write_report(cases: Sequence[Case], context: Context, out: Path) -> Mapping[str, Figure]:
    """Writes OUT/report.html and then OUT/metrics.json, and gives all figures by name.

    Of several seeds the figures are those of the first, and the others are shown beside it: an image that is tested
    twice does not count for two.
    """
    first = of_first_seed(cases)
    grouped = groups(first)
    figures = {name: figure for group in grouped.values() for name, figure in group.items()}
    out.mkdir(parents=True, exist_ok=True)
    page = _template().render(
        context=context,
        cases=first,
        words=in_words(first, figures),
        caveats=caveats(first),
        headline={name: figures[name] for name in HEADLINE if figures[name].count},
        groups={title: {n: f for n, f in group.items() if f.count} for title, group in grouped.items()},
        subsets=_rows(subsets(first)),
        folds=_rows(folds(cases)),
        matrices=matrices(first),
        charts=_charts(first),
        galleries=galleries(first, context),
        counts={kind: sum(case.kind == kind for case in first) for kind in CLASS_NUMBERS},
        groups_count=len({case.group for case in first}),
    )
    (out / "report.html").write_text(page, encoding="utf-8")
    (out / "metrics.json").write_text(metrics_json(first, context, figures), encoding="utf-8")
    return figures


def metrics_json(cases: Sequence[Case], context: Context, figures: Mapping[str, Figure]) -> str:
    """The content of `metrics.json`: what was measured, and every figure that is of any image."""
    answer = {
        "part": context.part,
        "folds": sorted({busi_folds()[case.group] for case in cases if case.group in busi_folds()}),
        "grid": list(context.grid),
        "images": len(cases),
        "datasets": sorted({case.dataset for case in cases}),
        "figures": {name: asdict(figure) for name, figure in figures.items() if figure.count},
        "sets": {name: _headline_of(cases, name) for name in sorted({case.dataset for case in cases})},
        "evaluated": _evaluated(cases, context.records),
        "confusion": {name: matrix.tolist() for name, matrix in matrices(cases).items()},
        "notes": list(context.notes),
    }
    return json.dumps(answer, indent=2) + "\n"


def _evaluated(cases: Sequence[Case], records: Mapping[str, Record]) -> Mapping[str, Mapping[str, Any]]:
    """By data set, number and digest of the measured images, by which two evaluations know that they are of the same.

    A data set of which images are not at hand is left out.
    """
    keys: dict[str, list[str]] = {}
    for case in cases:
        keys.setdefault(case.dataset, []).append(case.key)
    return {
        name: {"images": len(of_set), "sha256": digest_of(records[key] for key in of_set)}
        for name, of_set in sorted(keys.items())
        if records.keys() >= set(of_set)
    }


def _headline_of(cases: Sequence[Case], dataset: str) -> Mapping[str, Mapping[str, Any]]:
    """The figures that matter most, of one data set: of several together they say what no hospital sees."""
    figures = in_short([case for case in cases if case.dataset == dataset])
    return {name: asdict(figures[name]) for name in HEADLINE if name in figures and figures[name].count}


def matrices(cases: Sequence[Case]) -> Mapping[str, NDArray[np.int64]]:
    """(3, 3) counts of images and of pixels, by reference (rows) and answer (columns)."""
    sample = Sample(cases)
    return {
        "images": image_matrices(sample).sum(axis=0).astype(np.int64),
        "pixels": sample.counts.sum(axis=0).astype(np.int64),
    }


def galleries(cases: Sequence[Case], context: Context) -> tuple[Gallery, ...]:
    """The best, median and worst found cases, every miss, and every false alarm."""
    tumour = sorted((case for case in cases if case.kind != "normal"), key=lambda case: (-case.dice, case.key))
    found = [case for case in tumour if case.found]
    middle = max(0, len(tumour) // 2 - SHOWN // 2)
    chosen = (
        ("Best", "The tumours with the highest Dice.", found[:SHOWN]),
        ("Median", "As many do better as do worse.", tumour[middle : middle + SHOWN]),
        ("Worst of those found", "Found, with the lowest Dice.", found[: -SHOWN - 1 : -1]),
        (
            "Every miss",
            "Tumours whose marked area has less than 0.1 of IoU with the reference.",
            [case for case in tumour if not case.found],
        ),
        (
            "Every false alarm",
            "Images of healthy breasts in which something is marked.",
            sorted(
                (case for case in cases if case.kind == "normal" and case.largest_share),
                key=lambda case: -case.largest_share,
            ),
        ),
    )
    return tuple(_gallery(*each, context) for each in chosen)


def _gallery(title: str, explained: str, cases: Sequence[Case], context: Context) -> Gallery:
    drawn = {
        case: picture(case, context.records[case.key], context.label_maps) if case.key in context.records else None
        for case in cases
    }
    return Gallery(
        title,
        explained,
        tuple(each for each in drawn.values() if each is not None),
        tuple(case for case, each in drawn.items() if each is None),
    )


def _charts(cases: Sequence[Case]) -> Mapping[str, str]:
    sample = Sample(cases)
    return {
        **{f"reliability {name}": reliability(sample, region) for region, name in enumerate(REGIONS)},
        "reliability type": type_reliability(sample),
        "agreement": agreement(sample),
        "risk": risk_coverage(sample),
        "size": size_against_dice(cases),
    }


def _rows(parts: Mapping[str, Sequence[Case]]) -> Mapping[str, tuple[int, Mapping[str, Figure]]]:
    return {name: (len(members), in_short(members)) for name, members in parts.items()}


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["class_names"] = CLASS_NAMES
    return environment.get_template("report.html.jinja")
