"""Ways in which a record of a study can be damaged, and a checkpoints folder with one study of each."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from fake_study import make_study

from eavdash.store import StudyDir


def text(content: str) -> Callable[[Path], object]:
    """Return a damage that replaces the content."""
    return lambda file: file.write_text(content)


def changed(*keys: str, to: object) -> Callable[[Path], object]:
    """Return a damage that gives a nested key another value."""

    def change(file: Path) -> None:
        document = json.loads(file.read_text())
        inner = document
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = to
        file.write_text(json.dumps(document))

    return change


def folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def large(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.truncate(100_000_000)


STUDY: dict[str, Callable[[Path], object]] = {
    "number": text("5"),
    "null": text("null"),
    "nothing": text(""),
    "empty": text("{}"),
    "deep": text("[" * 100_000),
    "nested": text('{"config":' * 100_000),
    "binary": lambda file: file.write_bytes(b"\xff\xfe{}"),
    "folder": folder,
    "fifo": fifo,
    "large": large,
    "selection": changed("selection", to=[]),
    "folds": changed("selection", "folds", to=["0"]),
    "huge-seed": changed("selection", "seeds", to=[10**30]),
    "classes": changed("classes", to="ab"),
    "path": changed("dataset", "path", to=7),
    "simulated": changed("dataset", "simulated", to="no"),
    "naming": changed("naming", to=None),
    "config": changed("config", to=[1]),
    "setting": changed("config", "protocol", "name", to=3),
    "unknown": changed("config", "colour", to="red"),
    "later": changed("schema_version", to=99),
}
CONTROL: dict[str, Callable[[Path], object]] = {
    "control-number": text("5"),
    "control-deep": text("[" * 100_000),
    "control-type": text('{"paused": "yes"}'),
    "control-folder": lambda file: file.mkdir(),
    "control-fifo": lambda file: os.mkfifo(file),
}


def damaged_studies(root: Path) -> list[str]:
    """Make the study ``good`` and one of each damage; return the names of the damaged ones."""
    for name in (*STUDY, *CONTROL):
        damaged_study(root, name)
    return [*STUDY, *CONTROL]


def damaged_study(root: Path, name: str) -> StudyDir:
    """Make the study ``good``, unless there is one, and the study ``name`` with the damage of that name."""
    good, study = StudyDir(root / "good"), StudyDir(root / name)
    if not good.path.exists():
        make_study(root, "good", subjects=("1",), stages=("audio",))
    shutil.copytree(good.path, study.path)
    (STUDY | CONTROL)[name](study.study_file if name in STUDY else study.control_file)
    return study
