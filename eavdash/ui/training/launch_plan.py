"""The plan of the launch form's study: its runs, time and disk space, the command line, and the button that queues.

In: a :class:`~eavdash.ui.training.launch_form.Request`. Out: the plan on the page, messages below the fields that it
concerns, and on a press the runs in the queue.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from eavdash.config.choices import MODALITIES, STAGES
from eavdash.config.convert import recorded_config, settings_of, text_of
from eavdash.config.presets import preset
from eavdash.config.schema import Execution, StudyConfig
from eavdash.config.setting import value_of
from eavdash.errors import EavdashError, StudyConflictError
from eavdash.jobs import estimates
from eavdash.report import theme
from eavdash.results.left_out import sentences
from eavdash.results.marks import marks_of
from eavdash.store import StudyDir
from eavdash.studies.checks import fewer_folds_notes
from eavdash.studies.command_line import train_command
from eavdash.text import code, markdown, plural, size, with_stop
from eavdash.ui import actions, cached_data, cached_results, cached_runs, scanning, tasks, widgets
from eavdash.ui.training import copy_settings, execution_form, form_state, from_data
from eavdash.ui.training.fields import Messages
from eavdash.ui.training.form_state import FIELDS, PAGE

if TYPE_CHECKING:
    from eavdash.studies.write import Plan
    from eavdash.ui.training.launch_form import Request

#: Settings that decide which recordings a study reads, and how they are looked at.
READ = ("stages", "window", "where", "names", *MODALITIES)
COMPARE = "pages/results/compare.py"


def show(request: Request, root: Path, messages: Messages) -> None:
    """Show the plan of each study of the request, and the button that queues them."""
    for member in request.members:
        _look(request, member.name, member.config, root)
    beside = [("stages", note) for note in from_data.untrained(request.path, request.config)]
    plans = _plans(request, root, messages)
    if len(plans) < len(request.members):
        return
    first = plans[0]
    configs = [recorded_config(plan.document) for plan in plans]
    beside += [("protocol.folds", note) for note in fewer_folds_notes(configs[0], first.splits)]
    shown = {note for name, note in beside if messages.show(name, markdown(with_stop(note)), "warning")}
    _effective(request.members[0].config, configs[0], messages)
    if len(plans) == 1:
        st.markdown(plan_sentence(first))
    else:
        st.markdown(f"{plural(len(plans), 'study', 'studies')}, {plural(sum(len(p.runs) for p in plans), 'run')}.")
    for sentence in dict.fromkeys(line for plan in plans for line in sentences(plan.document.left_out)):
        st.warning(markdown(sentence))
    copy_settings.show_differences(first)
    _links(plans)
    table = plan_table(first) if len(plans) == 1 else _sweep_table(request, plans)
    st.dataframe(table, hide_index=True, key=f"{PAGE}_plan")
    if time := time_sentence(plans, request.execution):
        st.caption(markdown(time))
    st.caption(markdown(disk_sentence(plans, root)))
    execution_form.check_button(root, request.execution, PAGE)
    if reasons := [reason for plan in plans for reason in left_out_reasons(plan)]:
        with st.expander(f"Left out or unable to start ({len(reasons)})", key=f"{PAGE}_left_out"):
            widgets.bullet_list(reasons)
    for note in dict.fromkeys(note for plan in plans for note in plan.notes if note not in shown):
        st.caption(markdown(note))
    for mark in {m.text: m for config in configs for m in marks_of(config)}.values():
        st.warning(markdown(mark.sentence))
    _command(request, root)
    new = any(set(plan.runs) - set(plan.existing) for plan in plans)
    title = "Queue this study" if len(plans) == 1 else f"Queue these {len(plans)} studies"
    if st.button(title, type="primary" if new else "secondary", key=f"{PAGE}_queue"):
        with st.spinner("Queueing the runs", show_time=True):
            queued = actions.launch(
                request.path, request.members, request.selection, request.execution, root, request.unusable
            )
        if queued:
            widgets.open_page(widgets.MONITOR if len(plans) == 1 else widgets.STUDIES)
        widgets.show_message()


def plan_table(plan: Plan) -> pd.DataFrame:
    """Return the number of a plan's runs per stage, of existing ones and of those that cannot start."""
    existing = set(plan.existing)
    rows = []
    for stage in STAGES:
        runs = [run for run in plan.planned if run.config.stage == stage]
        if runs:
            rows.append(
                {
                    "stage": theme.label(stage),
                    "runs": len(runs),
                    "exist already": sum(run.name in existing for run in runs),
                    "cannot start": sum(bool(run.problem) for run in runs),
                    "subjects": len({run.config.subject for run in runs} - {""}) or "all",
                    "folds": len({run.config.fold for run in runs}),
                    "seeds": len({run.config.seed for run in runs}),
                }
            )
    return pd.DataFrame(rows)


def plan_sentence(plan: Plan) -> str:
    """Return a sentence about what queueing this plan does."""
    new = len(set(plan.runs) - set(plan.existing))
    if not new:
        runs = "The run" if len(plan.runs) == 1 else f"All {len(plan.runs)} runs"
        exist = "exists" if len(plan.runs) == 1 else "exist"
        return f"{runs} of this study {exist} already: queueing again does not change finished runs."
    rest = f", {len(plan.existing)} of them {'exists' if len(plan.existing) == 1 else 'exist'} already"
    return f"{plural(len(plan.runs), 'run')}{rest if plan.existing else ''}. {_test_trials_sentence(plan)}"


def time_sentence(plans: Sequence[Plan], settings: Execution) -> str:
    """Return the estimated time of the new runs from similar finished ones; empty if there are no new runs."""
    found = []
    for plan in plans:
        existing = set(plan.existing)
        new = [run.config for run in plan.planned if run.name not in existing and not run.problem]
        if new:
            config, dataset = plan.document.config, plan.document.dataset.path
            parallel = cached_runs.parallel_runs(settings)
            found.append(estimates.plan_time_left(plan.study.path.parent, dataset, config, new, parallel))
    if not found:
        return ""
    known = [estimate for estimate in found if estimate.seconds is not None]
    if not known:
        return "Time: unknown, as no similar run has finished on these recordings yet."
    seconds = sum(estimate.seconds or 0.0 for estimate in known)
    at_least = len(known) < len(found) or any(estimate.at_least for estimate in known)
    parallel_runs = known[0].parallel_runs
    parallel_text = f"{parallel_runs} runs at a time" if parallel_runs > 1 else "one run after another"
    rest = "; some stages are not counted, as no such run has finished yet" if at_least else ""
    text = estimates.Estimate(seconds, at_least=at_least).text
    return f"Time: {text} with {parallel_text}, {known[0].basis}{rest}."


def disk_sentence(plans: Sequence[Plan], root: Path) -> str:
    """Return a sentence about the disk space: of the windows that all studies share, used, and free."""
    used, free = cached_data.disk_use(root)
    have = f"studies and windows use {size(used)}, {size(free)} are free"
    needs = [plan.window_bytes for plan in plans]
    if any(need is None for need in needs):
        return f"Disk space: {have}."
    return f"Disk space: the windows take at most {size(max(need or 0 for need in needs))}, made once; {have}."


def left_out_reasons(plan: Plan) -> list[str]:
    """Return sentences about runs that are left out or cannot start."""
    return [*dict.fromkeys(plan.problems.values()), *(f"{name}: {reason}" for name, reason in plan.left_out.items())]


def _look(request: Request, name: str, config: StudyConfig, root: Path) -> None:
    """Have recordings that no check has seen looked at, before the plan of a new study names those it cannot use."""
    if StudyDir(root / name).exists:
        return
    path, subjects = request.path, request.selection.subjects
    settings = [f"--set={setting}" for setting in settings_of(config, preset(config.preset), READ)]
    # A name with a comma cannot be given: then all subjects are looked at.
    chosen = [f"--subjects={','.join(subjects)}"] if subjects and not any("," in s for s in subjects) else []
    command = ("check", "--for-study", f"--preset={config.preset}", *settings, *chosen, "--", path)
    files = 0
    try:
        status = tasks.latest(root, command=command)
        files = cached_data.unmeasured(path, config, subjects, root, (status and status.finished) or 0.0)
    except EavdashError:
        return  # planning says what is wrong
    if files:
        scanning.wait_for(PAGE, command, f"Check of {Path(path).name or path} for {name}", files)


def _plans(request: Request, root: Path, messages: Messages) -> list[Plan]:
    """Return the plans that could be made; those of a sweep take seconds each, so that their number is shown."""
    plans, bar, total = [], st.empty(), len(request.members)
    for number, member in enumerate(request.members):
        if total > 1:
            bar.progress(number / total, f"Planning study {number + 1} of {total}")
        if (plan := _plan(request, member.name, member.config, root, messages)) is not None:
            plans.append(plan)
    bar.empty()
    return plans


def _plan(request: Request, name: str, config: StudyConfig, root: Path, messages: Messages) -> Plan | None:
    """Return the plan of a study, or show why there is none beside the field that it concerns."""
    try:
        return cached_runs.plan(request.path, name, config, request.selection, root, request.unusable)
    except StudyConflictError as error:
        if not error.differences:
            widgets.show_error(error, PAGE)
            return None
        taken = f"The study {markdown(name)} exists with other settings: give the new study another name."
        messages.show("name", taken)
        copy_settings.show_conflict(name, error, root)
    except EavdashError as error:
        slot = form_state.slot_of(error)
        if slot and messages.show(slot, form_state.sentence(error)):
            st.info("Nothing can be queued until what is marked above is corrected.")
        else:
            widgets.show_error(error, PAGE)
    return None


def _effective(config: StudyConfig, planned: StudyConfig, messages: Messages) -> None:
    """Say below the fields that leave a choice to the plan what it has chosen."""
    for key in FIELDS:
        if (value := value_of(planned, key)) != value_of(config, key):
            messages.show(key, f"Planned as {code(text_of(value))}", "caption")


def _links(plans: Sequence[Plan]) -> None:
    """Show the ways to studies that exist already: their runs, and the comparison of those of a sweep."""
    made = [plan.study.name for plan in plans if plan.existing]
    with st.container(horizontal=True):
        if made:
            st.page_link(widgets.MONITOR, label="Watch the runs", query_params={"study": made[0]})
        if len(made) > 1:
            st.page_link(COMPARE, label="Compare them", query_params={"study": made[0], "other": made[1]})


def _sweep_table(request: Request, plans: Sequence[Plan]) -> pd.DataFrame:
    """Return a row per study, with the accuracy of its stages on test trials (mean over subjects) once there is one."""
    rows = []
    for member, plan in zip(request.members, plans, strict=True):
        row: dict[str, Any] = {"study": plan.study.name, "settings": ", ".join(member.settings), "runs": len(plan.runs)}
        row |= {"exist already": len(plan.existing), "cannot start": len(plan.problems)}
        if plan.existing:
            scores = cached_results.scores(plan.study, "trial", False)
            for stage, of in scores.groupby("stage") if len(scores) else ():
                row[f"accuracy, {theme.label(str(stage))}"] = theme.percent(float(of["accuracy"].mean()))
        rows.append(row)
    return pd.DataFrame(rows).fillna("")


def _command(request: Request, root: Path) -> None:
    """Show the command line that queues the same."""
    name = request.members[0].name if not request.sweeps else str(st.session_state[f"{PAGE}_name"]).strip()
    words = train_command(
        request.path,
        name,
        request.config,
        request.selection,
        request.execution,
        request.unusable,
        root,
        request.sweeps,
    )
    st.caption("The same on the command line:")
    st.code(shlex.join(words), language="bash", wrap_lines=True)


def _test_trials_sentence(plan: Plan) -> str:
    rows = plan.splits[
        (plan.splits["split"] == "test") & plan.splits["fold"].isin({r.config.fold for r in plan.planned})
    ]
    subjects = {run.config.subject for run in plan.planned if run.config.subject}
    rows = rows[rows["subject"].isin(subjects)] if subjects else rows
    counts = rows.drop_duplicates(["subject", "trial"]).groupby("subject").size()
    if counts.empty:
        return ""
    low, high = int(counts.min()), int(counts.max())
    return f"Each subject is tested on n = {low if low == high else f'{low} to {high}'} trials."
