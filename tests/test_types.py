"""What mypy checks: everything, and every library that has types."""

from __future__ import annotations

import re
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MYPY = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]
#: Libraries of an extra that the development requirements lack.
OPTIONAL = ("alembic", "mlflow")
UNTYPED = [name.removesuffix(".*") for override in MYPY["overrides"] for name in override["module"]]


def test_mypy_is_strict() -> None:
    assert MYPY["strict"]
    assert not {"follow_imports", "ignore_errors"} & {key for each in [MYPY, *MYPY["overrides"]] for key in each}


@pytest.mark.parametrize("library", UNTYPED)
def test_only_libraries_without_types_are_exempt(library: str) -> None:
    spec = find_spec(library)
    if spec is None and library in OPTIONAL:
        pytest.skip("mlflow-skinny is not installed")
    assert spec is not None
    assert spec.origin is not None
    assert not Path(spec.origin).with_name("py.typed").exists()
    assert find_spec(f"{library}-stubs") is None


def test_every_ignored_error_says_which_and_why() -> None:
    for path in (ROOT / "eavdash").rglob("*.py"):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if "# type: ignore" in line:
                assert re.search(r"# type: ignore\[[a-z-]+\]\s+# \w", line), f"{path}:{number}"
