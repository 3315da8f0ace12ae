"""The command and the environment with which a Python process of this package is started."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

#: Thread counts of libraries that would otherwise use every core.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
_HOME = Path(__file__).resolve().parents[3]


def python_module(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module; ``-P``: a file in the working directory must not replace a library."""
    return [sys.executable, "-P", "-m", module, *arguments]


def python_environment(threads: int = 0, /, **variables: str) -> dict[str, str]:
    """Return this process's environment with these ``variables``, for a process that imports this copy of the package.

    ``threads``: of the process's libraries; 0: as in this process.
    """
    counts = dict.fromkeys(THREAD_VARIABLES, str(threads)) if threads else {}
    return with_package({**os.environ, **counts, "PYTHONUNBUFFERED": "1", **variables})


def with_package(environment: Mapping[str, str]) -> dict[str, str]:
    """Return ``environment`` changed so that ``import eavdash`` finds this copy from any working directory."""
    rest = [part for part in environment.get("PYTHONPATH", "").split(os.pathsep) if part and part != str(_HOME)]
    # An installed copy is found without it, and its folder must not come before the standard library.
    home = [] if _HOME.name in ("site-packages", "dist-packages") else [str(_HOME)]
    return {**environment, "PYTHONPATH": os.pathsep.join([*home, *rest])}
