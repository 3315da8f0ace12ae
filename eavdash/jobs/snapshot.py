"""The state of every run of a study as one table, read from the runs' files in one pass.

Pages poll this: it needs neither the queue nor torch. What it says is checked against the run's lock, so a run whose
process is gone is never shown as running.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from eavdash.errors import IntegrityError
from eavdash.files import read_json
from eavdash.store import RunDir, StudyDir

COLUMNS = {
    "run": "str",
    "unit": "str",
    "subject": "str",
    "stage": "str",
    "fold": "int64",
    "seed": "int64",
    "state": "str",
    "shown": "str",
    "epoch": "int64",
    "epochs": "int64",
    "reason": "str",
    "attempt": "int64",
    "accuracy": "float64",
    "started": "float64",
    "finished": "float64",
    "heartbeat": "float64",
    "ended": "bool",
}


def ended(status: dict[str, Any]) -> bool:
    """Whether nothing more happens to a run by itself: over, or blocked by a parent that will not be done."""
    blocked = status["state"] == "blocked" and bool(status.get("blocked_by"))
    return blocked or status["state"] in ("done", "failed", "cancelled")


def snapshot(study: StudyDir, runs: Sequence[str] | None = None) -> pd.DataFrame:
    """One row per run, by name.

    Columns: run, unit, subject ("" across subjects), stage, fold, seed, state, shown (the state, or "not responding"),
    epoch, epochs, reason, attempt, accuracy (of test trials, 0..1, NaN before), started, finished, heartbeat (seconds
    since 1970, NaN before) and ended (nothing more happens by itself).
    """
    chosen = study.runs() if runs is None else [study.run(name) for name in runs]
    frame = pd.DataFrame([_row(run) for run in chosen], columns=list(COLUMNS))
    return frame.astype(COLUMNS)


def _row(run: RunDir) -> dict[str, Any]:
    try:
        status = run.live_status()
        config = _config(str(run.config_file), run.config_file.stat().st_mtime_ns)
    except (IntegrityError, FileNotFoundError) as error:
        status = {"state": "failed", "shown": "failed", "reason": str(error)}
        config = {}
    return {
        "run": run.name,
        **{key: str(config.get(key) or "") for key in ("unit", "subject", "stage")},
        **{key: int(config.get(key) or 0) for key in ("fold", "seed")},
        "state": status["state"],
        "shown": status["shown"],
        "reason": str(status.get("reason") or ""),
        **{key: int(status.get(key) or 0) for key in ("epoch", "epochs", "attempt")},
        **{key: status.get(key) for key in ("accuracy", "started", "finished", "heartbeat")},
        "ended": ended(status),
    }


@lru_cache(maxsize=20_000)
def _config(path: str, _changed: int) -> dict[str, Any]:
    """The part of config.json that the table shows; read again only when the file has changed."""
    config = read_json(Path(path))
    return {key: config.get(key) for key in ("unit", "subject", "stage", "fold", "seed")}
