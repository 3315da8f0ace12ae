"""What is known of a recording's file: kept until the file changes, released in one place, items by number."""

from __future__ import annotations

from pathlib import Path

import pytest
from failing import fails

from eavdash.data.recording import check_item, per_file, release
from eavdash.errors import RecordingError


@pytest.mark.parametrize("count", [1, 4])
def test_results_are_kept_until_the_file_changes(tmp_path: Path, count: int) -> None:
    asked: list[str] = []

    @per_file(count)
    def words(path: str, more: str = "") -> str:
        asked.append(path)
        return Path(path).read_text() + more

    path = tmp_path / "a.wav"
    path.write_text("one")
    assert (words(str(path)), words(str(path))) == ("one", "one")
    assert len(asked) == 1
    path.write_text("three")
    assert (words(str(path)), words(str(path))) == ("three", "three")
    assert len(asked) == 2
    assert words(str(path), more="!") == "three!"
    release()
    assert words(str(path), more="!") == "three!"
    assert len(asked) == (4 if count == 1 else 3), "only the content of a file is released"
    path.unlink()
    with fails(RecordingError, where=str(path)):
        words(str(path))


@pytest.mark.parametrize("number", [None, 0, 4])
def test_an_item_that_a_file_does_not_have(number: int | None) -> None:
    check_item("a.mat#3", 3, 3)
    with fails(RecordingError, where="a.mat#4", expected="from 1 to 3", found=str(number)):
        check_item("a.mat#4", number, 3)
