"""Trials whose recording proves unreadable only while a run reads it.

In: a run's trials. Out: the windows of those that can be read, and the others with the reason, for the run's
config.json. Planning leaves out what the health check finds; what changes afterwards, or what only the reader of the
study's own settings refuses, is found here. Studies that were planned without that check fail instead, as they always
did. Delegated to data/inputs.py: which trials those are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import pandas as pd

from eavdash.config.choices import COLUMN
from eavdash.data.inputs import unreadable_trials
from eavdash.data.unusable import kind_of, rows_without, too_few
from eavdash.data.windows import WindowSet
from eavdash.errors import DataError, OutsideError, RecordingError
from eavdash.store import StudyDir
from eavdash.store.documents import LeftOutRecording

if TYPE_CHECKING:
    from eavdash.training.run_context import RunContext

log = logging.getLogger(__name__)
Entry = dict[str, str]


def load_readable(
    context: RunContext, modality: str, load: Callable[..., WindowSet]
) -> tuple[pd.DataFrame, WindowSet, list[Entry]]:
    """Return the trials with this modality that can be read, their windows, and entries for config.json on the others.

    An entry has subject, trial, reason and kind. Trials that the run of this modality has left out are left out here
    too. ``load``: :func:`eavdash.data.inputs.load_windows`.

    Raises:
        DataError: more than half of the subject's trials cannot be read, or all of a class; of a run over several
            subjects, such a subject is left out.
        RecordingError: each trial can be read alone, or the study was planned without checking them.
    """
    trials = context.trials[context.trials[COLUMN[modality]] != ""]
    parent = context.info.parents.get(modality)
    known = context.run.sibling(parent).config().left_out if parent else None
    entries = [entry for entry in known or () if entry.get("kind")]
    trials = rows_without(trials, {(entry["subject"], entry["trial"]) for entry in entries})
    cache = context.run.study.cache_dir
    try:
        return trials, load(trials.drop(columns="split"), modality, context.config, cache), entries
    except RecordingError as error:
        if isinstance(error, OutsideError) or StudyDir.of(context.run).study().left_out is None:
            raise
        found = unreadable_trials(trials, modality, context.config, cache)
        records = [
            LeftOutRecording(subject=s, trial=t, modality=modality, kind=kind_of(e.expected), reason=str(e))
            for (s, t), e in found.items()
        ]
        problems = too_few(trials, records)
        left = rows_without(trials, found)
        left = left[~left["subject"].isin(list(problems))].reset_index(drop=True)
        if not found:
            raise
        if (context.info.subject and problems) or not {"train", "test"} & set(trials["split"]) <= set(left["split"]):
            raise DataError(problems.get(context.info.subject) or str(error)) from error
    kinds = {(r.subject, r.trial): r for r in records}
    kept = set(zip(left["subject"], left["trial"], strict=True))
    for subject, trial in zip(trials["subject"], trials["trial"], strict=True):
        if (subject, trial) in kept:
            continue
        record = kinds.get((subject, trial))
        kind, reason = (record.kind, record.reason) if record else ("subject", problems[subject])
        log.warning("%s: trial %s of subject %s is left out: %s", context.run.name, trial, subject, reason)
        entries.append({"subject": subject, "trial": trial, "reason": reason, "kind": kind})
    return left, load(left.drop(columns="split"), modality, context.config, cache), entries
