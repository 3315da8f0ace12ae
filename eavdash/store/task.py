"""Progress of a command that runs as a task in the background."""

from __future__ import annotations


def report_progress(done: int, total: int, doing: str = "") -> None:
    """Report ``done`` of ``total`` steps; nothing happens outside a task."""
