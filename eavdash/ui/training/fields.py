"""One field of the launch form per setting, made from the schema: its widget, what the preset has, what is wrong.

In: a setting's key and what the form starts from. Out: the widget with the schema's help and bounds; below it a mark
and a button if it was changed, and room for messages that are found later (:class:`Messages`). A new setting of the
schema appears by itself; words and suggestions for some are below.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import streamlit as st

from eavdash.config.choices import AUTO, LIBRARIES, MODALITIES, STAGES
from eavdash.config.schema import SETTINGS
from eavdash.config.setting import value_of
from eavdash.models.catalogue import entry_of, offered
from eavdash.report import theme
from eavdash.text import code, markdown, with_stop
from eavdash.ui.draft import kept
from eavdash.ui.training.form_state import PAGE, Start, changed, reset, shown, text, widget_key

#: Titles that the last part of the key would not make.
TITLES = {
    "where": "Trials where",
    "window": "Window, seconds",
    "names.labels": "Spelling of labels",
    "names.subjects": "Spelling of subjects",
    "protocol.name": "Protocol",
    "protocol.folds": "Number of folds",
    "protocol.subject_scaling": "Scaling of each person",
    "fusion.kind": "Kind of fusion",
    "train.recipe": "Recipe of the optimisation",
}
#: Words for values, where the value alone says too little.
WORDS = {
    "protocol.name": {
        "conversation": "conversation: within a subject, no conversation in both train and test",
        "blocks": "blocks: as conversation, and neighbouring trials of a class stay together (stricter)",
        "paper": "paper: 70/30 in order, no validation (optimistic)",
        "loso": "loso: leave one subject out",
        "subject-kfold": "subject-kfold: folds of subjects",
    },
    "fusion.kind": {
        "transformer": "transformer: shares weight calibrated opinions, and an MLP reads features (most accurate where "
        "each modality tells something)",
        "attention": "attention: shares weight opinions, nothing else decides",
        "concat": "concat: concatenation and MLP",
        "paper": "paper: the published single-token layer (best where only two modalities together tell the label)",
    },
    "protocol.subject_scaling": {
        "off": "off: all people alike",
        "calibration:8": "calibration:8: by 8 unlabelled trials of each person, which are not scored",
        "all": "all: by all unlabelled trials of each person (transductive)",
    },
    "where": {
        "auto": "speaking trials (auto)",
        "condition=Listening": "listening trials",
        "": "speaking and listening trials",
    },
}
COLUMNS = 3
_UNIT = re.compile(r"\bin (Hz|seconds|pixels|µV)\b")
AUTOMATIC = "chosen by the weights that are at hand"


class Messages:
    """The places below the fields of a page where messages go; a field that is not shown has none."""

    def __init__(self) -> None:
        self.slots: dict[str, Any] = {}
        self.failed = False  # True once an error was shown

    def add(self, name: str, container: Any = st) -> None:
        """Make the place of a field, below what was shown last in the container."""
        self.slots[name] = container.container()

    def show(self, name: str, sentence: str, kind: str = "error") -> bool:
        """Show a message of Markdown below a field; return False if the field is not on the page."""
        slot = self.slots.get(name)
        if slot is not None:
            getattr(slot, kind)(sentence)
        return slot is not None


def title_of(key: str) -> str:
    """Return the title of a setting's field: the last part of its key, with the unit that the schema's help names."""
    words, setting = key.rpartition(".")[2].replace("_", " "), SETTINGS[key]
    unit = _UNIT.search(setting.help) if setting.kind in (int, float) else None
    return TITLES.get(key, f"{words[:1].upper()}{words[1:]}{f', {unit[1]}' if unit else ''}")


def rows(keys: Sequence[str], start: Start, messages: Messages, conditions: bool) -> None:
    """Show the fields of some settings in rows."""
    for first in range(0, len(keys), COLUMNS):
        row = keys[first : first + COLUMNS]
        widths = [*(2 if key == "stages" else 1 for key in row), *[1] * (COLUMNS - len(row))]
        for column, key in zip(st.columns(widths), row, strict=False):
            with column:
                show(key, start, messages, conditions)


def show(key: str, start: Start, messages: Messages, conditions: bool) -> None:
    """Show the field of one setting; ``conditions``: the dataset has speaking and listening trials."""
    setting = SETTINGS[key]
    more = {"help": _help(key, start), **kept(PAGE, key)}
    modality = key.partition(".")[0] if key.endswith(".encoder") else ""
    words = WORDS.get(key, {})
    if setting.kind is bool:
        st.checkbox(title_of(key), **more)
    elif key == "stages":
        st.multiselect(title_of(key), STAGES, format_func=theme.label, **more)
    elif setting.bounds.choices:
        st.selectbox(title_of(key), setting.bounds.choices, format_func=lambda v: words.get(v, v), **more)
    elif modality in MODALITIES:
        _encoder(modality, key, start, more)
    elif setting.examples or (key == "where" and conditions):
        options = [*(setting.examples or words), text(key), shown(key, value_of(start.config, key))]
        st.selectbox(
            title_of(key),
            list(dict.fromkeys(options)),
            format_func=lambda v: words.get(v, v),
            accept_new_options=True,
            **more,
        )
    else:
        st.text_input(title_of(key), placeholder="Empty", **more)
    _mark(key, start)
    messages.add(key)


def _mark(key: str, start: Start) -> None:
    """Say what the preset has, if the field differs from it, and show the button that takes it back."""
    preset = code(_value(shown(key, value_of(start.preset, key))))
    if changed(key, start):
        with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"{widget_key(key)}_changed"):
            st.caption(f"**Changed**; {markdown(start.name)}: {preset}", width="content")
            st.button("Reset", on_click=reset, args=(key,), type="tertiary", key=f"{widget_key(key)}_reset")
    elif value_of(start.config, key) != value_of(start.preset, key):
        st.caption(f"As the recordings allow; {markdown(start.name)}: {preset}")


def _help(key: str, start: Start) -> str:
    """Return the schema's sentence, the bounds, and the preset's value."""
    setting = SETTINGS[key]
    value = code(_value(shown(key, value_of(start.preset, key))))
    expected = "" if setting.bounds.choices else f" {markdown(setting.expected.capitalize())}."
    return f"{with_stop(setting.help)}{expected} `{key}`; {markdown(start.name)}: {value}."


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, list) else value or "empty"


def _encoder(modality: str, key: str, start: Start, more: dict[str, Any]) -> None:
    """Show the encoders of the catalogue, with what is installed, and a sentence about the chosen one."""
    known = [value for entry in offered(modality) for value in entry.values]
    typed = bool(LIBRARIES.get(modality))
    now = text(key)
    st.selectbox(
        title_of(key),
        list(dict.fromkeys(filter(None, [*known, value_of(start.config, key), now]))),
        format_func=partial(encoder_label, modality),
        accept_new_options=typed,
        **{**more, "help": f"{more['help']}{' Another name can be typed.' if typed else ''}"},
    )
    if entry := entry_of(modality, now):
        st.caption(markdown(entry.summary))


def encoder_label(modality: str, encoder: str) -> str:
    """Return an encoder's name with the catalogue's words."""
    if encoder == AUTO:
        return f"{AUTO}: {AUTOMATIC}"
    entry = entry_of(modality, encoder)
    missing = " (not installed)" if entry and entry.missing else ""
    return f"{encoder}: {entry.title}{missing}" if entry else encoder
