"""What all tests of pages share."""

from __future__ import annotations

import pytest
from tasks_at_once import run_at_once


@pytest.fixture(autouse=True)
def background_tasks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The commands of background tasks that pages have started; they run at once, without the queue."""
    return run_at_once(monkeypatch)
