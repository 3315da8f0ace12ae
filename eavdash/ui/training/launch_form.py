"""The launch form: the fields of a study's settings in a tab per stage, and what is not a setting beside them.

In: the dataset, and the session's widgets (keys ``training_launch_*``). Out: a :class:`Request`. The fields come from
the schema (fields.py); what they start from is the preset, or a study, with what the recordings allow.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import streamlit as st

from eavdash.config.choices import STAGES
from eavdash.config.convert import with_settings
from eavdash.config.presets import PRESET_HELP
from eavdash.config.schema import Execution, Selection, StudyConfig
from eavdash.config.selection import parse_numbers
from eavdash.errors import ConfigError, EavdashError
from eavdash.store import check_study_name
from eavdash.studies.sweep import Member, members
from eavdash.studies.unusable import Unusable
from eavdash.text import code, markdown, plural
from eavdash.ui.draft import kept
from eavdash.ui.training import copy_settings, execution_form, fields, form_state, from_data, unusable_form
from eavdash.ui.training.form_state import FIELDS, PAGE, TABS, Start

if TYPE_CHECKING:
    from eavdash.data.table import TrialTable

T = TypeVar("T")
PRESET_LABELS = {name: f"{name}: {text.partition(':')[0]}" for name, text in PRESET_HELP.items()}
#: Titles of the parts of the configuration within a tab; those of features only matter to the encoder ``table``.
_TITLES = {"": "Trials", "names": "Names", "protocol": "Protocol", "train": "Optimisation", "fusion": "Fusion"}
TAB = f"{PAGE}_tab"
#: The settings that decide which trials a study has, and so which stages and folds.
_TRIALS = ("where", "names.labels", "names.subjects", "protocol.name", "audio.from_video")
#: Changed settings that are named in a sentence.
NAMED = 12


@dataclass(frozen=True)
class Request:
    """The values of the form: a study, or those of a sweep, and how their runs are computed."""

    path: str
    config: StudyConfig
    members: tuple[Member, ...]
    sweeps: tuple[str, ...]
    selection: Selection
    execution: Execution
    unusable: Unusable


def start(path: str) -> Start:
    """Return what the form starts from, and give each field without a value its default."""
    st.session_state.setdefault(f"{PAGE}_preset", "quick")
    base = copy_settings.base_config()
    config, study = base, copy_settings.source_study()
    if study is None:
        probe = base
        with suppress(ConfigError):
            typed = [key for key in _TRIALS if form_state.widget_key(key) in st.session_state]
            probe = with_settings(base, [f"{key}={form_state.text(key)}" for key in typed])
        config = with_settings(base, from_data.allowed(path, probe))
    made = Start(study.name if study else str(st.session_state[f"{PAGE}_preset"]), base, config)
    form_state.fill(made)
    for name, value in {"folds": "all", "seeds": "0", **unusable_form.defaults()}.items():
        st.session_state.setdefault(f"{PAGE}_{name}", value)
    return made


def form(table: TrialTable, path: str, name: str, made: Start, messages: fields.Messages) -> Request | None:
    """Show the form and return its values; None if something is wrong, which is said beside its field."""
    _first_row(table, messages)
    conditions = "condition" in table.frame
    for title, tab in zip(TABS, st.tabs(TABS, key=TAB, on_change="rerun"), strict=True):
        if tab.open:
            with tab:
                _tab(title, made, messages, conditions)
    entered = form_state.entered(made)
    _changes(made, entered.settings)
    _set_box(messages)
    _several_values(messages)
    several = sweeps()
    unusable, execution = unusable_form.form(PAGE), execution_form.form(PAGE)
    errors = dict(entered.errors)
    if _typed("epochs") and all(f"train.{stage}.epochs" in errors for stage in STAGES):
        common = [errors.pop(f"train.{stage}.epochs") for stage in STAGES]
        _show_error(common[0], "epochs", messages)
    for key, problem in errors.items():
        _show_error(problem, key, messages)
    found: dict[str, tuple[int, ...]] = {}
    for option in ("folds", "seeds"):
        found[option] = _checked(partial(parse_numbers, _typed(option), f"--{option}"), messages) or ()
    made_of: tuple[Member, ...] | None = None
    if name:
        _checked(partial(check_study_name, name), messages)
        if entered.config is not None:
            made_of = _checked(partial(members, name, entered.config, several), messages)
    st.subheader("What will run", anchor=False)
    if not name:
        st.info("Enter a study name to see its runs.")
    elif messages.failed:
        st.info("Nothing can be queued until what is marked above is corrected.")
    if entered.config is None or made_of is None or messages.failed:
        return None
    chosen = tuple(st.session_state.get(f"{PAGE}_subjects") or ())
    selection = Selection(chosen, found["folds"], found["seeds"] or (0,))
    return Request(path, entered.config, made_of, several, selection, execution, unusable)


def _first_row(table: TrialTable, messages: fields.Messages) -> None:
    """Show what is not a setting of one stage: preset, subjects, epochs of all stages, folds and seeds."""
    # Drop subjects that were selected for another dataset and are not in this one.
    known = set(table.subjects)
    key = f"{PAGE}_subjects"
    st.session_state[key] = [s for s in st.session_state.get(key) or [] if s in known]
    preset, subjects, epochs, folds, seeds = st.columns([2, 2, 1, 1, 1])
    choices = copy_settings.preset_choices()
    titles = {choice: copy_settings.choice_label(choice) or PRESET_LABELS[choice] for choice in choices}
    preset.selectbox(
        "Preset",
        choices,
        format_func=lambda v: titles.get(v, v),
        help="Chosen anew, it sets all settings back.",
        on_change=copy_settings.apply_preset,
        **kept(PAGE, "preset"),
    )
    subjects.multiselect("Subjects", table.subjects, placeholder="All subjects", **kept(PAGE, "subjects"))
    counts = {form_state.text(f"train.{stage}.epochs") for stage in STAGES}
    st.session_state[f"{PAGE}_epochs"] = counts.pop() if len(counts) == 1 else ""
    epochs.text_input(
        "Epochs",
        placeholder="By stage",
        help="The same number for every stage; the tabs have one for each.",
        on_change=_take_epochs,
        **kept(PAGE, "epochs"),
    )
    folds.text_input("Folds to run", help="`all`, or numbers from 0 such as `0,1`", **kept(PAGE, "folds"))
    seeds.text_input("Seeds", help="Numbers such as `0,1,2`", **kept(PAGE, "seeds"))
    for name, column in (("subjects", subjects), ("epochs", epochs), ("folds", folds), ("seeds", seeds)):
        messages.add(name, column)


def _tab(tab: str, made: Start, messages: fields.Messages, conditions: bool) -> None:
    """Show the fields of one tab by the parts of the configuration."""
    for part, keys in form_state.groups(tab).items():
        if part.endswith(".table"):
            with st.expander("Tables of features (encoder table)", key=f"{PAGE}_{part}"):
                fields.rows(keys, made, messages, conditions)
            continue
        own = "Training" if part.startswith("train.") else "Recordings and encoder"
        st.markdown(f"**{_TITLES.get(part, own)}**")
        fields.rows(keys, made, messages, conditions)


def _changes(made: Start, settings: tuple[str, ...]) -> None:
    """Say which settings differ from those the form started from, and show the button that takes all back."""
    if not settings:
        st.caption(f"All settings are those of {markdown(made.name)}, as far as the recordings allow.")
        return
    named = ", ".join(code(text) for text in settings[:NAMED])
    more = f" and {len(settings) - NAMED} more" if len(settings) > NAMED else ""
    with st.container(horizontal=True, vertical_alignment="center", key=f"{PAGE}_changes"):
        st.caption(
            f"{plural(len(settings), 'setting differs', 'settings differ')} from {markdown(made.name)}: {named}{more}.",
            width="content",
        )
        st.button("Reset all", on_click=form_state.clear, type="tertiary", key=f"{PAGE}_reset_all")


def _set_box(messages: fields.Messages) -> None:
    """Show the box that takes settings as the command line's --set does."""
    with st.expander("Settings as text (--set)", key=f"{PAGE}_as_text"):
        st.text_area(
            "Settings as text",
            placeholder="eeg.low=1\ntrain.eeg.epochs=40",
            help="A line each, `key=value`, or a command's options `--set key=value`. They are taken over into the "
            "fields above; what cannot be taken stays here.",
            on_change=_take_text,
            **kept(PAGE, "set_box"),
        )
        messages.add("set_box")
        for problem in st.session_state.get(f"{PAGE}_set_problems", []):
            messages.show("set_box", markdown(problem))


def sweeps() -> tuple[str, ...]:
    """Return the settings with several values, as ``key=value,value``."""
    return tuple(f"{key}={_typed(f'values_{key}')}" for key in st.session_state.get(f"{PAGE}_swept") or [])


def _several_values(messages: fields.Messages) -> None:
    """Show the settings that get several values."""
    chosen = bool(st.session_state.get(f"{PAGE}_swept"))
    with st.expander("Several values: a study for each", expanded=chosen, key=f"{PAGE}_several"):
        keys = st.multiselect(
            "Settings with several values",
            FIELDS,
            placeholder="None",
            help="Each combination of the values becomes a study of its own, named after them; `--sweep` of "
            "`eavdash train`. They are queued together and compared on the page Compare.",
            **kept(PAGE, "swept"),
        )
        for key in keys:
            st.session_state.setdefault(f"{PAGE}_values_{key}", form_state.text(key))
            st.text_input(
                f"Values of {key}", help="Separated by commas, such as `0.1,0.2`.", **kept(PAGE, f"values_{key}")
            )
            messages.add(f"--sweep {key}")
        if keys:
            st.caption(
                "Test scores of many studies must not choose among them: the best one is then best by chance, too. "
                "Report all of them, or choose by their validation scores."
            )


def _checked(action: Callable[[], T], messages: fields.Messages) -> T | None:
    """Return an outcome, or show its error beside the field that it is about and return None."""
    try:
        return action()
    except EavdashError as error:
        _show_error(error, form_state.slot_of(error), messages)
        return None


def _show_error(error: EavdashError, name: str, messages: fields.Messages) -> None:
    messages.failed = True
    if not messages.show(name, form_state.sentence(error)):
        tab = f"In the tab {form_state.tab_of(name)}: " if name in FIELDS else ""
        st.error(f"{tab}{markdown(error)}")


def _typed(name: str) -> str:
    return str(st.session_state.get(f"{PAGE}_{name}") or "")


def _take_epochs() -> None:
    count = _typed("epochs").strip()
    if count:
        form_state.set_epochs(count)
        return
    for stage in STAGES:
        form_state.reset(f"train.{stage}.epochs")
        form_state.reset(f"train.{stage}.head_epochs")


def _take_text() -> None:
    """Take settings that were typed as text into the fields; what cannot be taken stays, with the reason."""
    left, problems = [], []
    for line in filter(None, (line.strip() for line in _typed("set_box").splitlines())):
        words = [line]
        if "--set" in line:
            with suppress(ValueError):
                words = [w.removeprefix("--set=") for w in shlex.split(line) if w != "--set"]
        for word in words:
            if problem := form_state.apply(word):
                left.append(word)
                problems.append(problem)
    st.session_state[f"{PAGE}_set_box"] = "\n".join(left)
    st.session_state[f"{PAGE}_set_problems"] = problems
