"""The attributions of one trial, window by window: frames, spectrogram, EEG and scalp, with the completeness gap.

In: an ``eavdash.explain.explanation.Explanation``. Shapes per window: vision (frame, height, width), audio (time, mel),
eeg (channel, time), tables of features (time, column). ``eavdash.ui.figures.explain`` draws them.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from eavdash.data.audio.front_ends import voice_hertz
from eavdash.text import code, markdown
from eavdash.ui import cached_explanations, theme, widgets
from eavdash.ui.explain import attention_heads
from eavdash.ui.figures import attention, feature_tables
from eavdash.ui.figures import explain as figures

if TYPE_CHECKING:
    from eavdash.explain.explanation import Explanation

LARGE_GAP = 0.1  # relative completeness gap above which the page warns
MAX_FRAMES = 10  # frames shown per window, evenly spaced
_QUESTIONS = {"vision": "where in the frames", "audio": "where in the spectrogram", "eeg": "which channels, and when"}


def show_attributions(explanation: Explanation) -> None:
    """Show the attributions, their completeness, and the attention of a trial's windows."""
    numbers = list(range(len(explanation.windows)))
    window = numbers[0]
    if len(numbers) > 1:
        names = [markdown(figures.window_name(window)) for window in explanation.windows]
        window = widgets.segments("Window", numbers, "explain_trial_window", names.__getitem__)
    for line in figures.receipt_lines(explanation.receipts, window):
        st.caption(markdown(line))
    st.caption("The charts show means over small cells; the stored arrays have every pixel, time step and sample.")
    if explanation.receipts.completeness[window]["relative_gap"] > LARGE_GAP:
        command = ["eavdash", "explain", explanation.study]
        command += ["--subject", explanation.subject, "--trial", explanation.trial, "--steps", "256"]
        st.warning(
            "These attributions do not add up to the decision, so the maps are not reliable. Use more steps: "
            + code(shlex.join(command))
        )
    present = explanation.windows[window].modalities
    draw = {"vision": _vision, "audio": _audio, "eeg": _eeg}
    for modality in present:
        if modality in explanation.columns:
            _table(explanation, window, modality)
            continue
        question = (
            "when in the sound" if modality == "audio" and explanation.front_end == "wave" else _QUESTIONS[modality]
        )
        st.markdown(f"**{theme.label(modality)}**: {question}")
        draw[modality](explanation, window)
    if missing := [theme.label(m) for m in explanation.modalities if m not in present]:
        st.caption(f"Not recorded in this window: {', '.join(missing)}.")
    if explanation.map is not None:
        st.markdown("**Attention between modalities**")
        chart = attention.attention_map(explanation.map[window], explanation.modalities)
        with st.columns([1, 1])[0]:
            widgets.chart(chart, "explain_trial_map", "Modality by modality attention of this window.")
        st.caption("Each row: the attention of that modality's query. Rows sum to 100 %.")
    attention_heads.trial_heads(explanation)


def _vision(explanation: Explanation, window: int) -> None:
    heat = explanation.attributions["vision"]
    recorded = np.flatnonzero(explanation.masks["vision"][window])
    if not len(recorded):
        return
    chosen = recorded[np.unique(np.linspace(0, len(recorded) - 1, min(MAX_FRAMES, len(recorded))).astype(int))]
    frames = explanation.inputs["vision"][window][chosen]
    pictures = figures.frame_overlays(
        frames, heat[window][chosen], figures.colour_limit(figures.cell_means(heat, *figures.FRAME_CELLS))
    )
    st.image(list(pictures), caption=[f"frame {i + 1}" for i in chosen], width=140)


def _audio(explanation: Explanation, window: int) -> None:
    start, stop = figures.window_span(explanation.windows[window])
    heard, heat = explanation.inputs["audio"][window], explanation.attributions["audio"][window]
    if explanation.front_end == "wave":
        chart = figures.wave_heat(heard[:, 0], heat[:, 0], start, stop)
    else:
        hertz = voice_hertz() if explanation.front_end == "voice" else ()
        chart = figures.logmel_overlay(heard, heat, start, stop, hertz)
    widgets.chart(chart, "explain_trial_audio", "Attributions over the sound.")


def _table(explanation: Explanation, window: int, modality: str) -> None:
    """Show the attributions of a table of features by column and time; of many columns, the strongest."""
    start, stop = figures.window_span(explanation.windows[window])
    heat = explanation.attributions[modality][window].astype(np.float64)
    columns = explanation.columns[modality]
    shown = feature_tables.strongest(heat)
    st.markdown(f"**{theme.label(modality)}**: which features, and when")
    chart = figures.eeg_heat(heat[:, shown].T, [columns[n] for n in shown], start, stop)
    widgets.chart(chart, f"explain_trial_{modality}", f"Attributions of {theme.label(modality)} by feature and time.")
    if len(shown) < len(columns):
        st.caption(f"The {len(shown)} features with the largest attributions, of {len(columns)}.")


def _eeg(explanation: Explanation, window: int) -> None:
    start, stop = figures.window_span(explanation.windows[window])
    heat = explanation.attributions["eeg"][window].astype(np.float64)
    left, right = st.columns([3, 2], vertical_alignment="center")
    with left:
        chart = figures.eeg_heat(heat, explanation.channels, start, stop)
        widgets.chart(chart, "explain_trial_eeg", "Attributions by channel and time.")
    with right:
        picture = cached_explanations.scalp(heat.sum(axis=1), explanation.channels)
        if isinstance(picture, bytes):
            st.image(picture, caption="Scalp: attributions summed over the window", width=320)
        else:
            st.caption(markdown(picture))
