"""The attributions of one trial over its recordings, with their receipts, and window by window as charts.

In: an ``eavdash.explain.explanation.Explanation``. The player shows its maps over the recordings; the charts of
``eavdash.report.figures`` have their values. All are on one scale unless asked otherwise, the modality that contributes
most first. Without the recordings the charts stand alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import streamlit as st

from eavdash.data.audio.front_ends import voice_hertz
from eavdash.explain.method_registry import METHODS
from eavdash.report import theme
from eavdash.report.figures import attention, feature_tables, window_maps
from eavdash.report.figures import explain as figures
from eavdash.report.figures.window_maps import WindowMap
from eavdash.store import StudyDir
from eavdash.text import markdown
from eavdash.ui import address, cached_explanations, choosing, widgets
from eavdash.ui.explain import attention_heads, beside, playhead, playing, receipts
from eavdash.ui.explain.choose_trial import PAGE
from eavdash.ui.explain.question import Question
from eavdash.ui.fragment import fragment

if TYPE_CHECKING:
    from eavdash.explain.explanation import Explanation

NAMES = ("window", "scale", "time", "beside")  # of the widgets, also in the address
MAX_FRAMES = 10  # frames shown per window, evenly spaced
SCALES = {"common": "one scale for all", "own": "each its own"}
_QUESTIONS = {"vision": "where in the frames", "audio": "where in the spectrogram", "eeg": "which channels, and when"}
_AREA = "per area: a map of one colour would have that number as its sum, whatever its resolution."
_CELLS = "What is drawn are means over small cells; the stored arrays have all values."


class _Style(NamedTuple):
    """Style of the maps of a window."""

    limits: dict[str, float]  # by modality, the value with the full colour
    electrode: float  # the same of the scalp map, per electrode
    unit: str  # at colour bars
    failed: str  # why the maps are not to be believed; empty otherwise
    common: bool  # all maps are on one scale


def show_attributions(study: StudyDir, question: Question, names: Sequence[str]) -> None:
    """Show the answer over the recordings, its receipts, and the running check of its run.

    ``names``: of the page's widgets in the address.
    """
    receipts.show_task(study, question.run)
    _show(study, question, names)


@fragment()
def _show(study: StudyDir, question: Question, names: Sequence[str]) -> None:
    """Show the recordings with the answer over them, its receipts, and the attention of a trial's windows.

    A fragment: a pause or a seek of the player reruns only this. The answer is opened here, as a session would keep the
    arrays that a fragment is given.
    """
    with widgets.show_errors():
        opened = question.answer()
    if opened is None:  # deleted meanwhile
        return
    explanation = opened.explanation
    playhead.agree(explanation.windows)
    numbers = [str(n) for n in range(len(explanation.windows))]
    left, middle, right = st.columns([2.2, 1.7, 1.9], vertical_alignment="bottom")
    titles = [markdown(figures.window_name(each)) for each in explanation.windows]
    follow = partial(playhead.to_window, explanation.windows)
    window = int(
        choosing.segments(
            "Window", numbers, playhead.WINDOW, lambda n: titles[int(n)], container=left, on_change=follow
        )
    )
    scale = choosing.segments("Colours", list(SCALES), f"{PAGE}_scale", SCALES.__getitem__, container=middle)
    other = beside.choose(study, explanation, right)
    address.write(PAGE, names)
    st.caption(markdown(receipts.baseline_sentence(explanation, window)))
    failed = receipts.show_receipts(study, explanation, window)
    alike = [each for each in (opened, other) if each is not None and each.explanation.unit == explanation.unit]
    limits = _limits(scale, *alike)
    besides = None
    if other is not None:
        why = receipts.why_failed(study, other.explanation, 0)
        besides = playing.Shown(other, why, limits if other in alike else _limits(scale, other))
    _say_scale(explanation, scale)
    played = playing.show(study, playing.Shown(opened, failed, limits), besides)
    if explanation.nothing_to_explain[window]:
        st.info(markdown(receipts.nothing_sentence(explanation, window)))
    else:
        unit = f"{receipts.short_unit(explanation)} per area"
        style = _Style(limits, opened.electrodes.get(scale, 1.0), unit, failed, scale == "common")
        _maps(explanation, window, style, played)
    _show_attention(explanation, window)


def _limits(scale: str, *opened: cached_explanations.Opened) -> dict[str, float]:
    """Return by modality the value with the full colour in all of these maps."""
    found: dict[str, float] = {}
    for each in opened:
        for modality, limit in each.limits.items():
            found[modality] = max(found.get(modality, 0.0), limit)
    return dict.fromkeys(found, max(found.values(), default=1.0)) if scale == "common" else found


def _say_scale(explanation: Explanation, scale: str) -> None:
    kind = METHODS.get(explanation.method)
    if kind is None or kind.signed:
        class_ = explanation.target + (f" rather than {explanation.against}" if explanation.against else "")
        said = f"Colours are {explanation.unit} {_AREA} Red supports {class_}, blue opposes it"
    else:
        said = f"Colours are {explanation.unit} {_AREA} It has no sign: the redder, the more"
    rest = "; all maps share one scale, so that a pale map contributes little" if scale == "common" else ""
    widgets.note(f"{said}{rest}. {_CELLS}", 2)


def _maps(explanation: Explanation, window: int, style: _Style, played: bool) -> None:
    """Show what each modality adds to a window, and the charts of its maps; on request if a player shows them."""
    totals = window_maps.totals(explanation, window)
    unit = receipts.short_unit(explanation)
    present = explanation.windows[window].modalities
    if missing := [theme.label(m) for m in explanation.modalities if m not in present]:
        st.caption(f"Not recorded in this window: {', '.join(missing)}.")
    if without := [theme.label(m) for m in present if m not in explanation.attributions]:
        st.caption(f"This method has no map of: {', '.join(without)}.")
    kind = METHODS.get(explanation.method)
    if kind is None or kind.signed:
        lines = [f"**{theme.label(m)}** ({theme.signed(total)} {unit})" for m, total in totals.items()]
        st.markdown(f"This window adds up to {' · '.join(lines)}.")
    if explanation.spectrum is not None and "eeg" in totals:
        _frequencies(explanation, window, style)
    tables = [m for m in totals if m in explanation.columns]
    for modality in tables if played else totals:
        _map(explanation, modality, window, totals[modality], style)
    if played and len(tables) < len(totals):
        with st.expander("Charts of this window, with values", key=f"{PAGE}_charts", on_change="rerun") as charts:
            if charts.open:
                for modality in (m for m in totals if m not in tables):
                    _map(explanation, modality, window, totals[modality], style)


def _map(explanation: Explanation, modality: str, window: int, total: float, style: _Style) -> None:
    draw = {"vision": _vision, "audio": _audio, "eeg": _eeg}
    table = modality in explanation.columns
    wave = modality == "audio" and explanation.front_end == "wave"
    question = "which features, and when" if table else "when in the sound" if wave else _QUESTIONS[modality]
    st.markdown(f"**{theme.label(modality)}** ({theme.signed(total)} {receipts.short_unit(explanation)}): {question}")
    shown = window_maps.window_map(explanation, modality, window)
    if table:
        _table(explanation, modality, shown, style)
    elif len(shown.times):
        draw[modality](explanation, shown, style)


def _vision(explanation: Explanation, shown: WindowMap, style: _Style) -> None:
    places = np.unique(np.linspace(0, len(shown.times) - 1, min(MAX_FRAMES, len(shown.times))).astype(int))
    limit, failed = style.limits["vision"], bool(style.failed)
    pictures = figures.frame_overlays(shown.values[places], shown.heat[places], limit, framed=failed)
    captions = [f"{shown.times[n]:.1f} s" + (" · not reliable" if failed else "") for n in places]
    alt = [f"Attributions over the frame at {shown.times[n]:.1f} seconds." for n in places]
    st.image(list(pictures), caption=captions, width=140, alt=alt)
    chart = figures.colour_bar(limit, style.unit)
    with st.container(width=420):
        widgets.chart(chart, f"{PAGE}_vision_bar", "Colours of the attributions over frames.", False)


def _audio(explanation: Explanation, shown: WindowMap, style: _Style) -> None:
    if explanation.front_end == "wave":
        chart = figures.wave_heat(shown, style.limits["audio"], style.unit)
    else:
        hertz = explanation.frequencies.get("audio", voice_hertz() if explanation.front_end == "voice" else ())
        chart = figures.logmel_overlay(shown, style.limits["audio"], style.unit, hertz)
    widgets.chart(figures.mark_failed(chart, style.failed), f"{PAGE}_audio", "Attributions over the sound.")


def _table(explanation: Explanation, modality: str, shown: WindowMap, style: _Style) -> None:
    """Show the attributions of a table of features by column and time; of many columns, the strongest."""
    columns = explanation.columns[modality]
    places = feature_tables.strongest(shown.heat)
    some = WindowMap(shown.heat[:, places], shown.values, shown.times, shown.total)
    chart = figures.row_heat(some, [columns[n] for n in places], style.limits[modality], style.unit)
    alt = f"Attributions of {theme.label(modality)} by feature and time."
    widgets.chart(figures.mark_failed(chart, style.failed), f"{PAGE}_{modality}", alt)
    if len(places) < len(columns):
        st.caption(f"The {len(places)} features with the largest attributions, of {len(columns)}.")


def _eeg(explanation: Explanation, shown: WindowMap, style: _Style) -> None:
    left, right = st.columns([3, 2], vertical_alignment="center")
    with left:
        chart = figures.row_heat(shown, explanation.channels, style.limits["eeg"], style.unit)
        chart = figures.mark_failed(chart, style.failed)
        widgets.chart(chart, f"{PAGE}_eeg", "Attributions by channel and time.")
    with right:
        sums = shown.heat.mean(axis=0) / shown.heat.shape[1]  # (channel,) logits
        dark = st.context.theme.type == "dark"
        unit = style.unit.replace("per area", "per electrode")
        picture = cached_explanations.scalp(sums, explanation.channels, style.electrode, unit, dark, style.failed)
        if isinstance(picture, bytes):
            alt = "Scalp map of the attributions of each electrode, summed over the window."
            st.image(picture, caption="Scalp: sums over the window", width=340, alt=alt)
        else:
            st.caption(markdown(picture))


def _frequencies(explanation: Explanation, window: int, style: _Style) -> None:
    """Show the EEG's attributions in a window by electrode and frequency, as its map by time with the same sums."""
    assert explanation.spectrum is not None
    assert explanation.spectrum_frequencies is not None
    found = explanation.spectrum[window].astype(np.float64)
    shown = found * found.size  # per area
    own = window_maps.colour_limit(window_maps.cell_means(shown, 10**6, figures.HERTZ_CELLS))
    limit = max(style.limits["eeg"], own) if style.common else own
    chart = figures.frequency_heat(shown, explanation.spectrum_frequencies, explanation.channels, limit, style.unit)
    st.markdown(f"**{theme.label('eeg')}**: which channels, at which frequencies of this window")
    alt = "Attributions by channel and frequency, and the sum of each band."
    widgets.chart(figures.mark_failed(chart, style.failed), f"{PAGE}_frequencies", alt)
    st.caption(f"Numbers above: {receipts.short_unit(explanation)} of each band; all bands add up to the EEG's total.")


def _show_attention(explanation: Explanation, window: int) -> None:
    if explanation.map is not None:
        st.markdown("**Attention between modalities**")
        chart = attention.attention_map(explanation.map[window], explanation.modalities)
        with st.columns([1, 1])[0]:
            widgets.chart(chart, f"{PAGE}_map", "Modality by modality attention of this window.")
        st.caption("Each row: the attention of that modality's query. Rows sum to 100 %.")
    attention_heads.trial_heads(explanation)
