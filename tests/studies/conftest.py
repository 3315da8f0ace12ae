"""A fake queue for the tests of studies."""

from __future__ import annotations

import time

import pytest

from eavdash.config.schema import Execution
from eavdash.store import StudyDir


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], Execution]]:
    """The runs submitted to a fake queue; like the real one, it gives each run a submission token."""
    asked: list[tuple[list[str], Execution]] = []

    def submit(study: StudyDir, runs: list[str], execution: Execution, *, given: bool = True) -> None:
        asked.append((list(runs), execution))
        for name in runs:
            settings = {"device": execution.device, "threads": execution.threads}
            study.run(name).update(submission=f"{time.time_ns():x}", execution=settings)

    monkeypatch.setattr("eavdash.jobs.queue.submit", submit)
    return asked
