"""Callbacks of buttons: queue, cancel, retry, archive, delete. Each leaves one message for the page to show.

In: paths and names. ``eavdash.studies`` and ``eavdash.jobs.queue`` do the work; every action is idempotent, so that a
double click has the effect of a single one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from eavdash.config.schema import Execution, Selection
from eavdash.errors import EavdashError
from eavdash.jobs import queue
from eavdash.jobs.choose import unreadable
from eavdash.jobs.preflight import require_preflight
from eavdash.store import StudyDir
from eavdash.studies import archive as archives
from eavdash.studies import extend as extension
from eavdash.studies import write
from eavdash.studies.sweep import Member
from eavdash.studies.unusable import Unusable
from eavdash.text import plural, size
from eavdash.ui import cached_runs

MESSAGE = "message"  # session state: (kind, text or error) for the next page run
NEXT = "study_next"  # session state: the study to select when the picker is shown next
TARGET = "explain_target"  # session state: (subject, trial) for the page One trial


def launch(
    root: str,
    members: Sequence[Member],
    selection: Selection,
    execution: Execution,
    checkpoints: Path,
    unusable: Unusable | None = None,
) -> bool:
    """Write the studies and queue their runs, make the first the current one; return True if that succeeded.

    Nothing is written if one of several studies cannot be planned.
    """

    def queue_runs() -> int:
        require_preflight(checkpoints, execution)
        runs = 0
        for act in (write.plan, write.prepare) if len(members) > 1 else (write.prepare,):
            plans = [act(root, m.name, m.config, selection, checkpoints, unusable=unusable) for m in members]
        for plan in plans:
            queue.submit(plan.study, plan.runs, execution)
            runs += len(plan.runs)
        st.session_state[NEXT] = members[0].name  # the picker has been shown in this run
        return runs

    names = f"the study {members[0].name}" if len(members) == 1 else f"the studies {', '.join(m.name for m in members)}"
    return run_action(queue_runs, lambda runs: f"Queued: {plural(runs, 'run')} of {names}.", success="toast")


def cancel(study: StudyDir, runs: Sequence[str] | None = None) -> None:
    """Cancel runs, or all runs of a study."""
    run_action(
        lambda: queue.cancel(study, runs),
        lambda _: f"Cancelled: {_run_names(study, runs)}.{_skipped_runs(study, runs, False)}",
    )


def retry(study: StudyDir, runs: Sequence[str] | None = None) -> None:
    """Queue failed and cancelled runs again."""
    run_action(
        lambda: write.retry(study, runs),
        lambda _: f"Queued again: {_run_names(study, runs)}.{_skipped_runs(study, runs, True)}",
    )


def pause(study: StudyDir) -> None:
    """Pause a study: no further run of it starts."""
    run_action(lambda: queue.pause(study), f"{study.name} is paused: running runs continue, no others start.")


def resume(study: StudyDir) -> None:
    """Resume a paused study."""
    run_action(lambda: queue.resume(study), f"{study.name} is resumed.")


def prioritise(study: StudyDir, runs: Sequence[str] | None, key: str) -> None:
    """Set the priority of waiting runs to the value of the widget ``key``."""
    priority = int(st.session_state[key])
    run_action(lambda: queue.prioritise(study, runs, priority), f"Priority {priority}: {_run_names(study, runs)}.")


def extend(
    study: StudyDir, subjects: Sequence[str], folds: Sequence[int] | None, seeds: Sequence[int] | None, again: bool
) -> None:
    """Add subjects, folds or seeds and queue the new runs; ``again``: also failed and cancelled runs."""
    run_action(
        lambda: extension.extend(study, tuple(subjects) or None, folds, seeds, retry_ended=again),
        lambda made: (
            f"{study.name}: {plural(len(made.queued), 'run is', 'runs are')} queued"
            + (f", {len(made.again)} again." if again else ".")
        ),
    )


def archive(study: StudyDir, drop_resume: bool) -> None:
    """Archive a study."""
    run_action(
        lambda: archives.archive(study, drop_resume),
        lambda freed: f"{study.name} is archived" + (f"; {size(freed)} were freed." if freed else "."),
    )


def unarchive(study: StudyDir) -> None:
    """Take a study out of the archive."""
    run_action(lambda: archives.unarchive(study), f"{study.name} is no longer archived.")


def delete(study: StudyDir, typed_key: str) -> None:
    """Delete a study if its name was typed in the field ``typed_key``."""
    typed = str(st.session_state.get(typed_key) or "").strip()
    run_action(lambda: archives.delete(study, typed), f"{study.name} is deleted.")


def open_study(study: StudyDir) -> None:
    """Make a study the current one."""
    st.session_state["study"] = study.name


def run_action(action: Callable[[], Any], text: str | Callable[[Any], str], success: str = "success") -> bool:
    """Run an action and leave its message, which may be made from the outcome, or its error; return True without one.

    ``success``: the kind of its message; a ``toast`` is shown above whatever page is open.
    """
    try:
        outcome = action()
        st.session_state[MESSAGE] = (success, text if isinstance(text, str) else text(outcome))
        return True
    except EavdashError as error:
        st.session_state[MESSAGE] = ("error", error)
        return False
    finally:
        cached_runs.refresh()


def _skipped_runs(study: StudyDir, runs: Sequence[str] | None, whole: bool) -> str:
    """Return sentences about the runs that were skipped because their files cannot be read."""
    skipped = unreadable(study, runs, whole)
    return "".join(f" {name} was left as it is: {reason}" for name, reason in skipped.items())


def _run_names(study: StudyDir, runs: Sequence[str] | None) -> str:
    if runs and len(runs) > 6:
        return f"{', '.join(runs[:5])} and {len(runs) - 5} more"
    return ", ".join(runs) if runs else f"the runs of {study.name}"
