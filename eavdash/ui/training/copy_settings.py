"""The launch form's memory of another study: its settings taken over, what differs from it, and a name that is taken.

In: the session's widgets (keys ``training_launch_*``) and a study's folder. A study whose settings were taken over is
one more choice of the form's preset, ``study:<name>``: what no widget shows comes from it as well.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from eavdash.config.choices import MODALITIES
from eavdash.config.convert import differences, from_dict, to_dict
from eavdash.config.presets import PRESETS, preset
from eavdash.config.schema import Selection, StudyConfig
from eavdash.errors import EavdashError, StudyConflictError
from eavdash.store import StudyDir, checkpoints_root
from eavdash.studies import extend
from eavdash.studies.write import Plan
from eavdash.ui import actions, cached_runs, widgets
from eavdash.ui.training import preprocessing_form

PAGE = "training_launch"
#: Session state: the choice ``study:<name>`` that the preset has besides.
ORIGIN = f"{PAGE}_origin"
_MARK = "study:"
PROTOCOL_OPTIONS = {
    "subject_scaling": "Standardise each subject by all of its unlabelled trials (transductive)",
    "pooled": "Train on all subjects' training trials first, then fine-tune on each subject's own (within subjects)",
    "test_epoch": "Choose the epoch on the test trials, as published (protocol paper only; never honest)",
}
#: Differences that are shown: every subject whose recordings have changed is one.
SHOWN = 12


def source_study() -> StudyDir | None:
    """The study whose settings the form has, if it has those of one that is still there."""
    chosen = str(st.session_state.get(f"{PAGE}_preset") or "")
    study = StudyDir(checkpoints_root() / chosen.removeprefix(_MARK)) if chosen.startswith(_MARK) else None
    return study if study is not None and study.exists else None


def preset_choices() -> list[str]:
    """The choices of the preset."""
    return [*PRESETS, *filter(None, [st.session_state.get(ORIGIN)])]


def choice_label(choice: str) -> str:
    """How a study is named among the presets; empty for a preset."""
    return f"as in the study {choice.removeprefix(_MARK)}" if choice.startswith(_MARK) else ""


def base_config() -> StudyConfig:
    """The configuration that the form starts from: a preset's, or a study's."""
    study = source_study()
    if study is not None:
        try:
            return from_dict(study.study()["config"])
        except (EavdashError, KeyError):
            pass  # deleted or damaged since: the presets are there
    if st.session_state.get(f"{PAGE}_preset") not in PRESETS:
        st.session_state[f"{PAGE}_preset"] = "quick"
        st.session_state.pop(ORIGIN, None)
    return preset(st.session_state[f"{PAGE}_preset"])


def study_values() -> dict[str, Any]:
    """Values of the widgets that a preset leaves alone and a study does not, by the last part of their keys."""
    study = source_study()
    if study is None:
        return {}
    try:
        document = study.study()
        config, selection = from_dict(document["config"]), document["selection"]
    except (EavdashError, KeyError):
        return {}
    return {
        "subjects": list(selection["subjects"]),
        "folds": ",".join(map(str, selection["folds"])) or "all",
        "seeds": ",".join(map(str, selection["seeds"])),
        **{f"{m}_weights": config.modality(m).weights for m in MODALITIES},
    }


def copy_study_settings(study: StudyDir, name: str) -> None:
    """Fill the form with a study's dataset and settings, and a name; the page of the form may be another than this."""

    st.session_state[ORIGIN] = st.session_state[f"{PAGE}_preset"] = f"{_MARK}{study.name}"
    try:
        st.session_state[f"{PAGE}_dataset"] = study.study()["dataset"]["path"]
    except (EavdashError, KeyError) as error:
        st.session_state[actions.MESSAGE] = ("error", str(error))
        return
    st.session_state[f"{PAGE}_name"] = name
    apply_preset()


def apply_preset() -> None:
    """Callback of the preset: every other setting takes the preset's value."""
    for key, value in {**form_defaults(base_config()), **study_values()}.items():
        st.session_state[f"{PAGE}_{key}"] = value


def form_defaults(config: StudyConfig) -> dict[str, Any]:
    """What the form's widgets show for a configuration, by the last part of their keys."""
    return {
        "stages": list(config.stages),
        "fusion": config.fusion.kind,
        "protocol": config.protocol.name,
        "fold_count": config.protocol.folds,
        "folds": "all",
        **{name: getattr(config.protocol, name) for name in PROTOCOL_OPTIONS},
        "epochs": None,
        "seeds": "0",
        **{f"{m}_encoder": config.modality(m).encoder for m in MODALITIES},
        **preprocessing_form.defaults(config),
    }


def plan_or_conflict(path: str, name: str, config: StudyConfig, selection: Selection, root: Path) -> Plan:
    """The plan of what the form says; where the name is taken by another study, how they differ, and ways out."""
    with widgets.show_errors():
        try:
            return cached_runs.plan(path, name, config, selection, root)
        except StudyConflictError as error:
            if not error.differences:
                raise
            conflict = error
    free = extend.free_name(root, name)
    st.error(f"There is a study {widgets.escape_markdown(name)} with other settings: give the new study another name.")
    st.caption(f"From {widgets.escape_markdown(name)} to what the form says:")
    more = len(conflict.differences) - SHOWN
    widgets.bullet_list([*conflict.differences[:SHOWN], *([f"and {more} more"] if more > 0 else [])])
    buttons = st.container(horizontal=True)
    buttons.button(f"Name it {free}", type="primary", on_click=_rename, args=(free,), key=f"{PAGE}_free_name")
    buttons.button(
        f"Use the settings of {name}",
        help="Then subjects, folds and seeds can be added to it.",
        on_click=copy_study_settings,
        args=(StudyDir(root / name), name),
        key=f"{PAGE}_take_over",
    )
    st.stop()
    raise conflict  # never reached: st.stop() has ended the script, which the type checker cannot know


def show_differences(plan: Plan) -> None:
    """What differs from the study whose settings were taken over; nothing where there is none."""
    study = source_study()
    if study is None or study == plan.study:
        return
    with widgets.show_errors():
        old = study.study()
        before = to_dict(from_dict(old["config"]))
    lines = differences(before, plan.document["config"])
    lines += differences(old["selection"], plan.document["selection"])
    lines += differences({"dataset": old["dataset"]["path"]}, {"dataset": plan.document["dataset"]["path"]})
    if lines:
        st.markdown(f"**What differs from {widgets.escape_markdown(study.name)}**")
        widgets.bullet_list(lines)
    else:
        st.caption(f"Nothing differs from {widgets.escape_markdown(study.name)} but the name.")


def _rename(name: str) -> None:
    """Callback: another name for the study."""
    st.session_state[f"{PAGE}_name"] = name
