"""In CI only skips for what is not there are accepted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NEEDS_RECORDINGS = "def test_it(real_data):\n    assert real_data.is_dir()\n"
FORGOTTEN = "import pytest\n\n\ndef test_it():\n    pytest.skip('../shared/data/real is not there')\n"
OTHER = "import pytest\n\n\ndef test_it():\n    pytest.skip('not today')\n"


@pytest.mark.parametrize(
    ("test", "recordings", "code"),
    [(NEEDS_RECORDINGS, False, 0), (FORGOTTEN, True, 1), (OTHER, False, 1)],
    ids=["absent", "present", "another reason"],
)
def test_a_skip_is_accepted_only_for_what_is_not_there(test: str, recordings: bool, code: int, tmp_path: Path) -> None:
    tests = tmp_path / "checkout" / "tests"
    tests.mkdir(parents=True)
    for name in ("conftest.py", "allowed_skips.txt"):
        shutil.copy(HERE / name, tests)
    if recordings:
        (tmp_path / "shared" / "data" / "real").mkdir(parents=True)
    (tests / "test_it.py").write_text(test)
    environment = {**os.environ, "CI": "true", "PYTHONPATH": str(HERE.parent)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(tests)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == code, done.stdout
