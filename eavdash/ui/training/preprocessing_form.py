"""The launch form's widgets for the selection of trials and their preprocessing.

In: the session's widgets (keys ``training_launch_*``). Out: settings for :func:`eavdash.config.convert.with_settings`,
and the filter on the trial table. The preset sets the defaults.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import streamlit as st

from eavdash.config.schema import SETTINGS, StudyConfig
from eavdash.text import parts
from eavdash.ui.draft import kept

CONDITIONS = {"speaking": ("auto",), "listening": ("condition=Listening",), "speaking and listening": ()}
#: The filter of a study whose settings were copied, if it is none of these.
OWN = "as in that study"
CHAINS = {"trial": "each trial separately", "published": "as published: causal, across trial boundaries"}
CROPS = {"face": "the detected and tracked face", "centre": "the largest centred square"}
CHANNELS = {
    "mix": "the mean of all channels",
    "left": "the left channel",
    "right": "the right channel",
    "loudest": "each trial's loudest channel",
}
SPELLINGS = {"written": "as written", "unicode": "in one Unicode form", "merged": "merged: Happy and happy, 1 and 1.0"}
BAD = {"keep": "kept", "interpolate": "detected and interpolated"}
#: Settings of EEG with a few values: the widget's title, and words for each value.
_EEG_CHOICES = {
    "montage": (
        "Which channels are EEG",
        {
            "auto": "electrodes of the 10-05 system, BioSemi or EGI, and pairs of them",
            "file": "all that the file calls EEG",
            "10-05": "names of the 10-05 system, as in earlier versions",
        },
    ),
    "repeated": ("EEG channels of the same name", {"leave-out": "all are left out", "first": "the first is read"}),
    "gaps": (
        "EEG trials with a gap of the recording",
        {"refuse": "refused", "ignore": "read as if there were no gap, as in earlier versions"},
    ),
}
_EEG_SWITCHES = {
    "marked_channels": "Channels that the recording marks as bad are bad",
    "reject_marked": "Training windows under a BAD annotation are left out",
}
_EEG_NUMBERS = {
    "low": "From, Hz",
    "high": "To, Hz",
    "notch": "Mains, Hz",
    "clip": "Clip at, µV",
    "reject": "Reject above, µV",
}


def defaults(base: StudyConfig) -> dict[str, Any]:
    """Return the widgets' values for a preset, by the last part of their keys."""
    return {
        "condition": next((name for name, where in CONDITIONS.items() if where == base.where), OWN),
        "where": "" if base.where == ("auto",) else ", ".join(base.where),
        "names_labels": base.names.labels,
        "names_subjects": base.names.subjects,
        "from_video": base.audio.from_video,
        "channel": base.audio.channel,
        "crop": base.vision.crop,
        "chain": base.eeg.chain,
        "bad_channels": base.eeg.bad_channels,
        "reference": base.eeg.reference,
        **{f"eeg_{name}": float(getattr(base.eeg, name)) for name in _EEG_NUMBERS},
        **{f"eeg_{name}": getattr(base.eeg, name) for name in (*_EEG_CHOICES, *_EEG_SWITCHES)},
    }


def form(page: str, conditions: bool, base: StudyConfig) -> tuple[tuple[str, ...], list[str]]:
    """Show the settings; return the filter ``where`` and ``key=value`` settings.

    Args:
        conditions: True if the dataset has speaking and listening trials, as EAV does.
        base: the configuration that the form starts from.
    """

    key = partial(kept, page)
    with st.expander("Trials and preprocessing", key=f"{page}_preprocessing"):
        left, right = st.columns(2)
        if conditions:
            own = {} if base.where in CONDITIONS.values() else {OWN: base.where}
            choices = {**CONDITIONS, **own}
            where = choices[left.selectbox("Trials", list(choices), **key("condition"))]
        else:
            typed = left.text_input(
                "Only trials where", help="`column=value`, separated by commas; empty: all trials.", **key("where")
            )
            where = parts(typed) or (base.where and ("auto",))
        crop = right.selectbox(
            "Frames are cropped to",
            list(CROPS),
            format_func=CROPS.__getitem__,
            help=SETTINGS["vision.crop"].help,
            **key("crop"),
        )
        sound = left.checkbox("Trials without an audio file use their video's sound track", **key("from_video"))
        channel = left.selectbox(
            "Sound is read from",
            list(CHANNELS),
            format_func=lambda value: CHANNELS.get(value, f"channel {value}"),
            help=f"{SETTINGS['audio.channel'].help} Type a number for another channel.",
            accept_new_options=True,
            **key("channel"),
        )
        chain = right.selectbox("EEG is filtered", list(CHAINS), format_func=CHAINS.__getitem__, **key("chain"))
        numbers = {}
        for column, (name, title) in zip(st.columns(len(_EEG_NUMBERS)), _EEG_NUMBERS.items(), strict=True):
            setting = SETTINGS[f"eeg.{name}"]
            most = float(setting.bounds.at_most or 1e9)
            numbers[name] = column.number_input(title, 0.0, most, help=setting.help, **key(f"eeg_{name}"))
        left, right = st.columns(2)
        reference = left.text_input("EEG reference", help=SETTINGS["eeg.reference"].help, **key("reference"))
        bad = right.selectbox("Bad EEG channels are", list(BAD), format_func=BAD.__getitem__, **key("bad_channels"))
        eeg: dict[str, str] = {}
        for column, (name, (title, words)) in zip((left, right, left), _EEG_CHOICES.items(), strict=True):
            text = SETTINGS[f"eeg.{name}"].help
            eeg[name] = column.selectbox(
                title, list(words), format_func=words.__getitem__, help=text, **key(f"eeg_{name}")
            )
        for name, title in _EEG_SWITCHES.items():
            chosen = right.checkbox(title, help=SETTINGS[f"eeg.{name}"].help, **key(f"eeg_{name}"))
            eeg[name] = str(chosen).lower()
        names = {}
        for column, name in ((left, "labels"), (right, "subjects")):
            names[name] = column.selectbox(
                f"Spelling of {name}",
                list(SPELLINGS),
                format_func=SPELLINGS.__getitem__,
                help=SETTINGS[f"names.{name}"].help,
                **key(f"names_{name}"),
            )
    settings = [f"names.{name}={value}" for name, value in names.items()]
    settings += [f"eeg.{name}={value}" for name, value in ({**numbers, **eeg}).items()]
    settings += [f"eeg.reference={reference.strip()}", f"eeg.bad_channels={bad}", f"eeg.chain={chain}"]
    settings += [f"audio.channel={channel}", f"vision.crop={crop}", f"audio.from_video={str(sound).lower()}"]
    return where, settings
