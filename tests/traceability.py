"""Which tests verify which requirements: by the ids of docs/requirements.md that they cite.

As a script it prints the table: `scripts/traceability`.
"""

import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent

_ROW = re.compile(r"^\| ([A-Z]+-\d+) \| (.+) \|$", re.MULTILINE)
_CITATION = re.compile(r"@pytest\.mark\.requirement\(([^)]*)\)\n(?:@[^\n]*\n)*(?:async )?def (test_\w+)\(")
_ID = re.compile(r'"([A-Z]+-\d+)"')


def requirements(repository: Path = REPOSITORY) -> Sequence[tuple[str, str]]:
    """Id and sentence of each requirement, in their order."""
    return _ROW.findall((repository / "docs" / "requirements.md").read_text(encoding="utf-8"))


def citations(repository: Path = REPOSITORY) -> Mapping[str, Sequence[str]]:
    """The tests that cite each id, as pytest names them."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted((repository / "tests").rglob("test_*.py")):
        for ids, test in _CITATION.findall(path.read_text(encoding="utf-8")):
            for cited in _ID.findall(ids):
                found[cited].append(f"{path.relative_to(repository)}::{test}")
    return found


def table() -> Iterator[str]:
    """Each requirement with its tests, as Markdown."""
    cited = citations()
    yield "| id | requirement | verified by |"
    yield "|---|---|---|"
    for name, sentence in requirements():
        tests = "<br>".join(f"`{test}`" for test in cited.get(name, ()))
        yield f"| {name} | {sentence} | {tests} |"


if __name__ == "__main__":
    sys.stdout.write("\n".join(table()) + "\n")
