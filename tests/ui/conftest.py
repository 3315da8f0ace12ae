"""What all tests of pages share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from streamlit.runtime.fragment import MemoryFragmentStorage
from tasks_at_once import run_at_once


@pytest.fixture(autouse=True)
def background_tasks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The commands of background tasks that pages have started; they run at once, without the queue."""
    return run_at_once(monkeypatch)


@pytest.fixture(autouse=True)
def fragments(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str | None]]:
    """The fragments that pages have drawn, with the one around each: none, as a browser may lose a page with any."""
    seen: dict[str, str | None] = {}
    register = MemoryFragmentStorage.register

    def noted(self: MemoryFragmentStorage, key: str, *args: Any, **more: Any) -> None:
        seen[key] = more.get("parent_fragment_id")
        register(self, key, *args, **more)

    monkeypatch.setattr(MemoryFragmentStorage, "register", noted)
    yield seen
    assert set(seen.values()) <= {None}, "a fragment within another"
