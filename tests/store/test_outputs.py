"""What a user names for output is checked before any work, and the remedy fits it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_study import make_study

from eavdash.cli.main import main
from eavdash.errors import TrainingError, UsageError
from eavdash.store import outputs


def test_places_are_made_and_left_empty(tmp_path: Path) -> None:
    file = outputs.output_file(tmp_path / "new" / "folder" / "report.html")
    assert file.parent.is_dir()
    assert not list(file.parent.iterdir())
    outputs.write_output(file, lambda handle: handle.write(b"x"))
    assert outputs.output_file(file).read_bytes() == b"x"  # checking changes nothing


@pytest.mark.parametrize("check", [outputs.output_file, outputs.output_folder])
def test_a_place_that_cannot_be_written_is_named_with_what_helps(check: Callable[[Path], Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="choose another place"):
        check(tmp_path / "file" / "report")
    with pytest.raises(UsageError, match="choose another place"):
        check(Path("/proc/none/report"))
    with pytest.raises(UsageError, match="name a file in it"):
        outputs.output_file(tmp_path)


def test_what_is_no_file_is_never_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/null")
    (tmp_path / "dangling").symlink_to("none")
    for name, found in (("pipe", "a device or a pipe"), ("link", "a link"), ("dangling", "a link")):
        before = os.lstat(tmp_path / name)
        for write in (outputs.output_file, lambda file: outputs.write_output(file, lambda handle: handle.write(b"x"))):
            with pytest.raises(UsageError, match=f"expected a file, found {found}; name "):
                write(tmp_path / name)
        assert os.path.samestat(os.lstat(tmp_path / name), before)
    with pytest.raises(UsageError, match="found a device"):
        outputs.output_file("/dev/null")


@pytest.mark.parametrize("place", ["~nosuchuser/report.html", f"{'n' * 300}"])
def test_a_home_of_nobody_and_a_name_too_long_are_said_in_a_sentence(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_study(tmp_path / "c", subjects=("1",), stages=("eeg",), trials=2)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~nosuchuser").write_text("")
    for words in (["report", "demo", "--checkpoints", "c", "--output", place], ["studies", "--checkpoints", place]):
        assert main(words) == 2
        assert "choose another " in capsys.readouterr().err


def test_a_full_disk_is_no_matter_of_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrainingError, match="No space left on device; choose another place") as raised:
        outputs.write_output(tmp_path / "report.html", lambda handle: handle.write(b"x"))
    assert "epoch" not in str(raised.value)


@pytest.mark.parametrize(
    "words",
    [
        ["report", "demo", "--output", "BAD"],
        ["report", "demo", "--figures", "BAD"],
        ["whatif", "demo", "--subject", "1", "--trial", "2", "--drop", "audio", "--output", "BAD"],
        ["check", "RECORDINGS", "--csv", "BAD"],
        ["check", "RECORDINGS", "--contact-sheet", "BAD"],
        ["make-demo", "BAD"],
    ],
)
def test_commands_check_the_place_first(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_study(tmp_path / "c", subjects=("1",), stages=("eeg",), trials=2)
    monkeypatch.setenv("EAVDASH_CHECKPOINTS", str(tmp_path / "c"))
    (tmp_path / "file").write_text("")
    before = {p for p in tmp_path.rglob("*") if p.is_file()}
    places = {"BAD": str(tmp_path / "file" / "x"), "RECORDINGS": str(tmp_path / "none")}
    assert main([places.get(word, word) for word in words]) == 2
    said = capsys.readouterr().err
    assert "choose another" in said or "another folder" in said
    assert "epoch" not in said
    assert before == {p for p in tmp_path.rglob("*") if p.is_file()}
