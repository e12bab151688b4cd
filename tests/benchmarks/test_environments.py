"""Tests of the environments of what the product is compared with."""

from pathlib import Path

import pytest

from benchmarks.environments import interpreter


@pytest.mark.system
def test_an_environment_is_made_once_and_again_where_it_was_cut_off_or_its_list_changed(tmp_path: Path) -> None:
    """With an empty list nothing is fetched."""
    (tmp_path / "peer.txt").write_text("", encoding="utf-8")

    def made() -> bool:
        """Whether it is made by this call: a file that was put there before is gone then."""
        kept = tmp_path / "peer" / "kept"
        if kept.parent.exists():
            kept.touch()
        assert interpreter("peer", home=tmp_path, requirements=tmp_path).exists()
        return not kept.exists()

    assert [True, False] == [made(), made()]
    (tmp_path / "peer" / "peer.txt").unlink()
    assert [True, False] == [made(), made()]
    (tmp_path / "peer.txt").write_text("# another\n", encoding="utf-8")
    assert [True, False] == [made(), made()]
