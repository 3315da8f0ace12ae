"""Progress of a command that runs as a task of the queue."""

from __future__ import annotations


def report_progress(done: int, total: int, doing: str = "") -> None:
    """Report that ``done`` of ``total`` steps are done, and what comes next; does nothing outside a task."""
