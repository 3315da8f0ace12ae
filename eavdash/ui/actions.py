"""What buttons do: queue, cancel, retry, keep house. Callbacks only; each leaves one message that the page shows.

In: paths and names. The work is that of ``eavdash.studies.write``, ``eavdash.studies.lifecycle`` and
``eavdash.jobs.queue``; every action may be repeated without harm, so that a double click does what one click does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from eavdash.config.schema import Execution, Selection, StudyConfig
from eavdash.errors import EavdashError
from eavdash.store import StudyDir
from eavdash.studies import archive as archiving
from eavdash.studies import extend as extending
from eavdash.studies.overview import size
from eavdash.ui import cached_runs, theme

MESSAGE = "message"  # session state: (kind, text) for the page that is drawn next
TARGET = "explain_target"  # session state: (subject, trial) for the page of explanations


def launch(
    root: str, name: str, config: StudyConfig, selection: Selection, execution: Execution, checkpoints: Path
) -> None:
    """Write the study and queue its runs, then make it the current study."""
    from eavdash.jobs import queue
    from eavdash.jobs.preflight import require_preflight
    from eavdash.studies.write import prepare

    try:
        require_preflight(checkpoints, execution)
        plan = prepare(root, name, config, selection, checkpoints)
        queue.submit(plan.study, plan.runs, execution)
    except EavdashError as error:
        st.session_state[MESSAGE] = ("error", str(error))
        return
    st.session_state["study"] = name
    st.session_state[MESSAGE] = ("queued", f"Queued: {theme.plural(len(plan.runs), 'run')} of the study {name}.")


def cancel(study: StudyDir, runs: Sequence[str] | None = None) -> None:
    """Stop runs, or all of a study."""
    from eavdash.jobs import queue

    _run_action(lambda: queue.cancel(study, runs), lambda _: f"Cancelled: {_run_names(study, runs)}.{_skipped_runs(study, runs, False)}")


def retry(study: StudyDir, runs: Sequence[str] | None = None) -> None:
    """Queue failed and cancelled runs again."""
    from eavdash.studies.write import retry as again

    _run_action(lambda: again(study, runs), lambda _: f"Queued again: {_run_names(study, runs)}.{_skipped_runs(study, runs, True)}")


def pause(study: StudyDir) -> None:
    """Let no further run of a study start."""
    from eavdash.jobs import queue

    _run_action(lambda: queue.pause(study), f"{study.name} is paused: runs under way go on, no other starts.")


def resume(study: StudyDir) -> None:
    """Let the runs of a paused study go on."""
    from eavdash.jobs import queue

    _run_action(lambda: queue.resume(study), f"{study.name} goes on.")


def prioritise(study: StudyDir, runs: Sequence[str] | None, key: str) -> None:
    """Give waiting runs the priority that stands in the widget ``key``."""
    from eavdash.jobs import queue

    priority = int(st.session_state[key])
    _run_action(lambda: queue.prioritise(study, runs, priority), f"Priority {priority}: {_run_names(study, runs)}.")


def probe(study: StudyDir, names: Sequence[str]) -> None:
    """Start the leakage probes of a study in the background, unless somebody probes it."""
    from eavdash.studies import probing

    try:
        probing.start_probing(study, names)
    except EavdashError as error:
        st.session_state[MESSAGE] = ("error", str(error))


def extend(
    study: StudyDir, subjects: Sequence[str], folds: Sequence[int] | None, seeds: Sequence[int] | None, again: bool
) -> None:
    """Add to a study and queue the holes; ``again``: failed and cancelled runs as well."""
    _run_action(
        lambda: extending.extend(study, tuple(subjects) or None, folds, seeds, retry_ended=again),
        lambda made: (
            f"{study.name}: {theme.plural(len(made.queued), 'run')} {'is' if len(made.queued) == 1 else 'are'} queued"
            + (f", {len(made.again)} again." if again else ".")
        ),
    )


def archive(study: StudyDir, drop_resume: bool) -> None:
    """Put a study away."""
    _run_action(
        lambda: archiving.archive(study, drop_resume),
        lambda freed: f"{study.name} is archived" + (f"; {size(freed)} were freed." if freed else "."),
    )


def unarchive(study: StudyDir) -> None:
    """Take a study out of the archive."""
    _run_action(lambda: archiving.unarchive(study), f"{study.name} is in use again.")


def delete(study: StudyDir, typed_key: str) -> None:
    """Delete a study whose name stands in the field of that key."""
    typed = str(st.session_state.get(typed_key) or "").strip()
    _run_action(lambda: archiving.delete(study, typed), f"{study.name} is deleted.")


def open_study(study: StudyDir) -> None:
    """Make a study the current one."""
    st.session_state["study"] = study.name


def ensure_scheduler(root: Path) -> str:
    """Start the queue's conductor if there is work and none is alive; an empty text, or why that did not work."""
    from eavdash.jobs import queue

    try:
        queue.ensure_scheduler(root)
    except EavdashError as error:
        return str(error)
    return ""


def _run_action(work: Callable[[], Any], words: str | Callable[[Any], str]) -> None:
    """Do the work and leave its message (``words`` may make it of the outcome), or why it could not be done."""
    try:
        outcome = work()
        st.session_state[MESSAGE] = ("success", words if isinstance(words, str) else words(outcome))
    except EavdashError as error:
        st.session_state[MESSAGE] = ("error", str(error))
    cached_runs.refresh()


def _skipped_runs(study: StudyDir, runs: Sequence[str] | None, whole: bool) -> str:
    """The runs among them that the queue has left as they are, since their own files cannot be read."""
    from eavdash.jobs.choose import unreadable

    broken = unreadable(study, runs, whole)
    return "".join(f" {name} was left as it is: {why}" for name, why in broken.items())


def _run_names(study: StudyDir, runs: Sequence[str] | None) -> str:
    if runs and len(runs) > 6:
        return f"{', '.join(runs[:5])} and {len(runs) - 5} more"
    return ", ".join(runs) if runs else f"the runs of {study.name}"
