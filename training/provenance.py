"""What a run is made of, written down before it starts."""

import csv
import hashlib
import io
import json
import platform
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

from training.configuration import Configuration
from training.datasets.folds import Split
from training.datasets.records import Record
from training.errors import RunUnusable
from training.run_folder import RunFolder

LEARNT_COLUMNS = ("part", "dataset", "file", "group", "sha256")
"""Of learnt_from.csv."""

PACKAGES = ("torch", "pytorch-lightning", "monai", "numpy", "pillow")


@dataclass(frozen=True, slots=True)
class Start:
    """The version whose weights a run begins with.

    Args:
        digest: Of the version.
        learnt_from: The text of its `learnt_from.csv`, with which the run's own goes on; empty if it has none.
    """

    digest: str
    learnt_from: str


def describe(
    folder: RunFolder,
    configuration: Configuration,
    split: Split,
    *,
    start: Start | None = None,
    taught_by: Path | None = None,
) -> None:
    """Writes what the run is.

    Args:
        folder: Of the run.
        configuration: Its recipe.
        split: Its parts.
        start: The version whose weights it begins with.
        taught_by: Folder of the run that teaches it.

    Raises:
        RunUnusable: the folder cannot be written to.
    """
    before = (start.learnt_from if start else "", RunFolder(taught_by).learnt_from() if taught_by else "")
    environment = {
        "code_commit": code_commit(),
        "started_from": start.digest if start else None,
        # its name, not where it lies: what is written here may be published
        "taught_by": "/".join(taught_by.resolve().parts[-2:]) if taught_by else None,
        "start_known": bool(start and start.learnt_from),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "images": {
            part: {"count": len(records), "sha256": digest_of(records)}
            for part, records in (("train", split.train), ("validation", split.validation), ("test", split.test))
        },
        "learnt_from": [
            {"dataset": name, "images": len(records), "sha256": digest_of(records)}
            for name, records in _by_dataset(split.train)
        ],
    }
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.split_file.write_text(split.as_csv(), encoding="utf-8")
        folder.learnt_from_file.write_text(_learnt_from(split, before), encoding="utf-8")
        folder.environment_file.write_text(json.dumps(environment, indent=2) + "\n", encoding="utf-8")
        # last: a folder with a configuration holds a run
        folder.configuration_file.write_text(configuration.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise RunUnusable(f"{folder.path} cannot be written to: {error.strerror}.") from error


def digest_of(records: Iterable[Record]) -> str:
    """SHA-256 over the names and bytes of all images and masks, in order of name: 64 hex digits."""
    total = hashlib.sha256()
    for record in sorted(records, key=lambda record: record.key):
        for path in record.files:
            total.update(f"{_sha256(path)}  {record.kind}/{path.name}\n".encode())
    return total.hexdigest()


def code_commit() -> str:
    """Commit of this checkout, with `+changes` behind it if files differ, or `unknown` outside of one."""
    root = Path(__file__).parent
    try:
        commit, changes = (
            subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout.strip()
            for words in (("rev-parse", "HEAD"), ("status", "--porcelain"))
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit + ("+changes" if changes else "")


def _learnt_from(split: Split, before: Iterable[str]) -> str:
    """One line an image: by its digest it is known again under another name. What was learnt before comes last."""
    lines: list[tuple[str, ...]] = [
        (part, record.dataset, record.name, record.group, _sha256(record.files[0]))
        for part in ("train", "validation")
        for record in getattr(split, part)
    ]
    for text_before in before:
        table = csv.DictReader(io.StringIO(text_before))
        lines += [tuple(line[column] for column in LEARNT_COLUMNS) for line in table]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([LEARNT_COLUMNS, *dict.fromkeys(lines)])
    return text.getvalue()


def _by_dataset(records: Iterable[Record]) -> Iterator[tuple[str, list[Record]]]:
    of_set: dict[str, list[Record]] = {}
    for record in records:
        of_set.setdefault(record.dataset, []).append(record)
    yield from of_set.items()


def _sha256(path: Path) -> str:
    return _sha256_at(path, path.stat().st_mtime_ns)


@cache  # a file may hold many images
def _sha256_at(path: Path, mtime_ns: int) -> str:
    del mtime_ns  # a file that was changed is read again
    return hashlib.sha256(path.read_bytes()).hexdigest()
