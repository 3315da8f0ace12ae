"""The state of the launch form: a value per setting, the configuration that they make, and what is wrong with them.

In: the session, in which the widget of the setting ``eeg.low`` has the key ``training_launch_eeg.low``, and what the
form starts from. Out: a configuration, or the errors by setting. Whatever the schema has, the form has.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from eavdash.config.choices import STAGES
from eavdash.config.convert import check_setting, text_of, with_settings
from eavdash.config.schema import SETTINGS, StudyConfig
from eavdash.config.setting import value_of
from eavdash.errors import ConfigError
from eavdash.text import markdown, parts

PAGE = "training_launch"
#: The settings with a field; the preset is chosen beside them.
FIELDS = tuple(key for key in SETTINGS if key != "preset")
COMMON, TABS = "Common", ("Common", "Vision", "Audio", "EEG", "Fusion")
_TAB_OF = {"vision": "Vision", "audio": "Audio", "eeg": "EEG", "fusion": "Fusion"}
#: Session state: the texts that the fields showed as defaults when the form was last filled in.
_DEFAULTS = f"{PAGE}_defaults"


@dataclass(frozen=True)
class Start:
    """The settings that the form starts from.

    ``name``: of the preset or study; ``preset``: its settings as they are; ``config``: with what the data allow.
    """

    name: str
    preset: StudyConfig
    config: StudyConfig


@dataclass(frozen=True)
class Entered:
    """The form's configuration, None if it is invalid; the errors by setting ("": of none).

    ``settings``: ``key=value`` of each field that differs from the form's defaults.
    """

    config: StudyConfig | None
    errors: dict[str, ConfigError] = field(default_factory=dict)
    settings: tuple[str, ...] = ()


def widget_key(setting: str) -> str:
    """Return the key of a setting's widget."""
    return f"{PAGE}_{setting}"


def tab_of(setting: str) -> str:
    """Return the tab in which a setting's field is."""
    part = setting.removeprefix("train.").partition(".")[0]
    return _TAB_OF.get(part, COMMON)


def groups(tab: str) -> dict[str, list[str]]:
    """Return the settings of a tab by the part of the configuration that they belong to, in the schema's order."""
    found: dict[str, list[str]] = {}
    for key in FIELDS:
        if tab_of(key) == tab:
            found.setdefault(key.rpartition(".")[0], []).append(key)
    return found


def shown(key: str, value: Any) -> Any:
    """Return a setting's value as its widget has it: True or False, a list of stages, or text."""
    if isinstance(value, bool):
        return value
    return list(value) if key == "stages" else text_of(value)


def fill(start: Start) -> None:
    """Give each field a value: what was entered, or else the default, which may have changed since it was filled in."""
    state = st.session_state
    before: dict[str, Any] = state.get(_DEFAULTS, {})
    defaults = {key: shown(key, value_of(start.config, key)) for key in FIELDS}
    for key, value in defaults.items():
        name, choices = widget_key(key), SETTINGS[key].bounds.choices
        if name not in state or (key in before and state[name] == before[key]):
            state[name] = value
        elif (choices and state[name] not in choices) or isinstance(state[name], bool) is not isinstance(value, bool):
            state[name] = value  # an address said something that this widget cannot show
    state[_DEFAULTS] = defaults


def clear() -> None:
    """Set all settings to their defaults when the form is filled in next."""
    for key in FIELDS:
        st.session_state.pop(widget_key(key), None)


def reset(key: str) -> None:
    """Set a field to its default; callable from a button."""
    st.session_state[widget_key(key)] = st.session_state[_DEFAULTS][key]


def set_text(key: str, text: str) -> None:
    """Set a field to a value as ``--set`` takes it; it need not be valid."""
    value: Any = text.strip()
    if SETTINGS[key].kind is bool:
        value = {"true": True, "1": True, "false": False, "0": False}.get(value.lower(), value)
    elif key == "stages" and not (value := [s for s in STAGES if s in parts(text)]):
        return
    st.session_state[widget_key(key)] = value


def text(key: str) -> str:
    """Return the value of a field as ``--set`` takes it."""
    value = st.session_state.get(widget_key(key))
    return text_of([s for s in STAGES if s in value] if key == "stages" and value else "" if value is None else value)


def changed(key: str, start: Start) -> bool:
    """Return True if a field has another value than the form starts from."""
    return text(key) != text_of(value_of(start.config, key))


def entered(start: Start) -> Entered:
    """Return the configuration of the form, or all that is wrong with its values."""
    settings, valid = [], []
    errors: dict[str, ConfigError] = {}
    for key in FIELDS:
        if not changed(key, start):
            continue
        settings.append(f"{key}={text(key)}")
        try:
            check_setting(key, text(key))
            valid.append(settings[-1])
        except ConfigError as error:
            errors[key] = error
    config = None
    try:
        config = with_settings(start.config, valid)
    except ConfigError as error:  # a rule between several settings
        errors.setdefault(slot_of(error), error)
    return Entered(None if errors else config, errors, tuple(settings))


def apply(line: str) -> str:
    """Set the field that ``key=value`` names; return a sentence if it could not be taken.

    A field of text takes what is out of bounds too, and says so itself.
    """
    key, equals, value = (part.strip() for part in line.partition("="))
    try:
        if not equals or key not in FIELDS or key == "stages":
            with_settings(StudyConfig(), [line])
        elif SETTINGS[key].bounds.choices or SETTINGS[key].kind is bool:
            check_setting(key, value)
        set_text(key, value)
    except ConfigError as error:
        return str(error)
    return ""


def set_epochs(count: str) -> None:
    """Set the epochs of every stage, and the head-only epochs to no more."""
    for stage in STAGES:
        set_text(f"train.{stage}.epochs", count)
        head = f"train.{stage}.head_epochs"
        if text(head).isdecimal() and count.isdecimal() and int(text(head)) > int(count):
            set_text(head, count)


def slot_of(error: Exception) -> str:
    """Return the field that an error is about: a setting's key, or ``name``, ``subjects``, ``folds``, ``seeds``."""
    where = str(getattr(error, "where", ""))
    if where in FIELDS:
        return where
    if where.startswith("protocol "):
        return "protocol.name"
    if where.startswith("--sweep "):
        return where
    known = {"study name": "name", "--subjects": "subjects", "--folds": "folds", "--seeds": "seeds"}
    return known.get(where, "where" if where.startswith("where ") else "")


def sentence(error: Exception) -> str:
    """Return the text of an error beside its field, which need not be named again."""
    expected, found = getattr(error, "expected", ""), getattr(error, "found", "")
    remedy = getattr(error, "remedy", "")
    return markdown(f"Expected {expected}; found {found}; {remedy}." if expected else str(error))
