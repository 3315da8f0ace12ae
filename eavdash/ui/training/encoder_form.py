"""The launch form's widgets for the encoders and their weights, with the words of the catalogue of encoders.

In: the session's widgets (keys ``training_launch_*``). Out: settings for :func:`eavdash.config.convert.with_settings`.
"""

from __future__ import annotations

from functools import partial

import streamlit as st

from eavdash.config.choices import AUTO, LIBRARIES, MODALITIES, TABLE
from eavdash.config.schema import SETTINGS, StudyConfig
from eavdash.models.catalogue import entry_of, offered
from eavdash.report import theme
from eavdash.text import markdown
from eavdash.ui.draft import kept
from eavdash.ui.training.copy_settings import TABLE_SETTINGS

AUTOMATIC = "chosen by the weights that are at hand"


def form(page: str, base: StudyConfig) -> list[str]:
    """Show an encoder, its weights and what it needs for each modality; return ``key=value`` settings."""
    settings = []
    with st.expander("Encoders and pretrained weights", key=f"{page}_encoders"):
        for modality in MODALITIES:
            first, second = st.columns([1, 2])
            known = [value for entry in offered(modality) for value in entry.values]
            typed_before = st.session_state.get(f"{page}_{modality}_encoder")
            typed = bool(LIBRARIES.get(modality))
            chosen = first.selectbox(
                theme.label(modality),
                list(dict.fromkeys(filter(None, [*known, base.modality(modality).encoder, typed_before]))),
                format_func=partial(label, modality),
                help=f"{SETTINGS[f'{modality}.encoder'].help}{' Another name can be typed.' if typed else ''}",
                accept_new_options=typed,
                **kept(page, f"{modality}_encoder"),
            )
            encoder = str(chosen or "").strip()
            weights = second.text_input(
                f"Weights of {theme.label(modality)}",
                placeholder="Empty: none",
                help=SETTINGS[f"{modality}.weights"].help,
                **kept(page, f"{modality}_weights"),
            )
            if entry := entry_of(modality, encoder):
                st.caption(markdown(entry.summary))
            settings += [f"{modality}.encoder={encoder}", f"{modality}.weights={weights.strip()}"]
            if encoder == TABLE:
                settings += _table_settings(page, modality)
    return settings


def _table_settings(page: str, modality: str) -> list[str]:
    """Show the settings of the tables of features of a modality, and return them."""
    settings = []
    for column, (name, title) in zip(st.columns(len(TABLE_SETTINGS)), TABLE_SETTINGS.items(), strict=True):
        key = f"{modality}.table.{name}"
        title = f"{title} of {theme.label(modality)}"
        typed = column.text_input(title, help=SETTINGS[key].help, **kept(page, f"{modality}_table_{name}"))
        settings.append(f"{key}={typed.strip()}")
    return settings


def label(modality: str, encoder: str) -> str:
    """Return an encoder's name with the catalogue's words."""
    if encoder == AUTO:
        return f"{AUTO}: {AUTOMATIC}"
    entry = entry_of(modality, encoder)
    missing = " (not installed)" if entry and entry.missing else ""
    return f"{encoder}: {entry.title}{missing}" if entry else encoder
