"""The launch form: widgets for a study's configuration, and the summary of its plan.

In: the session's widgets (keys ``training_launch_*``). Out: a :class:`Request`. The preset sets the default of every
other widget.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from eavdash.config.choices import FUSIONS, MODALITIES, PROTOCOLS, STAGES
from eavdash.config.convert import settings_of, with_epochs, with_settings
from eavdash.config.presets import PRESET_HELP, advice, preset
from eavdash.config.schema import SETTINGS, Execution, Selection, StudyConfig
from eavdash.config.selection import parse_numbers
from eavdash.errors import EavdashError
from eavdash.jobs import estimates
from eavdash.report import theme
from eavdash.store import StudyDir
from eavdash.studies.unusable import Unusable
from eavdash.studies.write import Plan
from eavdash.text import markdown, plural
from eavdash.ui import cached_data, cached_runs, scanning, tasks
from eavdash.ui.draft import kept
from eavdash.ui.training import (
    copy_settings,
    encoder_form,
    execution_form,
    preprocessing_form,
    scaling_form,
    unusable_form,
)
from eavdash.ui.training.copy_settings import PROTOCOL_OPTIONS, apply_preset, form_defaults
from eavdash.ui.widgets import show_errors

if TYPE_CHECKING:
    from eavdash.data.table import TrialTable

PAGE = "training_launch"
PRESET_LABELS = {name: f"{name}: {text.partition(':')[0]}" for name, text in PRESET_HELP.items()}
PROTOCOL_HELP = {
    "conversation": "conversation: within a subject, no conversation in both train and test",
    "blocks": "blocks: as conversation, and neighbouring trials of a class stay together (stricter)",
    "paper": "paper: 70/30 in order, no validation (optimistic)",
    "loso": "loso: leave one subject out",
    "subject-kfold": "subject-kfold: folds of subjects",
}
FUSION_HELP = {
    "transformer": "transformer: shares weight calibrated opinions, and an MLP reads features (most accurate)",
    "attention": "attention: shares weight opinions, nothing else decides",
    "concat": "concat: concatenation and MLP",
    "paper": "paper: the published single-token layer",
}
#: Settings that decide which recordings a study reads, and how they are looked at.
READ = ("stages", "window", "where", "names", *MODALITIES)


@dataclass(frozen=True)
class Request:
    """The values of the form."""

    config: StudyConfig
    selection: Selection
    execution: Execution
    unusable: Unusable


def initialise() -> None:
    """Set settings without a value to the preset's values."""
    st.session_state.setdefault(f"{PAGE}_preset", "quick")
    for key, value in form_defaults(copy_settings.base_config()).items():
        st.session_state.setdefault(f"{PAGE}_{key}", value)


def form(subjects: Sequence[str], conditions: bool) -> Request:
    """Show the settings and return their values; ``conditions``: the dataset has speaking and listening trials.

    Raises:
        ConfigError, UsageError: a setting is invalid.
    """
    base = copy_settings.base_config()
    # Drop subjects that were selected for another dataset and are not in this one.
    st.session_state[f"{PAGE}_subjects"] = [
        s for s in st.session_state.get(f"{PAGE}_subjects") or [] if s in set(subjects)
    ]
    left, right = st.columns(2)
    with left:
        choices = copy_settings.preset_choices()
        titles = {choice: copy_settings.choice_label(choice) or PRESET_LABELS[choice] for choice in choices}
        _select("Preset", choices, "preset", titles, on_change=apply_preset)
        chosen = st.multiselect("Subjects", subjects, placeholder="All subjects", **kept(PAGE, "subjects"))
        stages = st.multiselect("Stages", STAGES, format_func=theme.label, **kept(PAGE, "stages"))
        kind = _select("Fusion", FUSIONS, "fusion", FUSION_HELP)
    with right:
        protocol = _select("Protocol", PROTOCOLS, "protocol", PROTOCOL_HELP)
        first, second = st.columns(2)
        count = first.number_input("Number of folds", 2, max(50, base.protocol.folds), **kept(PAGE, "fold_count"))
        folds = second.text_input("Folds to run", help="`all`, or numbers from 0 such as `0,1`", **kept(PAGE, "folds"))
        first, second = st.columns(2)
        same = "The same number for every stage."
        epochs = first.number_input(
            "Epochs", 1, 10_000, None, placeholder="The preset's", help=same, **kept(PAGE, "epochs")
        )
        seeds = second.text_input("Seeds", help="Numbers such as `0,1,2`", **kept(PAGE, "seeds"))
    settings = [f"protocol.name={protocol}", f"protocol.folds={count}", f"fusion.kind={kind}"]
    with st.expander("Options of the protocol", key=f"{PAGE}_protocol_options"):
        settings.append(scaling_form.form(PAGE, protocol))
        for name, title in PROTOCOL_OPTIONS.items():
            chosen_option = st.checkbox(title, help=SETTINGS[f"protocol.{name}"].help, **kept(PAGE, name))
            settings.append(f"protocol.{name}={str(chosen_option).lower()}")
    settings += encoder_form.form(PAGE, base)
    where, prepared = preprocessing_form.form(PAGE, conditions, base)
    if set(stages) != set(base.stages):
        base = replace(base, stages=tuple(s for s in STAGES if s in stages))
    base = replace(base, where=where)
    unusable = unusable_form.form(PAGE)
    config = with_settings(base, [*settings, *prepared])
    return Request(
        with_epochs(config, int(epochs)) if epochs else config,
        Selection(tuple(chosen), parse_numbers(folds, "Folds to run"), parse_numbers(seeds, "Seeds")),
        execution_form.form(PAGE),
        unusable,
    )


def preset_advice(table: TrialTable) -> str:
    """Return a sentence about which preset to take, from the trials that a study of this dataset uses by default."""
    from eavdash.data.table import select

    frame = table.frame
    with suppress(EavdashError):
        frame = select(table, StudyConfig(), unchecked=table.subjects).frame
    counts = frame.groupby("subject").size()
    return advice(len(counts), int(counts.median())) if len(counts) else ""


def look(path: str, name: str, config: StudyConfig, subjects: Sequence[str], root: Path) -> None:
    """Have recordings that no check has seen looked at, before the plan of a new study names those it cannot use."""
    if StudyDir(root / name).exists:
        return
    command = ("check", "--for-study", *_options(config, subjects), "--", path)
    with show_errors():
        status = tasks.latest(root, command=command)
        files = cached_data.unmeasured(path, config, subjects, root, (status and status.finished) or 0.0)
    if files:
        scanning.wait_for(PAGE, command, f"Check of {Path(path).name or path} for {name}", files)


def disk_space(path: str, config: StudyConfig, subjects: Sequence[str], root: Path) -> None:
    """Show the button that starts the estimate of the windows' disk space, and its outcome."""
    command = ("cache", "build", "--dry-run", *_options(config, subjects), "--", path)
    st.button(
        "Estimate the disk space of the windows",
        help="Recordings are preprocessed once into windows that later studies share. The estimate opens every "
        "recording, in the background.",
        on_click=tasks.start,
        args=(command, f"Disk space of the windows of {Path(path).name or path}"),
        key=f"{PAGE}_room",
    )
    if found := tasks.outcome(root, command):
        st.info(f"Windows: {markdown(found.removesuffix('.'))}.")
    else:
        tasks.panel(root, command=command, key=f"{PAGE}_room_task")


def _options(config: StudyConfig, subjects: Sequence[str]) -> list[str]:
    """Return the options of a command that reads the recordings as a study would."""
    settings = [f"--set={setting}" for setting in settings_of(config, preset(config.preset), READ)]
    # A name with a comma cannot be given: then all subjects are looked at.
    chosen = [f"--subjects={','.join(subjects)}"] if subjects and not any("," in s for s in subjects) else []
    return [f"--preset={config.preset}", *settings, *chosen]


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


def time_sentence(plan: Plan, settings: Execution) -> str:
    """Return the estimated time of the new runs from similar finished ones; empty if there are no new runs."""
    existing = set(plan.existing)
    new = [run.config for run in plan.planned if run.name not in existing and not run.problem]
    if not new:
        return ""
    config, dataset = plan.document.config, plan.document.dataset.path
    estimate = estimates.plan_time_left(
        plan.study.path.parent, dataset, config, new, cached_runs.parallel_runs(settings)
    )
    if estimate.seconds is None:
        return "Time: unknown, as no similar run has finished on these recordings yet."
    parallel = f"{estimate.parallel_runs} runs at a time" if estimate.parallel_runs > 1 else "one run after another"
    rest = "; some stages are not counted, as no such run has finished yet" if estimate.at_least else ""
    return f"Time: {estimate.text} with {parallel}, {estimate.basis}{rest}."


def left_out_reasons(plan: Plan) -> list[str]:
    """Return sentences about runs that are left out or cannot start."""
    return [*dict.fromkeys(plan.problems.values()), *(f"{name}: {reason}" for name, reason in plan.left_out.items())]


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


def _select(title: str, options: Sequence[str], name: str, labels: dict[str, str], **more: Any) -> str:
    return str(st.selectbox(title, options, format_func=lambda v: labels.get(v, v), **kept(PAGE, name), **more))
