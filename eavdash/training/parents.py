"""The encoder runs that a fusion run builds on, and their windows."""

from __future__ import annotations

from eavdash.store import RunDir
from eavdash.training.run_context import RunContext, Windows, read_windows


def parent(context: RunContext, modality: str) -> RunDir:
    """Return the run in which the encoder of a modality was trained."""
    return context.run.sibling(context.info.parents[modality])


def windows_of_parents(context: RunContext) -> tuple[dict[str, Windows], list[dict[str, str]]]:
    """Return the windows of each parent's modality, and the trials without any modality.

    Raises:
        EavdashError: an encoder is missing or damaged, or the recordings are unusable.
    """
    parts = {}
    gone: dict[tuple[str, str], int] = {}
    for modality in context.info.parents:
        run = parent(context, modality)
        run.verify("model.safetensors")
        windows = read_windows(context, modality, run.config().input.channels)
        if windows is None:
            continue
        for trial in windows.missing:
            gone[trial["subject"], trial["trial"]] = gone.get((trial["subject"], trial["trial"]), 0) + 1
        parts[modality] = windows
    wholly = [k for k, count in gone.items() if count == len(parts)]
    reason = "no recording or training window of any modality"
    return parts, [{"subject": s, "trial": t, "reason": reason} for s, t in wholly]
