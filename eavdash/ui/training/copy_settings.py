"""Settings of another study in the launch form: copying them, the differences, and a study name that is taken.

In: the session's widgets (keys ``training_launch_*``) and a study's folder. A study whose settings were copied is an
additional choice of the form's preset, ``study:<name>``, which also sets what no widget shows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from eavdash.config.convert import differences, recorded_config, to_dict
from eavdash.config.presets import PRESETS, preset
from eavdash.config.schema import StudyConfig
from eavdash.errors import EavdashError, StudyConflictError
from eavdash.results import left_out
from eavdash.store import StudyDir, checkpoints_root
from eavdash.studies import extend
from eavdash.studies.write import Plan
from eavdash.text import markdown
from eavdash.ui import actions, dataset, widgets
from eavdash.ui.training import form_state, unusable_form

PAGE = "training_launch"
#: Session state: the additional preset choice ``study:<name>``.
SOURCE = f"{PAGE}_origin"
PREFIX = "study:"
#: Maximum number of differences shown; each subject with changed recordings is one.
SHOWN = 12


def source_study() -> StudyDir | None:
    """Return the study whose settings were copied, or None."""
    chosen = str(st.session_state.get(f"{PAGE}_preset") or "")
    study = StudyDir(checkpoints_root() / chosen.removeprefix(PREFIX)) if chosen.startswith(PREFIX) else None
    return study if study is not None and study.exists else None


def preset_choices() -> list[str]:
    """Return the choices of the preset."""
    return [*PRESETS, *filter(None, [st.session_state.get(SOURCE)])]


def choice_label(choice: str) -> str:
    """Return the label of a study among the presets; empty for a preset."""
    return f"as in the study {choice.removeprefix(PREFIX)}" if choice.startswith(PREFIX) else ""


def base_config() -> StudyConfig:
    """Return the configuration that the form starts from: a preset's or a study's."""
    study = source_study()
    if study is not None:
        try:
            return recorded_config(study.study())
        except EavdashError:
            pass  # deleted or damaged meanwhile: use a preset
    if st.session_state.get(f"{PAGE}_preset") not in PRESETS:
        st.session_state[f"{PAGE}_preset"] = "quick"
        st.session_state.pop(SOURCE, None)
    return preset(st.session_state[f"{PAGE}_preset"])


def study_values() -> dict[str, Any]:
    """Return the values that only a study sets, not a preset, by the last part of the widgets' keys."""
    study = source_study()
    if study is None:
        return {}
    try:
        document = study.study()
        selection = document.selection
    except EavdashError:
        return {}
    return {
        "subjects": list(selection.subjects),
        "folds": ",".join(map(str, selection.folds)) or "all",
        "seeds": ",".join(map(str, selection.seeds)),
        **unusable_form.defaults(document.left_out),
    }


def copy_study_settings(study: StudyDir, name: str) -> None:
    """Fill the launch form with a study's dataset and settings and a new name; callable from any page."""

    st.session_state[SOURCE] = st.session_state[f"{PAGE}_preset"] = f"{PREFIX}{study.name}"
    try:
        dataset.choose(study.study().dataset.path)
    except EavdashError as error:
        st.session_state[actions.MESSAGE] = ("error", str(error))
        return
    st.session_state[f"{PAGE}_name"] = name
    apply_preset()


def apply_preset() -> None:
    """Set all settings back to the preset's values, or to the study's with its subjects, folds and seeds."""
    form_state.clear()
    for key, value in {"folds": "all", "seeds": "0", **unusable_form.defaults(), **study_values()}.items():
        st.session_state[f"{PAGE}_{key}"] = value


def show_conflict(name: str, conflict: StudyConflictError, root: Path) -> None:
    """Show how a study whose name is taken differs from the form, and the ways out."""
    free = extend.free_name(root, name)
    st.caption(f"Changes from {markdown(name)} to the form:")
    more = len(conflict.differences) - SHOWN
    widgets.bullet_list([*conflict.differences[:SHOWN], *([f"and {more} more"] if more > 0 else [])])
    buttons = st.container(horizontal=True)
    buttons.button(f"Name it {markdown(free)}", type="primary", on_click=_rename, args=(free,), key=f"{PAGE}_free_name")
    buttons.button(
        f"Use the settings of {markdown(name)}",
        help="Subjects, folds and seeds can then be added to it.",
        on_click=copy_study_settings,
        args=(StudyDir(root / name), name),
        key=f"{PAGE}_take_over",
    )


def show_differences(plan: Plan) -> None:
    """Show the differences from the study whose settings were copied, if any."""
    study = source_study()
    if study is None or study == plan.study:
        return
    with widgets.show_errors():
        old = study.study()
        before = to_dict(recorded_config(old))
    lines = differences(before, plan.document.config)
    lines += differences(old.selection.document(), plan.document.selection.document())
    lines += left_out.differences(old.left_out, plan.document.left_out)
    lines += differences({"dataset": old.dataset.path}, {"dataset": plan.document.dataset.path})
    if lines:
        st.markdown(f"**Differences from {markdown(study.name)}**")
        widgets.bullet_list(lines)
    else:
        st.caption(f"Only the name differs from {markdown(study.name)}.")


def _rename(name: str) -> None:
    """Rename the study in the form."""
    st.session_state[f"{PAGE}_name"] = name
