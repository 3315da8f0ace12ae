"""The launch form: widgets to a study's configuration, and what a plan says before it is queued.

In: the session's widgets (keys ``training_launch_*``). Out: a :class:`Request`. What the preset says is the default
of every other widget; a widget that is left at the preset's value changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import streamlit as st

from eavdash.config.choices import ENCODERS, FUSIONS, MODALITIES, PROTOCOLS, STAGES
from eavdash.config.convert import with_epochs, with_settings
from eavdash.config.schema import Execution, Selection, StudyConfig
from eavdash.config.selection import parse_numbers
from eavdash.jobs import estimates
from eavdash.studies.write import Plan
from eavdash.ui import cached_runs, theme
from eavdash.ui.training import copy_settings, execution_form, preprocessing_form
from eavdash.ui.training.copy_settings import PROTOCOL_OPTIONS, apply_preset, form_defaults

PAGE = "training_launch"
PRESET_LABELS = {"quick": "quick: small models for a laptop", "paper": "paper: the published configuration"}
PROTOCOL_HELP = {
    "conversation": "conversation: within a subject, no conversation in both train and test",
    "blocks": "blocks: as conversation, and neighbours of one class stay together (stricter)",
    "paper": "paper: 70/30 in order, no validation (optimistic)",
    "loso": "loso: leave one subject out",
    "subject-kfold": "subject-kfold: folds of subjects",
}
FUSION_HELP = {
    "attention": "attention: tokens per modality, shares to show",
    "concat": "concat: concatenation and MLP",
    "paper": "paper: the published single-token layer",
}
ENCODER_LABELS = {
    "vit": "ViT on frames",
    "ast": "AST on log-mel",
    "eegformer": "EEGformer",
    "yin": "published EEG transformer",
}


@dataclass(frozen=True)
class Request:
    """What the form asks for."""

    config: StudyConfig
    selection: Selection
    execution: Execution


def initialise() -> None:
    """Give settings that have no value yet that of the preset."""
    st.session_state.setdefault(f"{PAGE}_preset", "quick")
    for key, value in form_defaults(copy_settings.base_config()).items():
        st.session_state.setdefault(f"{PAGE}_{key}", value)


def form(subjects: Sequence[str], conditions: bool) -> Request:
    """Draw the settings and read them; ``conditions``: the dataset tells speaking from listening trials.

    Raises:
        ConfigError, UsageError: an impossible setting.
    """
    base = copy_settings.base_config()
    # Of those that were chosen for another dataset, the ones that this one has.
    st.session_state[f"{PAGE}_subjects"] = [
        s for s in st.session_state.get(f"{PAGE}_subjects") or [] if s in set(subjects)
    ]
    left, right = st.columns(2)
    with left:
        choices = copy_settings.preset_choices()
        titles = {choice: copy_settings.choice_label(choice) or PRESET_LABELS[choice] for choice in choices}
        _select("Preset", choices, "preset", titles, on_change=apply_preset)
        chosen = st.multiselect("Subjects", subjects, placeholder="All subjects", **_key("subjects"))
        stages = st.multiselect("Stages", STAGES, format_func=theme.label, **_key("stages"))
        kind = _select("Fusion", FUSIONS, "fusion", FUSION_HELP)
    with right:
        protocol = _select("Protocol", PROTOCOLS, "protocol", PROTOCOL_HELP)
        first, second = st.columns(2)
        count = first.number_input("Number of folds", 2, max(50, base.protocol.folds), **_key("fold_count"))
        folds = second.text_input("Folds to run", help="`all`, or numbers from 0 such as `0,1`", **_key("folds"))
        first, second = st.columns(2)
        asked = {"placeholder": "The preset's", "help": "The same number for every stage."}
        epochs = first.number_input("Epochs", 1, 10_000, None, **asked, **_key("epochs"))
        seeds = second.text_input("Seeds", help="numbers such as `0,1,2`", **_key("seeds"))
    settings = [f"protocol.name={protocol}", f"protocol.folds={count}", f"fusion.kind={kind}"]
    with st.expander("Options of the protocol", key=f"{PAGE}_protocol_options"):
        for name, title in PROTOCOL_OPTIONS.items():
            settings.append(f"protocol.{name}={str(st.checkbox(title, **_key(name))).lower()}")
    with st.expander("Encoders and pretrained weights", key=f"{PAGE}_encoders"):
        for modality in MODALITIES:
            first, second = st.columns([1, 2])
            with first:
                known = tuple(dict.fromkeys([*ENCODERS[modality], base.modality(modality).encoder]))
                encoder = _select(theme.label(modality), known, f"{modality}_encoder", ENCODER_LABELS)
            weights = second.text_input(
                f"Weights of {theme.label(modality)}",
                placeholder="Empty: trained from scratch",
                help="Folder or file of a checkpoint that lies on this machine.",
                **_key(f"{modality}_weights"),
            )
            settings += [f"{modality}.encoder={encoder}", f"{modality}.weights={weights.strip()}"]
    where, prepared = preprocessing_form.form(PAGE, conditions, base)
    if set(stages) != set(base.stages):
        base = replace(base, stages=tuple(s for s in STAGES if s in stages))
    base = replace(base, where=where)
    config = with_settings(base, [*settings, *prepared])
    return Request(
        with_epochs(config, int(epochs)) if epochs else config,
        Selection(tuple(chosen), parse_numbers(folds, "Folds to run"), parse_numbers(seeds, "Seeds")),
        execution_form.form(PAGE),
    )


def plan_table(plan: Plan) -> pd.DataFrame:
    """Runs of a plan per stage: how many, how many exist already, how many cannot start."""
    existing = set(plan.existing)
    rows = []
    for stage in STAGES:
        runs = [run for run in plan.planned if run.config["stage"] == stage]
        if runs:
            rows.append(
                {
                    "stage": theme.label(stage),
                    "runs": len(runs),
                    "there already": sum(run.name in existing for run in runs),
                    "cannot start": sum(bool(run.problem) for run in runs),
                    "subjects": len({run.config["subject"] for run in runs} - {""}) or "all",
                    "folds": len({run.config["fold"] for run in runs}),
                    "seeds": len({run.config["seed"] for run in runs}),
                }
            )
    return pd.DataFrame(rows)


def plan_sentence(plan: Plan) -> str:
    """What queueing this plan will do."""
    new = len(set(plan.runs) - set(plan.existing))
    if not new:
        all_there = "The run" if len(plan.runs) == 1 else f"All {len(plan.runs)} runs"
        exist = "exists" if len(plan.runs) == 1 else "exist"
        return f"{all_there} of this study {exist} already: queueing again changes nothing that is done."
    rest = f", {len(plan.existing)} of them {'exists' if len(plan.existing) == 1 else 'exist'} already"
    return f"{theme.plural(len(plan.runs), 'run')}{rest if plan.existing else ''}. {_test_trials_sentence(plan)}"


def time_sentence(plan: Plan, settings: Execution) -> str:
    """How long the runs that are not there yet will take, by finished runs like them; empty if there are none."""
    there = set(plan.existing)
    new = [run.config for run in plan.planned if run.name not in there and not run.problem]
    if not new:
        return ""
    config, dataset = plan.document["config"], str(plan.document["dataset"]["path"])
    estimate = estimates.plan_left(plan.study.path.parent, dataset, config, new, cached_runs.parallel_runs(settings))
    if estimate.seconds is None:
        return "Time: unknown, as no run like these has finished on these recordings yet."
    at_once = f"{estimate.places} runs at a time" if estimate.places > 1 else "one run after another"
    rest = "; some stages are not counted, as no such run has finished yet" if estimate.at_least else ""
    return f"Time: {estimate.words} with {at_once}, {estimate.basis}{rest}."


def left_out_reasons(plan: Plan) -> list[str]:
    """Sentences about runs that are not made or cannot start."""
    stuck = {run.problem: "" for run in plan.planned if run.problem}
    return [*stuck, *(f"{name}: {reason}" for name, reason in plan.left_out.items())]


def _test_trials_sentence(plan: Plan) -> str:
    rows = plan.splits[
        (plan.splits["split"] == "test") & plan.splits["fold"].isin({r.config["fold"] for r in plan.planned})
    ]
    people = {run.config["subject"] for run in plan.planned if run.config["subject"]}
    rows = rows[rows["subject"].isin(people)] if people else rows
    counts = rows.drop_duplicates(["subject", "trial"]).groupby("subject").size()
    if counts.empty:
        return ""
    low, high = int(counts.min()), int(counts.max())
    return f"Each subject is tested on n = {low if low == high else f'{low} to {high}'} trials."


def _key(name: str) -> dict[str, Any]:
    """A widget's key; its value stays while other pages are shown."""
    return {"key": f"{PAGE}_{name}", "persist_state": "session"}


def _select(title: str, options: Sequence[str], name: str, labels: dict[str, str], **more: Any) -> str:
    return str(st.selectbox(title, options, format_func=lambda v: labels.get(v, v), **_key(name), **more))
