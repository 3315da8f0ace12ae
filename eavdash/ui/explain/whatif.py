"""The section *What if* of the page One trial, which changes the recordings and decides again.

In: the rows of one trial, one per stage. Out: what is drawn. A warm process per study answers (warm.py); the
choices are in the address, so that a what-if can be linked.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

import pandas as pd
import streamlit as st

from eavdash.config.choices import MODALITIES, TABLE
from eavdash.config.convert import recorded_config
from eavdash.errors import EavdashError, UsageError
from eavdash.explain.changes.registry import changes_of
from eavdash.explain.whatif_record import WhatIf
from eavdash.report import theme
from eavdash.report.figures import whatif as figures
from eavdash.store import RunDir, StudyDir
from eavdash.store.documents import StudyDocument
from eavdash.text import markdown, natural_order
from eavdash.ui import cached_results, widgets
from eavdash.ui.draft import kept
from eavdash.ui.explain import warm
from eavdash.ui.explain.choose_trial import PAGE, choose, deciding_stage
from eavdash.ui.fragment import fragment

#: Names of the widgets, also in the address: per modality the kind of change and its value.
NAMES = tuple(f"if_{modality}{part}" for modality in MODALITIES for part in ("", "_to"))
KINDS = {
    "drop": "Drop it",
    "swap": "Swap it with another trial's",
    "noise": "Add noise",
    "shift": "Shift it in time",
    "mute": "Mute a band",
    "mute-electrode": "Mute electrodes",
    "cover": "Cover a part of the face",
    "silence": "Silence a stretch",
}
_VALUES = {
    "swap": "Trial, or trial@subject",
    "noise": "Signal over noise, dB",
    "shift": "Seconds later (−: earlier)",
    "mute": "From–to, Hz",
    "mute-electrode": "Electrodes",
    "cover": "Part, or box: left,top,right,bottom",
    "silence": "From–to, s of the trial",
}
_OFFERED = {
    "noise": ("10", "20", "0", "-10"),
    "shift": ("0.5", "1", "2", "-0.5", "-1"),
    "cover": ("mouth", "eyes", "brows"),
    "silence": ("0-1", "1-2", "0-2.5", "2.5-5"),
}
_BANDS = {"eeg": ("8-13", "0.5-4", "4-8", "13-30", "30-45"), "audio": ("300-3000", "50-300", "3000-8000")}
_BAND_NAMES = {"0.5-4": "delta", "4-8": "theta", "8-13": "alpha", "13-30": "beta", "30-45": "gamma", "50-300": "pitch"}
_ONLY = {"cover": ("vision",), "mute-electrode": ("eeg",), "mute": ("audio", "eeg")}
DIFFERENCE = (
    "Bars: changes of the Shapley values, which lead exactly from the decision before to the one after. Means over the "
    "trial's windows, natural logarithm, before the classes are made to sum to 100 %."
)
_MOST = 300  # trials of other subjects that are offered
_PATIENCE = 0.2  # seconds that the page waits for an answer at once
_DIFFERENT = 0.01  # of a probability, from which the page says that the recordings are not those tested


def show(study: StudyDir, document: StudyDocument, rows: pd.DataFrame) -> None:
    """Show the controls of each modality and, once something is changed, the decision before and after."""
    st.subheader("What if", anchor=False)
    stages = set(rows["stage"])
    asked_of = st.session_state.get(f"{PAGE}_of")  # whose decision the maps above explain
    stage = str(asked_of) if asked_of in stages else deciding_stage(rows)
    run = study.run(str(rows[rows["stage"] == stage]["run"].iloc[0]))
    subject, trial = str(rows["subject"].iloc[0]), str(rows["trial"].iloc[0])
    with widgets.show_errors():
        info = run.config()
    used = (info.input.modalities or stages) if stage == "fusion" else (stage,)
    pairs = _controls(study, document, run, [m for m in MODALITIES if m in used], (subject, trial))
    if not pairs:
        st.caption(
            f"Change a modality, and {_name(stage)} decides again. Only what is changed is encoded again, and nothing "
            "is stored."
        )
        return
    try:
        changes_of(pairs)
    except UsageError as error:
        st.error(markdown(error))
        return
    st.button("As recorded", on_click=_reset, key=f"{PAGE}_if_reset", help="Takes all changes back.")
    asked = warm.processes().ask(run, subject, trial, pairs)
    asked.done.wait(_PATIENCE)
    if not asked.done.is_set():
        _watch(asked)
    elif asked.answer is not None:
        _show_answer(asked.answer)
    else:
        if asked.cancelled:
            st.info("Cancelled.")
        elif asked.error is not None:
            widgets.show_error(asked.error, f"{PAGE}_if")
        st.button("Try again", on_click=warm.processes().forget, args=(asked,), key=f"{PAGE}_if_again")


def _controls(
    study: StudyDir, document: StudyDocument, run: RunDir, modalities: Sequence[str], here: tuple[str, str]
) -> list[tuple[str, str]]:
    """Show a column per modality; return options and values of the changes."""
    config = recorded_config(document)
    pairs = []
    for column, modality in zip(st.columns(max(1, len(modalities))), modalities, strict=False):
        table = getattr(config, modality).encoder == TABLE
        kinds = [k for k in KINDS if modality in _ONLY.get(k, MODALITIES) and not (table and k in _ONLY)]
        name = f"if_{modality}"
        before = st.session_state.get(f"{PAGE}_{name}_of")
        kind = choose(
            column, theme.label(modality), kinds, name, KINDS.__getitem__, index=None, placeholder="As recorded"
        )
        if kind != before:  # what was chosen for another kind does not fit; an address brings both
            if before is not None or kind is None:
                st.session_state[f"{PAGE}_{name}_to"] = None
            st.session_state[f"{PAGE}_{name}_of"] = kind
        if kind is None:
            continue
        value = _value(study, run, column, modality, kind, here)
        whole = {"drop": modality, "swap": f"{modality}={value}", "cover": value, "mute-electrode": value}
        pairs.append((kind, whole.get(kind, f"{modality}:{value}")))
    return pairs


def _value(study: StudyDir, run: RunDir, column: object, modality: str, kind: str, here: tuple[str, str]) -> str:
    """Show the field for the value of a change and return it; anything may be typed."""
    if kind == "drop":
        return ""
    names: dict[str, str] = {}
    if kind == "swap":
        names = _trials(study, here)
    elif kind == "mute-electrode":
        names = dict.fromkeys(_channels(study, run), "")
    else:
        offered = _BANDS[modality] if kind == "mute" else _OFFERED[kind]
        names = {text: _BAND_NAMES.get(text, "") if kind == "mute" else "" for text in offered}
    key = f"{PAGE}_if_{modality}_to"
    typed = str(st.session_state.get(key) or "").strip()
    options = list(dict.fromkeys([*names, *filter(None, [typed])]))
    st.session_state[key] = typed or (options[0] if options else None)
    found = column.selectbox(  # type: ignore[attr-defined]  # a column has the methods of the page
        _VALUES[kind],
        options,
        format_func=lambda text: f"{text} ({names[text]})" if names.get(text) else text,
        accept_new_options=True,
        filter_mode="contains",
        **kept(PAGE, f"if_{modality}_to"),
    )
    return str(found or "").strip()


def _trials(study: StudyDir, here: tuple[str, str]) -> dict[str, str]:
    """Return the tested trials by what is asked for, with their labels: first those of the same subject."""
    table = cached_results.trials(study).drop_duplicates(["subject", "trial"])
    labels = {
        (str(s), str(t)): str(of) for s, t, of in zip(table["subject"], table["trial"], table["label"], strict=True)
    }
    mine = [t for t in natural_order(t for s, t in labels if s == here[0]) if t != here[1]]
    others = natural_order(f"{t}@{s}" for s, t in labels if s != here[0])[:_MOST]
    found = {t: labels[here[0], t] for t in mine}
    for text in others:
        trial, _, subject = text.rpartition("@")
        found[text] = labels[subject, trial]
    return found


def _channels(study: StudyDir, run: RunDir) -> tuple[str, ...]:
    """Return the electrodes of a run; none if they cannot be read."""
    try:
        info = run.config()
        return (study.run(info.parents["eeg"]).config() if info.stage == "fusion" else info).input.channels
    except (EavdashError, KeyError):
        return ()


@fragment(run_every=0.4)
def _watch(asked: warm.Asked) -> None:
    """Show how far a what-if is; rerun the page when it is finished."""
    if asked.done.is_set():
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"{warm.STEPS[asked.step]}, {monotonic() - asked.started:.0f} s …", width="content")
        st.button("Cancel", on_click=warm.processes().cancel, args=(asked,), key=f"{PAGE}_if_cancel")
    st.progress((asked.step + 0.5) / len(warm.STEPS))


def _show_answer(found: WhatIf) -> None:
    decision = st.info if found.before.predicted == found.after.predicted else st.warning
    decision(markdown(found.sentence))
    for note in found.notes:
        st.caption(markdown(note))
    if found.reproduction is not None and found.reproduction > _DIFFERENT:
        st.caption(
            f"“Before” differs from the tested probabilities by up to {theme.percent(found.reproduction)}: the "
            "recordings or the device are not those of the test."
        )
    left, right = st.columns(2)
    with left:
        st.markdown("**Before and after**")
        alt = f"Probability of each class before and after: {found.sentence}"
        widgets.chart(figures.probabilities(found), f"{PAGE}_if_probabilities", alt)
    with right:
        if found.difference():
            st.markdown(f"**What changed for {markdown(found.target)}**")
            alt = f"How much the Shapley value of each modality for {found.target} has changed."
            widgets.chart(figures.difference(found), f"{PAGE}_if_difference", alt)
            st.dataframe(figures.table(found), hide_index=True, key=f"{PAGE}_if_shares")
            st.caption(DIFFERENCE)
        else:
            st.dataframe(figures.windows(found), hide_index=True, key=f"{PAGE}_if_windows_alone")
    with st.expander("Window by window, and what exactly was changed", key=f"{PAGE}_if_detail"):
        if found.difference():
            st.dataframe(figures.windows(found), hide_index=True, key=f"{PAGE}_if_windows")
        widgets.bullet_list(list(dict.fromkeys(change.definition for change in found.changes)))
        st.caption(
            f"Encoded again: {', '.join(map(theme.label, found.encoders_run)) or 'nothing'}. Shapley values are those "
            f"of {markdown(found.target)}, the class decided before; computed in {found.seconds:.2f} s."
        )


def _reset() -> None:
    for name in NAMES:
        st.session_state[f"{PAGE}_{name}"] = None


def _name(stage: str) -> str:
    return "the fusion" if stage == "fusion" else theme.label(stage)
