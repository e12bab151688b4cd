"""Requirements and tests refer to each other."""

from collections import Counter

from tests.traceability import citations, requirements, table


def test_every_requirement_is_verified_by_a_test() -> None:
    """Or it is a wish."""
    cited = citations()

    assert len(requirements()) > 60
    assert [] == [name for name, _ in requirements() if name not in cited]


def test_every_citation_is_of_a_requirement() -> None:
    """And no id is given twice."""
    names = Counter(name for name, _ in requirements())

    assert citations().keys() <= names.keys()
    assert [] == [name for name, count in names.items() if count > 1]


def test_the_table_names_the_tests_of_each_requirement() -> None:
    """A row each, below the two of its head."""
    rows = list(table())

    assert len(requirements()) + 2 == len(rows)
    assert all("::test_" in row for row in rows[2:])
