"""Which images a run is of, which are in the table already, and the table: each image once, whatever is killed when.

    OUT/run.json              what the run is: archive, version, spacing, tags
        version.tar           the version, as `model_store export` writes it
        plan/000001.parquet   the images, in batches; a further one for what the archive has gained since
        parts/000000012.parquet   the rows of a batch
        attempts/000000012/   of a batch that was begun and has not ended
        manifest.parquet      the table: all parts, made when every batch has its own

A batch is what its plan says for ever, and its part has its number: whoever does it twice writes the same file again.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
from pyarrow import compute, parquet

from service.archive.asked import MANIFEST
from service.archive.outputs import Outputs
from service.errors import ArchiveUnusable

PLANS, PARTS = "plan", "parts"
FEWEST, MOST = 16, 256
"""Images of a batch. What a machine was at when it died is done again, so a batch takes some seconds."""

BATCHES = 1000
"""How many there are, as far as those bounds leave the choice."""

ROW_GROUP = 50_000
"""Rows of the table that are compressed together."""

_HELD = b"batches"
"""Key in the table's metadata: how many it is of."""

_PART = re.compile(r"([0-9]{9})\.parquet")


@dataclass(frozen=True, slots=True)
class Batch:
    """A piece of work."""

    number: int
    """From 0, over all plans."""
    plan: str
    """Name of the plan's file."""
    row_group: int
    """In which the images are listed there."""

    @property
    def part(self) -> str:
        """Name of the file with its rows."""
        return f"{PARTS}/{self.number:09}.parquet"

    @property
    def attempts(self) -> str:
        """Name of the folder that tells of attempts at it."""
        return f"attempts/{self.number:09}"

    def sources(self, outputs: Outputs) -> list[str]:
        """Its images, in their order."""
        with opened(outputs, f"{PLANS}/{self.plan}") as plan:
            return column(plan.read_row_group(self.row_group), "source")


class Plan:
    """The batches of a run, and what became of them."""

    def __init__(self, outputs: Outputs) -> None:
        self._outputs = outputs

    def batches(self) -> list[Batch]:
        """All of them, in their order."""
        found: list[Batch] = []
        for name in self._outputs.names(PLANS):
            with opened(self._outputs, f"{PLANS}/{name}") as plan:
                count = plan.num_row_groups
            found += [Batch(len(found) + at, name, at) for at in range(count)]
        return found

    def pending(self) -> list[Batch]:
        """Those without a part."""
        done = {int(match[1]) for name in self._outputs.names(PARTS) if (match := _PART.fullmatch(name))}
        return [batch for batch in self.batches() if batch.number not in done]

    def extend(self, sources: Iterable[str]) -> int:
        """Plans the images that have no row yet, or one that says that they could not be read at that time.

        Returns how many these are. All batches before must be done.
        """
        new = sorted(set(sources) - self._settled())
        if new:
            number = len(self._outputs.names(PLANS)) + 1
            size = min(MOST, max(FEWEST, -(-len(new) // BATCHES)))
            table = pa.table({"source": new})
            with self._outputs.writing(f"{PLANS}/{number:06}.parquet") as file:
                parquet.write_table(table, file, row_group_size=size, compression="zstd")
        return len(new)

    def compact(self) -> int:
        """Makes the table of all parts, if there are any, and returns the number of its rows.

        An image that could not be read and was planned again has the row of the newest plan only.
        """
        batches = self.batches()
        if not batches:
            return 0
        newest = self._planned_again(batches)
        rows = 0
        with self._outputs.writing(MANIFEST) as file:
            writer: parquet.ParquetWriter | None = None
            for table in _joined(self._without(self._rows(batch), batch.plan, newest) for batch in batches):
                held = table.replace_schema_metadata({_HELD: str(len(batches))})
                writer = writer or parquet.ParquetWriter(file, held.schema, compression="zstd")
                writer.write_table(held)
                rows += table.num_rows
            if writer:
                writer.close()
        return rows

    @property
    def compacted(self) -> int:
        """Rows of the table, if it is there with all batches; else 0."""
        if MANIFEST not in self._outputs.names(""):
            return 0
        with opened(self._outputs, MANIFEST) as table:
            told = table.schema_arrow.metadata or {}
            return int(table.metadata.num_rows) if told.get(_HELD) == str(len(self.batches())).encode() else 0

    def _rows(self, batch: Batch) -> pa.Table:
        with opened(self._outputs, batch.part) as part:
            return part.read()

    def _settled(self) -> set[str]:
        """Images whose row is final."""
        settled: set[str] = set()
        for batch in self.batches():
            table = self._rows(batch)
            waiting = compute.equal(table["status"], "unavailable")
            settled.update(column(table.filter(compute.invert(waiting)), "source"))
        return settled

    def _planned_again(self, batches: list[Batch]) -> dict[str, str]:
        """The newest plan of each image that is in a plan after the first."""
        later = (batch for batch in batches if batch.plan != batches[0].plan)
        return {source: batch.plan for batch in later for source in batch.sources(self._outputs)}

    @staticmethod
    def _without(table: pa.Table, plan: str, newest: dict[str, str]) -> pa.Table:
        kept = [newest.get(source, plan) == plan for source in column(table, "source")]
        return table.filter(pa.array(kept, pa.bool_()))


@contextmanager
def opened(outputs: Outputs, name: str) -> Iterator[parquet.ParquetFile]:
    """A file of a run, to be read.

    Raises:
        FileNotFoundError: It is not there.
        ArchiveUnusable: It is damaged.
    """
    with outputs.open(name) as file:
        try:
            yield parquet.ParquetFile(file)
        except (pa.ArrowInvalid, OSError) as error:
            # Without its plan nobody knows what a part is of; all else is made again.
            helps = "name another folder" if name.startswith(PLANS) else "remove it, and give the same command again"
            raise ArchiveUnusable(f"{name} is damaged: {helps}.") from error


def column(table: pa.Table, name: str) -> list[str]:
    """The texts in a column."""
    found: list[str] = table[name].to_pylist()
    return found


def _joined(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of at least ROW_GROUP rows, but for the last."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(each.num_rows for each in waiting) >= ROW_GROUP:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)
