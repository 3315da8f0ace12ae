"""Which other Pythons the tests run with: those that work, and no shim that leads nowhere."""

from __future__ import annotations

import sys
from pathlib import Path

import other_pythons
import pytest

HERE = "{}.{}".format(*sys.version_info)


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_an_interpreter_that_works_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shims, pyenv = tmp_path / "shims", tmp_path / "pyenv"
    monkeypatch.setenv("PATH", f"{shims}:/usr/bin:/bin")
    assert other_pythons.find("3.99", pyenv) is None
    program(shims / "python3.99", "echo 'pyenv: python3.99: command not found' >&2; exit 127")
    assert other_pythons.find("3.99", pyenv) is None
    newer = program(pyenv / "versions" / "3.99.1" / "bin" / "python", "echo 3.99")
    assert other_pythons.find("3.99", pyenv) == newer
    named = program(shims / f"python{HERE}", f'exec {sys.executable} "$@"')
    assert other_pythons.find(HERE, pyenv) == named


def test_a_version_that_is_not_there_is_skipped_with_the_reason(capfd: pytest.CaptureFixture[str]) -> None:
    assert other_pythons.main(["3.99"]) == 0
    assert "Python 3.99: skipped, no such interpreter" in capfd.readouterr().out


def test_what_they_run_exists() -> None:
    assert [part for part in other_pythons.PART if not (other_pythons.HOME / part).exists()] == []
