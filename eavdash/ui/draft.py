"""Widgets whose values stay while other pages are shown; what a reload keeps is in the address (address.py)."""

from __future__ import annotations

from typing import Any


def kept(page: str, name: str) -> dict[str, Any]:
    """Return the key arguments of a page's widget whose value is kept while other pages are shown."""
    return {"key": f"{page}_{name}", "persist_state": "session"}
