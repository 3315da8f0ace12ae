"""A part of the tests with each other Python that eavdash supports and this machine has: ``make test-pythons``.

Each gets an environment of its own from the lock (``.venv-3.12``, ...), made as ``make test`` makes its own. A version
that is not there is skipped with the reason. Only the standard library is used.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HOME = Path(__file__).resolve().parents[1]
VERSIONS = ("3.12", "3.13")
#: Settings, files, readers, models, training, explanations, the queue, every command and every page.
PART = (
    *("tests/config", "tests/store", "tests/test_text.py", "tests/cli/test_cli.py", "tests/ui/test_pages.py"),
    *(f"tests/data/test_{kind}_reader.py" for kind in ("eeg", "audio", "vision")),
    *("tests/models/test_encoders.py", "tests/explain/test_explain_trial.py", "tests/explain/test_whatif.py"),
    *("tests/jobs/test_jobs_queue.py", "tests/jobs/test_jobs_training.py"),
)


def find(version: str, pyenv: Path | None = None) -> Path | None:
    """Return an interpreter of a version that works, from the PATH or from pyenv; a shim may lead nowhere."""
    pyenv = pyenv or Path.home() / ".pyenv"
    named = shutil.which(f"python{version}")
    for file in [*([Path(named)] if named else []), *sorted(pyenv.glob(f"versions/{version}.*/bin/python"))]:
        asked = [str(file), "-c", "import sys, ensurepip; print('%d.%d' % sys.version_info[:2])"]
        done = subprocess.run(asked, capture_output=True, text=True)
        if done.stdout.strip() == version:
            return file
    return None


def main(versions: Sequence[str] = VERSIONS) -> int:
    """Test with each version that is there; return 1 if a test fails with one of them."""
    failed = False
    for version in versions:
        python, folder = find(version), f".venv-{version}"
        if python is None:
            print(f"Python {version}: skipped, no such interpreter on the PATH or in ~/.pyenv", flush=True)
            continue
        print(f"Python {version}: {python}", flush=True)
        made = ["make", f"VENV={folder}", f"PYTHON={python}", f"{folder}/.installed-dev"]
        test = [f"{folder}/bin/python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", *PART]
        failed |= any(subprocess.run(command, cwd=HOME).returncode for command in (made, test))
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:] or VERSIONS))
